# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import mujoco
import numpy as np

from resip_ros.core.config import load_control_config
from resip_ros.sim.arm import build_arm_spec
from resip_ros.sim.simplify import cluster_vertices, read_obj, simplify_meshes


def test_obj_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tetra.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvn 0 0 1\nf 1//1 2//1 3//1\nf 1 2 4\n")
    vertices, faces = read_obj(path)
    np.testing.assert_array_equal(vertices[3], [0, 0, 1])
    np.testing.assert_array_equal(faces, [[0, 1, 2], [0, 1, 3]])


def test_vertices_of_a_cell_merge_and_slivers_vanish() -> None:
    vertices = np.array([[0.1, 0.1, 0.0], [0.3, 0.1, 0.0], [1.5, 0.0, 0.0], [0.0, 1.5, 0.0]])
    faces = np.array([[0, 2, 3], [1, 2, 3], [0, 1, 2]])
    merged, kept = cluster_vertices(vertices, faces, 1.0)
    assert len(merged) == 3
    assert len(kept) == 1
    assert [0.2, 0.1, 0.0] in merged.round(6).tolist()


def test_arm_keeps_its_shape_with_a_fifth_of_the_faces() -> None:
    config = load_control_config()
    full = build_arm_spec(config, visual=True).compile()
    spec = build_arm_spec(config, visual=True)
    simplify_meshes(spec)
    thin = spec.compile()
    assert thin.nmeshface < 0.2 * full.nmeshface
    for name in ("link0_3", "link3_0", "hand_3"):
        sizes = []
        for model in (full, thin):
            data = mujoco.MjData(model)
            mujoco.mj_kinematics(model, data)
            mesh = model.mesh(name).id
            geom = int(np.flatnonzero(model.geom_dataid == mesh)[0])
            start, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
            rot = data.geom_xmat[geom].reshape(3, 3)
            world = model.mesh_vert[start : start + count] @ rot.T + data.geom_xpos[geom]
            sizes.append(np.array([world.min(0), world.max(0)]))
        np.testing.assert_allclose(*sizes, atol=0.006)
