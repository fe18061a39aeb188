# SPDX-License-Identifier: Apache-2.0
"""From the mesh of a scan to what a simulated part is made of. Needs the extra "scan".

Reading and refusing, placing its frame, mass properties, convex pieces, and how far these are from
the scan. Letters: V vertices, F faces, N points. Lengths in m.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.geometry import Array, rotvec_to_matrix
from resip_ros.sim.scans import LARGEST_M

Faces = NDArray[np.int64]
Mesh = tuple[Array, Faces]
"""Vertices (V, 3) m and triangles (F, 3)."""

UNITS = {"m": 1.0, "mm": 1e-3, "cm": 1e-2, "inch": 0.0254}
FORMATS = (".obj", ".stl", ".ply")
_SMALLEST_M = 0.003
_THINNEST_M = 2e-4
_COARSEST_M = 1e-3
_THINNING = 0.1
"""Share of the volume that may go when triangles are merged before splitting."""
_SLIVER_M3 = 1e-11
_HULL_VERTICES = 32
_POINTS = 4000
_PAIRS = 4_000_000
"""Points times triangles that are looked at together: 32 MB an array."""
_VISUAL_M = 3e-4
_VISUAL_FACES = 20_000
_CLEAN = "MeshLab (Filters > Cleaning and Repairing)"


def require(name: str) -> ModuleType:
    """A package of the extra "scan".

    Raises:
        ConfigError: when it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ConfigError(
            f"importing scans needs {name}, which is not installed: pip install resip_ros[scan]"
        ) from None


def load_scan(path: Path, unit: str) -> Mesh:
    """Reads a mesh file and converts it to m.

    Args:
        path: Wavefront, STL or PLY file.
        unit: A key of ``UNITS``.

    Raises:
        ConfigError: for a file that is not there or of an unknown format.
        DataError: for one that holds no mesh, or one of the wrong size.
    """
    trimesh = require("trimesh")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a mesh: {', '.join(FORMATS)}")
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(
            f"{path}: got format {path.suffix or 'without a name'!r}, expected one of "
            f"{', '.join(FORMATS)}; MeshLab and Blender convert"
        )
    try:
        mesh = trimesh.load_mesh(path, skip_materials=True)
        # scans carry seams of their texture, along which vertices are double
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        vertices = np.array(mesh.vertices, dtype=np.float64) * UNITS[unit]
        faces = np.array(mesh.faces, dtype=np.int64)
    except Exception as error:  # noqa: BLE001 (each format fails in its own way)
        raise DataError(
            f"{path}: cannot be read as {path.suffix} ({error or type(error).__name__}); is it "
            "complete? Export the scan again"
        ) from None
    if len(vertices) == 0 or len(faces) == 0 or not np.isfinite(vertices).all():
        raise DataError(
            f"{path}: got {len(vertices)} vertices and {len(faces)} triangles, expected a surface "
            "of finite points; export the scan again"
        )
    _check_size(path, np.ptp(vertices[faces.ravel()], axis=0), unit)
    return vertices, faces


def _check_size(path: Path, size: Array, unit: str) -> None:
    """Refuses a size that speaks for another unit."""
    text = " x ".join(f"{length:.3g}" for length in size)
    if size.max() > LARGEST_M:
        hint = "looks like millimetres: pass --unit mm" if unit == "m" else "check --unit"
        raise DataError(f"{path}: got {text} m, expected at most {LARGEST_M:g} m; {hint}")
    if size.max() < _SMALLEST_M:
        hint = f"--unit {unit} was given: is it in metres?" if unit != "m" else "check --unit"
        raise DataError(
            f"{path}: got {text} m, expected at least {_SMALLEST_M * 1e3:g} mm; {hint}"
        )
    if size.min() < _THINNEST_M:
        raise DataError(
            f"{path}: flat: got {text} m, expected a body that is thicker than "
            f"{_THINNEST_M * 1e3:g} mm; was only one side scanned?"
        )


