# SPDX-License-Identifier: Apache-2.0
"""Make a simulated part of a scanned or drawn object (docs/scans.md).

    python -m training.import_scan mug.obj --name my_mug --out parts/my_mug --mass 0.3

Checks the mesh (.obj, .stl, .ply; watertight, one body), chooses the part's frame, splits the
body into convex pieces for contact, computes the inertia, writes the folder and draws part.png.
Good for free shapes and handles; a fit closer than --detail needs geometry from
resip_ros/sim/parts.py.
"""

from __future__ import annotations

import keyword
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
import yaml
from rich.console import Console

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.sim.gl import NoRenderingError
from resip_ros.sim.scans import PART_FILE, SCHEMA, VISUAL_FILE, hash_file, read_scan
from training import scan_mesh
from training.program import run_with_settings
from training.provenance import describe_command
from training.scan_mesh import Mesh
from training.scan_picture import draw_part

PICTURE_FILE = "part.png"
_DENSITY_KG_M3 = (10.0, 23000.0)
_DETAIL_M = (0.0003, 0.05)


@dataclass(frozen=True)
class ImportSettings:
    """What to import."""

    scan: Annotated[Path, tyro.conf.Positional]
    """Mesh file: .obj, .stl or .ply."""
    name: str
    """Name of the part, an identifier."""
    out: Path
    """Folder to write; refused when it exists."""
    mass: float
    """Of the object, kg: weigh it. The material is taken as the same throughout."""
    unit: Literal["m", "mm", "cm", "inch"] = "m"
    """Unit of the file."""
    rotate: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Degrees about the scan's x, then y, then z axis, to turn it into the part's frame."""
    origin: Literal["centre", "bottom", "scan"] = "centre"
    """Origin of the part's frame: middle or lower end of the bounding box, or the scan's own."""
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Then move the part in its frame by this, mm."""
    detail: float = 2.0
    """Dents shallower than this are filled, mm: smaller gives more pieces and slower physics."""


def check_settings(settings: ImportSettings) -> None:
    """Refuses what cannot be before anything is computed.

    Raises:
        ConfigError: with the next step.
    """
    if not settings.name.isidentifier() or keyword.iskeyword(settings.name):
        raise ConfigError(
            f"--name: got {settings.name!r}, expected an identifier, for example my_mug"
        )
    if settings.out.exists():
        raise ConfigError(f"{settings.out} exists already; choose another --out or remove it")
    if not 0.0 < settings.mass < np.inf:
        raise ConfigError(f"--mass: got {settings.mass:g}, expected kg, more than 0")
    low, high = _DETAIL_M
    if not low <= settings.detail * 1e-3 <= high:
        raise ConfigError(
            f"--detail: got {settings.detail:g}, expected {low * 1e3:g} to {high * 1e3:g} mm"
        )
    if not np.isfinite([*settings.rotate, *settings.shift]).all():
        raise ConfigError("--rotate and --shift: expected finite numbers")


def build_description(settings: ImportSettings, mesh: Mesh, frame: Array) -> dict[str, Any]:
    """What part.yaml says of the body, but for its files.

    Args:
        settings: Of the import.
        mesh: In the part's frame, m.
        frame: T_part_scan (4, 4).

    Raises:
        ConfigError: when mass and volume do not belong together.
    """
    volume, centre, inertia = scan_mesh.mass_properties(mesh, settings.mass)
    density = settings.mass / volume
    if not _DENSITY_KG_M3[0] <= density <= _DENSITY_KG_M3[1]:
        raise ConfigError(
            f"--mass: {settings.mass:g} kg in {volume * 1e6:.3g} cm3 are {density / 1e3:.3g} "
            f"g/cm3, expected {_DENSITY_KG_M3[0] / 1e3:g} to {_DENSITY_KG_M3[1] / 1e3:g}; check "
            "--mass (kg) and --unit"
        )
    keys = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}
    return {
        "schema": SCHEMA,
        "name": settings.name,
        "units": "m, kg, part frame",
        "mass_kg": settings.mass,
        "volume_m3": volume,
        "size_m": _rounded(np.ptp(mesh[0], axis=0)),
        "center_of_mass_m": _rounded(centre),
        "inertia_kgm2": {key: float(inertia[at]) for key, at in keys.items()},
        "frame": {
            "rotate_deg": list(settings.rotate),
            "origin": settings.origin,
            "shift_mm": list(settings.shift),
            "T_part_scan": _rounded(frame),
        },
        "source": {
            "file": settings.scan.name,
            "sha256": hash_file(settings.scan),
            "unit": settings.unit,
            "triangles": len(mesh[1]),
        },
        "command": describe_command(),
    }


