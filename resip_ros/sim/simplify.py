# SPDX-License-Identifier: Apache-2.0
"""Fewer triangles for the arm's visual meshes: 243 000 faces draw slowly without a GPU."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array

Faces = NDArray[np.int64]

_CELL_M = 0.005
"""Vertices within one grid cell become one; finer than a pixel of the 240 x 320 pictures."""
_SMALL_FACES = 600
"""Meshes below this are kept as they are."""


def read_obj(path: Path) -> tuple[Array, Faces]:
    """Vertices (V, 3) and triangles (F, 3) of a Wavefront file with triangular faces."""
    vertices, faces = [], []
    for line in path.read_text().splitlines():
        if line.startswith("v "):
            vertices.append(line[2:])
        elif line.startswith("f "):
            faces.append([int(corner.split("/")[0]) - 1 for corner in line.split()[1:4]])
    flat = np.array(" ".join(vertices).split(), dtype=np.float64)
    return flat.reshape(-1, 3), np.array(faces, dtype=np.int64)


def cluster_vertices(vertices: Array, faces: Faces, cell: float) -> tuple[Array, Faces]:
    """Merge the vertices in each cell of a grid; drop triangles that collapse.

    Args:
        vertices: (V, 3) m.
        faces: (F, 3) vertex numbers.
        cell: Edge of a grid cell, m.

    Returns:
        Vertices (V', 3) at the mean of each cell, and faces (F', 3).
    """
    keys = np.floor(vertices / cell).astype(np.int64)
    _, label, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    label = label.reshape(-1)
    merged = np.zeros((len(count), 3))
    np.add.at(merged, label, vertices)
    merged /= count[:, None]
    faces = label[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (a != c)]
    return merged, np.unique(faces, axis=0)


def simplify_meshes(spec: mujoco.MjSpec) -> None:
    """Thin out the large visual meshes of a spec that was loaded from OBJ files."""
    folder = Path(spec.meshdir)
    for mesh in spec.meshes:
        if not mesh.file.endswith(".obj"):
            continue
        vertices, faces = read_obj(folder / mesh.file)
        if len(faces) < _SMALL_FACES:
            continue
        vertices, faces = cluster_vertices(vertices, faces, _CELL_M)
        mesh.file = ""
        mesh.uservert = vertices.reshape(-1)
        mesh.userface = faces.reshape(-1)
        # visual only: open surfaces have no volume to compute an inertia from
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