def check_scan(path: Path, mesh: Mesh) -> None:
    """Refuses a surface that does not enclose one body.

    Raises:
        DataError: with what is wrong and which tool mends it.
    """
    trimesh, manifold3d = require("trimesh"), require("manifold3d")
    surface = trimesh.Trimesh(*mesh, process=False)
    _, uses = np.unique(surface.edges_sorted, axis=0, return_counts=True)
    if (uses != 2).any():
        raise DataError(
            f"{path}: not watertight: {(uses == 1).sum()} open edges and {(uses > 2).sum()} with "
            f"more than two faces, expected none; close the holes with {_CLEAN}, or pymeshfix"
        )
    if not surface.is_winding_consistent:
        raise DataError(
            f"{path}: some faces point inwards and some outwards, expected all outwards; "
            f"re-orient them coherently with {_CLEAN}"
        )
    if surface.volume < 0:
        raise DataError(
            f"{path}: inside out: got a volume of {surface.volume * 1e6:.3g} cm3, expected more "
            f"than 0; invert the faces' orientation with {_CLEAN}"
        )
    if surface.volume < 1e-3 * np.prod(np.ptp(mesh[0], axis=0)):
        raise DataError(
            f"{path}: flat: got a volume of {surface.volume * 1e6:.3g} cm3, next to nothing in "
            "its box; was only one side scanned?"
        )
    solid = to_manifold(mesh)
    if solid.status() != manifold3d.Error.NoError:
        raise DataError(f"{path}: not a manifold ({solid.status().name}); mend it with {_CLEAN}")
    bodies = sorted((abs(body.volume()) * 1e6 for body in solid.decompose()), reverse=True)
    if len(bodies) > 1:
        sizes = ", ".join(f"{volume:.2g}" for volume in bodies[:4])
        raise DataError(
            f"{path}: got {len(bodies)} separate bodies ({sizes} cm3), expected one; remove "
            f"isolated pieces with {_CLEAN}, or import each part from a file of its own"
        )


def to_manifold(mesh: Mesh) -> Any:
    """The solid that a watertight surface encloses (manifold3d.Manifold)."""
    manifold3d = require("manifold3d")
    vertices, faces = mesh
    return manifold3d.Manifold(manifold3d.Mesh64(vertices, faces.astype(np.uint64)))


def from_manifold(solid: Any) -> Mesh:
    """Surface of a solid (manifold3d.Manifold)."""
    mesh = solid.to_mesh64()
    return np.array(mesh.vert_properties)[:, :3], np.array(mesh.tri_verts, dtype=np.int64)


def place(mesh: Mesh, rotate_deg: Array, origin: str, shift_m: Array) -> tuple[Mesh, Array]:
    """Chooses the part's frame.

    Args:
        mesh: In the scan's frame.
        rotate_deg: (3,) turns about the scan's x, then y, then z.
        origin: "centre" or "bottom" of the bounding box after that, or "scan" as it was.
        shift_m: (3,) then moved by this.

    Returns:
        Mesh in the part's frame, and T_part_scan (4, 4).
    """
    x, y, z = (
        rotvec_to_matrix(np.radians(a) * axis)
        for a, axis in zip(rotate_deg, np.eye(3), strict=True)
    )
    turn = z @ y @ x
    vertices = mesh[0] @ turn.T
    low, high = vertices.min(0), vertices.max(0)
    middle = (low + high) / 2
    points = {"centre": middle, "bottom": np.append(middle[:2], low[2]), "scan": np.zeros(3)}
    offset = shift_m - points[origin]
    T_part_scan = np.eye(4)
    T_part_scan[:3, :3], T_part_scan[:3, 3] = turn, offset
    return (vertices + offset, mesh[1]), T_part_scan


def mass_properties(mesh: Mesh, mass_kg: float) -> tuple[float, Array, Array]:
    """Volume (m3), centre of mass (3,) m and inertia (3, 3) kg m2 about it, of uniform density."""
    surface = require("trimesh").Trimesh(*mesh, process=False)
    density = mass_kg / surface.volume
    return float(surface.volume), surface.center_mass, surface.moment_inertia * density


