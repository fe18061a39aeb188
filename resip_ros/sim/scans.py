# SPDX-License-Identifier: Apache-2.0
"""Scanned parts in a scene: reads a folder that ``training.import_scan`` wrote, adds the part.

A part is a mesh to look at, convex pieces to touch, mass and inertia. Lengths in m, masses in kg,
part frame as its import chose it. Letters: V vertices, P pieces.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import yaml

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.sim.arm import BIT_BENCH, BIT_FIXTURE, BIT_LEG, BIT_ROBOT, BIT_TOP
from resip_ros.sim.parts import GEOM, add_mesh, contact_settings
from resip_ros.sim.simplify import read_obj

SCHEMA = 1
PART_FILE = "part.yaml"
VISUAL_FILE = "visual.obj"
PIECE_FILES = "piece_*.obj"
LARGEST_M = 1.0
"""No part of a bench-top task is longer."""
_FRICTION = 0.15
_GREY = (0.70, 0.72, 0.75, 1.0)
_INERTIA_KEYS = ("xx", "yy", "zz", "xy", "xz", "yz")


@dataclass(frozen=True)
class Scan:
    """One imported part."""

    name: str
    mass_kg: float
    size_m: Array
    """(3,) of its bounding box."""
    center_of_mass_m: Array
    """(3,) part frame."""
    inertia_kgm2: Array
    """(6,) about the centre of mass, part axes: xx, yy, zz, xy, xz, yz."""
    visual: Path
    pieces: tuple[Path, ...]
    """(P,) files, each the vertices of one convex piece."""


def read_scan(folder: Path) -> Scan:
    """Reads and checks the folder of a part.

    Raises:
        ConfigError: when something is missing, damaged or cannot be.
    """
    path = folder / PART_FILE
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path}: {reason}; expected what training.import_scan wrote: import the scan again"
        ) from None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        got = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise ConfigError(f"{path}: schema: got {got!r}, expected {SCHEMA}; import the scan again")
    scan = Scan(
        name=str(_field(data, "name", path)),
        mass_kg=_numbers(data, "mass_kg", path, 1)[0],
        size_m=_numbers(data, "size_m", path, 3),
        center_of_mass_m=_numbers(data, "center_of_mass_m", path, 3),
        inertia_kgm2=_inertia(data, path),
        visual=folder / VISUAL_FILE,
        pieces=_check_files(folder, _field(data, "files", path)),
    )
    _check_values(scan, path)
    return scan


def _field(data: dict[str, Any], key: str, path: Path) -> Any:
    if key not in data:
        raise ConfigError(f"{path}: {key} is missing; import the scan again")
    return data[key]


def _numbers(data: dict[str, Any], key: str, path: Path, count: int) -> Array:
    """(count,) finite numbers of a field; a single one may stand alone."""
    got = _field(data, key, path)
    values = got if isinstance(got, list) else [got]
    sound = all(type(v) in (int, float) and math.isfinite(v) for v in values)
    if len(values) != count or not sound:
        raise ConfigError(f"{path}: {key}: got {got!r}, expected {count} finite number(s)")
    return np.array(values, dtype=np.float64)


def _inertia(data: dict[str, Any], path: Path) -> Array:
    table = _field(data, "inertia_kgm2", path)
    if not isinstance(table, dict) or set(table) != set(_INERTIA_KEYS):
        raise ConfigError(
            f"{path}: inertia_kgm2: got {table!r}, expected {', '.join(_INERTIA_KEYS)}"
        )
    return np.array([_numbers(table, key, path, 1)[0] for key in _INERTIA_KEYS])


def _check_values(scan: Scan, path: Path) -> None:
    """Refuses what no body has."""
    if scan.mass_kg <= 0:
        raise ConfigError(f"{path}: mass_kg: got {scan.mass_kg:g}, expected more than 0")
    if not ((scan.size_m > 0) & (scan.size_m <= LARGEST_M)).all():
        raise ConfigError(
            f"{path}: size_m: got {scan.size_m.tolist()}, expected up to {LARGEST_M:g} m each"
        )
    if (np.abs(scan.center_of_mass_m) > 2 * LARGEST_M).any():
        raise ConfigError(
            f"{path}: center_of_mass_m: got {scan.center_of_mass_m.tolist()}, expected m near "
            "the part"
        )
    xx, yy, zz, xy, xz, yz = scan.inertia_kgm2
    moments = np.linalg.eigvalsh(np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]))
    # the two smaller ones of a body together are never below the largest
    if moments[0] <= 0 or moments[0] + moments[1] < moments[2] * (1 - 1e-6):
        raise ConfigError(
            f"{path}: inertia_kgm2: got principal moments {moments.tolist()}, which no body has; "
            "import the scan again"
        )
    # masses further from the centre than the diagonal of the box
    if moments[2] > scan.mass_kg * float(scan.size_m @ scan.size_m):
        raise ConfigError(
            f"{path}: inertia_kgm2: too large for {scan.mass_kg:g} kg in this size; change "
            "the mass by importing the scan again with --mass"
        )


def _check_files(folder: Path, files: Any) -> tuple[Path, ...]:
    """Meshes are there, as they were written; returns the pieces in order."""
    path = folder / PART_FILE
    if not isinstance(files, dict) or VISUAL_FILE not in files or len(files) < 2:
        raise ConfigError(
            f"{path}: files: got {files!r}, expected {VISUAL_FILE} and at least one piece, each "
            "with its sha256"
        )
    for name, digest in files.items():
        file = folder / str(name)
        if not file.is_file():
            raise ConfigError(f"{file} is missing, {PART_FILE} names it; import the scan again")
        if hash_file(file) != digest:
            raise ConfigError(
                f"{file} is not the file that was imported (sha256 differs); import the scan again"
            )
    unnamed = sorted(p.name for p in folder.glob(PIECE_FILES) if p.name not in files)
    if unnamed:
        raise ConfigError(f"{folder / unnamed[0]} is not named in {PART_FILE}; remove it")
    return tuple(folder / name for name in files if name != VISUAL_FILE)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def add_scan(
    spec: mujoco.MjSpec,
    name: str,
    folder: Path,
    timestep: float,
    *,
    friction: float = _FRICTION,
    contype: int = BIT_LEG,
    conaffinity: int = BIT_ROBOT | BIT_BENCH | BIT_FIXTURE | BIT_TOP,
    rgba: tuple[float, float, float, float] = _GREY,
) -> mujoco.MjsBody:
    """Adds an imported part as a free body.

    Args:
        spec: Scene, world frame = robot base frame.
        name: Of body and free joint: the part's name in the task.
        folder: What ``training.import_scan`` wrote.
        timestep: Physics step, s.
        friction: Coefficient of the part's surface.
        contype: Collision bits of ``sim.arm``. By default the part goes into, onto or over
            others; one that receives others has ``BIT_TOP`` here,
        conaffinity: and ``BIT_ROBOT | BIT_BENCH | BIT_FIXTURE`` here.
        rgba: Colour.

    Returns:
        The body, at the origin of the base frame: the scene's nominal poses say where it lies.

    Raises:
        ConfigError: when the folder is not sound.
    """
    scan = read_scan(folder)
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint(name=name)
    body.explicitinertial = True
    body.mass = scan.mass_kg
    body.ipos = scan.center_of_mass_m
    body.fullinertia = scan.inertia_kgm2
    vertices, faces = read_obj(scan.visual)
    spec.add_mesh(
        name=f"{name}_visual",
        uservert=vertices.ravel().tolist(),
        userface=faces.ravel().tolist(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    body.add_geom(
        name=f"{name}_visual",
        type=GEOM.mjGEOM_MESH,
        meshname=f"{name}_visual",
        rgba=rgba,
        mass=0.0,
        contype=0,
        conaffinity=0,
    )
    for i, piece in enumerate(scan.pieces):
        body.add_geom(
            name=f"{name}_piece{i}",
            type=GEOM.mjGEOM_MESH,
            meshname=add_mesh(spec, f"{name}_piece{i}", read_obj(piece)[0]),
            rgba=rgba,
            mass=0.0,
            group=3,
            contype=contype,
            conaffinity=conaffinity,
            **contact_settings(timestep, friction),
        )
    return body
