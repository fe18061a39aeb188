# SPDX-License-Identifier: Apache-2.0
"""biman_insert's parts: what fits, what is seated, why it takes two arms."""

import copy

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_quat_wxyz, quat_wxyz_to_matrix, rotation_z
from resip_ros.core.tasks import BIMAN_INSERT, pair_assembled
from resip_ros.sim.biman_insert import (
    BLADE_HALF_M,
    FRAME_HALF_M,
    PLATE_HALF_HEIGHT_M,
    SCENE,
    SLOT_HALF_M,
)
from resip_ros.sim.scene import build_scene

PAIR = BIMAN_INSERT.pairs[0]
GOAL = np.array(PAIR.positions[0])
HELD = np.array([0.6, 0.0, 0.3])


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_scene("biman_insert", load_control_config()).compile()


def place(model, plate, receptacle=HELD, yaw=0.0) -> mujoco.MjData:
    """Parts upright, the plate turned by ``yaw``; nothing has moved yet."""
    data = mujoco.MjData(model)
    quat = matrix_to_quat_wxyz(rotation_z(np.array(yaw)))
    data.joint("plate").qpos[:] = np.concatenate([plate, quat])
    data.joint("receptacle").qpos[:] = [*receptacle, 1, 0, 0, 0]
    mujoco.mj_forward(model, data)
    return data


def touching(model, data) -> float:
    """Deepest contact between the parts, m; 0 when they do not touch."""
    parts = {"plate", "receptacle"}
    deep = [
        -contact.dist
        for contact in data.contact
        if {model.body(model.geom_bodyid[g]).name for g in contact.geom} == parts
    ]
    return max([0.0, *deep])


def seated(data) -> bool:
    poses = []
    for part in ("receptacle", "plate"):
        qpos = data.joint(part).qpos
        poses += [qpos[:3], quat_wxyz_to_matrix(qpos[3:])]
    return bool(pair_assembled(PAIR, *poses))


def test_goal_is_the_shoulder_on_the_receptacle(model):
    lifted = place(model, HELD + GOAL + [0, 0, 1e-4])
    assert touching(model, lifted) == 0.0
    sunk = place(model, HELD + GOAL - [0, 0, 1e-4])
    assert touching(model, sunk) == pytest.approx(1e-4, rel=0.01)
    assert seated(lifted)
    assert GOAL[2] + PAIR.tip[2] + PAIR.depth == pytest.approx(FRAME_HALF_M[2])
    assert PAIR.tip[2] == pytest.approx(-PLATE_HALF_HEIGHT_M)


@pytest.mark.parametrize("axis", [0, 1])
def test_play_in_the_slot(model, axis):
    """A few tenths of a millimetre; the figures are in the head of the scene."""
    play = (SLOT_HALF_M - BLADE_HALF_M[:2])[axis]
    assert 2 * play == pytest.approx([0.4e-3, 0.3e-3][axis])
    for sign in (-1, 1):
        for share, free in ((0.9, True), (1.2, False)):
            offset = np.append(sign * share * play * np.eye(2)[axis], 0.002)
            assert (touching(model, place(model, HELD + GOAL + offset)) == 0.0) == free
    assert touching(model, place(model, HELD + GOAL + [0, 0, 0.002], yaw=0.03)) > 0.0


def test_plate_falls_to_its_seat_in_a_held_receptacle(model):
    fixed = copy.deepcopy(model)
    fixed.body_gravcomp[fixed.body("receptacle").id] = 1.0
    start = fixed.joint("receptacle").dofadr[0]
    fixed.dof_armature[start : start + 6] = 1e6
    data = place(fixed, HELD + GOAL + [0, 0, 0.025])
    mujoco.mj_step(fixed, data, 400)
    np.testing.assert_allclose(data.joint("receptacle").qpos[:3], HELD, atol=1e-5)
    assert seated(data)
    assert touching(fixed, data) < 1e-4
    assert data.joint("plate").qpos[2] - HELD[2] == pytest.approx(GOAL[2], abs=2e-4)


def test_it_cannot_be_seated_on_the_bench(model):
    """The blade meets the bench while the shoulder is still far from the receptacle."""
    on_bench = np.array([0.6, 0.0, FRAME_HALF_M[2]])
    data = place(model, [*on_bench[:2], PLATE_HALF_HEIGHT_M], on_bench)
    mujoco.mj_step(model, data, 200)
    gap = data.joint("plate").qpos[2] - data.joint("receptacle").qpos[2] - GOAL[2]
    assert gap > 3 * PAIR.tolerance_m
    assert not seated(data)


def test_plate_and_receptacle_rest_where_they_are_put(model):
    poses = SCENE.nominal_poses()
    data = place(model, poses["plate"][0], poses["receptacle"][0])
    mujoco.mj_step(model, data, 500)
    for part, (pos, _) in poses.items():
        np.testing.assert_allclose(data.joint(part).qpos[:3], pos, atol=2e-5)
        assert data.body(part).xmat[8] > 0.9999