def _rounded(values: Array) -> list[Any]:
    """To 0.1 um, without the zeros' signs."""
    return (np.round(values, 7) + 0.0).tolist()


def write_obj(path: Path, mesh: Mesh) -> None:
    """Writes vertices (m) and triangles as a Wavefront file."""
    lines = [f"v {x:.7g} {y:.7g} {z:.7g}" for x, y, z in mesh[0]]
    lines += [f"f {a} {b} {c}" for a, b, c in mesh[1] + 1]
    path.write_text("\n".join(lines) + "\n")


def write_part(
    folder: Path, description: dict[str, Any], visual: Mesh, pieces: list[Array]
) -> None:
    """Writes meshes and description of a part into an empty folder."""
    write_obj(folder / VISUAL_FILE, visual)
    for i, points in enumerate(pieces):
        write_obj(folder / f"piece_{i:03d}.obj", scan_mesh.hull(points))
    files = {path.name: hash_file(path) for path in sorted(folder.glob("piece_*.obj"))}
    files = {VISUAL_FILE: hash_file(folder / VISUAL_FILE), **files}
    text = yaml.safe_dump({**description, "files": files}, sort_keys=False)
    (folder / PART_FILE).write_text(text)


def run(settings: ImportSettings) -> dict[str, Any]:
    """Imports the scan; the folder appears at the end, complete, or not at all.

    Returns:
        The description that was written.

    Raises:
        ResipError: for anything a user can mend.
    """
    check_settings(settings)
    console = Console(stderr=True)
    mesh = scan_mesh.load_scan(settings.scan, settings.unit)
    scan_mesh.check_scan(settings.scan, mesh)
    shift = np.array(settings.shift) * 1e-3
    mesh, frame = scan_mesh.place(mesh, np.array(settings.rotate), settings.origin, shift)
    description = build_description(settings, mesh, frame)
    with console.status("convex pieces: some seconds to some minutes"):
        pieces = scan_mesh.decompose(mesh, settings.detail * 1e-3)
    with console.status("measuring the pieces against the scan"):
        missing, excess = scan_mesh.measure_pieces(mesh, pieces)
    description["pieces"] = {
        "count": len(pieces),
        "detail_mm": settings.detail,
        "deepest_missing_mm": round(missing * 1e3, 3),
        "highest_excess_mm": round(excess * 1e3, 3),
    }
    visual = scan_mesh.thin_out(mesh)
    folder = _make_folder(settings.out)
    try:
        write_part(folder, description, visual, pieces)
        read_scan(folder)
        _draw(folder)
        folder.chmod(0o755)
        folder.rename(settings.out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return description


def _make_folder(out: Path) -> Path:
    """Empty folder beside ``out``, to be renamed to it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error}); choose another --out") from None


def _draw(folder: Path) -> None:
    try:
        draw_part(folder, folder / PICTURE_FILE)
    except NoRenderingError as error:
        print(f"no {PICTURE_FILE}: {error}")


def summarise(description: dict[str, Any], out: Path) -> str:
    """What a person wants to know of the import."""
    size = " x ".join(f"{length * 1e3:.1f}" for length in description["size_m"])
    volume, mass = description["volume_m3"], description["mass_kg"]
    centre = ", ".join(f"{x * 1e3:.1f}" for x in description["center_of_mass_m"])
    pieces = description["pieces"]
    return "\n".join(
        [
            f"{description['name']}: {size} mm, {volume * 1e6:.1f} cm3, {mass:g} kg "
            f"({mass / volume / 1e3:.2f} g/cm3)",
            f"centre of mass at ({centre}) mm of the part's frame",
            f"{pieces['count']} convex pieces; against the scan, material is missing by up to "
            f"{pieces['deepest_missing_mm']:.2f} mm and in excess by up to "
            f"{pieces['highest_excess_mm']:.2f} mm (sampled)",
            f"in {out}: {PART_FILE}, {PICTURE_FILE}, {VISUAL_FILE}, pieces. Look at the picture",
        ]
    )


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.import_scan",
        ImportSettings,
        lambda settings: print(summarise(run(settings), settings.out)),
        __doc__,
        interrupted="interrupted; nothing was written",
    )


if __name__ == "__main__":
    sys.exit(main())