def simplify(mesh: Mesh, tolerance_m: float) -> Mesh:
    """Fewer triangles, the surface moved by up to about the tolerance; stays watertight."""
    return from_manifold(to_manifold(mesh).simplify(tolerance_m))


def thin_out(mesh: Mesh) -> Mesh:
    """The mesh to look at: moved by 0.3 mm, or by more until it has few enough triangles."""
    tolerance = _VISUAL_M
    thin = simplify(mesh, tolerance)
    while len(thin[1]) > _VISUAL_FACES and tolerance < _SMALLEST_M:
        tolerance *= 1.5
        thin = simplify(mesh, tolerance)
    return thin


def decompose(mesh: Mesh, detail_m: float) -> list[Array]:
    """Vertices (V, 3) of convex pieces that together are the body (CoACD).

    Args:
        mesh: Watertight.
        detail_m: Dents shallower than this are filled.

    Raises:
        DataError: when nothing comes out.
    """
    coacd = require("coacd")
    coacd.set_log_level("error")
    coarse = simplify(mesh, min(detail_m / 4, _COARSEST_M))
    if abs(to_manifold(coarse).volume() / to_manifold(mesh).volume() - 1) > _THINNING:
        coarse = mesh
    pieces = coacd.run_coacd(
        coacd.Mesh(*coarse),
        threshold=detail_m,
        real_metric=True,
        preprocess_mode="off",
        resolution=1000,
        mcts_iterations=60,
        decimate=True,
        max_ch_vertex=_HULL_VERTICES,
    )
    points = [np.asarray(vertices, dtype=np.float64) for vertices, _ in pieces]
    points = [p for p in points if to_manifold(hull(p)).volume() > _SLIVER_M3]
    if not points:
        raise DataError(f"no convex pieces at a detail of {detail_m * 1e3:g} mm; try a finer one")
    return points


def hull(points: Array) -> Mesh:
    """Convex hull of (V, 3) points."""
    return from_manifold(require("manifold3d").Manifold.hull_points(points))


def measure_pieces(mesh: Mesh, pieces: list[Array]) -> tuple[float, float]:
    """How far the pieces are from the scan, at sampled surface points.

    Returns:
        Deepest place where material is missing, and highest where it is in excess, m.
    """
    manifold3d = require("manifold3d")
    scan = to_manifold(mesh)
    hulls = [manifold3d.Manifold.hull_points(points) for points in pieces]
    union = manifold3d.Manifold.batch_boolean(hulls, manifold3d.OpType.Add)
    missing = deepest(from_manifold(scan - union), from_manifold(union))
    return missing, deepest(from_manifold(union - scan), mesh)


def deepest(difference: Mesh, other: Mesh) -> float:
    """Largest distance of a difference's surface from the body that was taken off, m."""
    vertices, faces = difference
    if len(faces) == 0:
        return 0.0
    trimesh = require("trimesh")
    points = trimesh.Trimesh(vertices, faces, process=False).sample(_POINTS, seed=0)
    return float(distance_to_surface(np.asarray(points), other).max())


def distance_to_surface(points: Array, mesh: Mesh) -> Array:
    """Distance (N,) of points (N, 3) from the nearest triangle, exact."""
    closest_point = require("trimesh").triangles.closest_point
    triangles = mesh[0][mesh[1]]
    centres = triangles.mean(1)
    radii = np.linalg.norm(triangles - centres[:, None], axis=2).max(1)
    found = np.empty(len(points))
    count = max(1, _PAIRS // len(triangles))
    for start in range(0, len(points), count):
        chunk = points[start : start + count]
        # every triangle holds its centre and lies within its radius: the others cannot be nearest
        squares = (chunk**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * chunk @ centres.T
        away = np.sqrt(np.maximum(squares, 0.0))
        i, j = np.nonzero(away - radii <= away.min(1)[:, None])
        near = np.linalg.norm(closest_point(triangles[j], chunk[i]) - chunk[i], axis=1)
        nearest = np.full(len(chunk), np.inf)
        np.minimum.at(nearest, i, near)
        found[start : start + count] = nearest
    return found
