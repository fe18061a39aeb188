# SPDX-License-Identifier: Apache-2.0
"""Initial states: at rest, apart, the same for the same number, different for others."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.geometry import rotation_angle
from resip_ros.core.tasks import ONE_LEG, pair_assembled
from resip_ros.sim import initial_states
from resip_ros.sim.arm import FINGER_JOINTS
from resip_ros.sim.initial_states import InitialState, sample_initial_state
from resip_ros.sim.one_leg import FIXTURE_NOMINAL, nominal_poses
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import get_randomness

CONFIG = load_control_config()
COUNT = 30


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_scene("one_leg", CONFIG).compile()


def _sample(model, seed, index, level="low") -> InitialState:
    return sample_initial_state(model, ONE_LEG, CONFIG, level, seed, index)


@pytest.fixture(scope="module")
def states(model) -> list[InitialState]:
    return [_sample(model, 3, i) for i in range(COUNT)]


def _load(model, state: InitialState) -> mujoco.MjData:
    data = mujoco.MjData(model)
    for i, angle in enumerate(state.joints, start=1):
        data.joint(f"fr3_joint{i}").qpos[0] = angle
    data.ctrl[:7] = state.joints
    data.ctrl[7] = CONFIG.gripper_max_width_m / 2
    for name in FINGER_JOINTS:
        data.joint(name).qpos[0] = CONFIG.gripper_max_width_m / 2
    for name, qpos in state.part_qpos.items():
        data.joint(name).qpos[:] = qpos
    data.mocap_pos[:] = state.mocap_pos
    mujoco.mj_forward(model, data)
    return data


def test_nothing_overlaps_and_nothing_moves(model, states):
    for state in states:
        data = _load(model, state)
        assert max(-contact.dist for contact in data.contact) < 2e-4
        mujoco.mj_step(model, data, 250)
        for name, qpos in state.part_qpos.items():
            moved = np.abs(data.joint(name).qpos[:3] - qpos[:3]).max()
            assert moved < 5e-4, f"{name} crept {1e3 * moved:.2f} mm in half a second"


def test_same_number_same_state(model, states):
    for index in (0, 17):
        again = _sample(model, 3, index)
        np.testing.assert_array_equal(again.joints, states[index].joints)
        np.testing.assert_array_equal(again.mocap_pos, states[index].mocap_pos)
        for name, qpos in again.part_qpos.items():
            np.testing.assert_array_equal(qpos, states[index].part_qpos[name])


def test_other_numbers_and_seeds_differ(model, states):
    joints = {state.joints.tobytes() for state in states}
    legs = {state.part_qpos["leg4"].tobytes() for state in states}
    assert len(joints) == len(legs) == COUNT
    other = _sample(model, 4, 0)
    assert other.joints.tobytes() not in joints
    assert other.part_qpos["leg4"].tobytes() not in legs


def test_spread_is_the_stated_one(states):
    low = get_randomness("low")
    joints = np.array([s.joints for s in states]) - CONFIG.home_joints
    fixture = np.array([s.mocap_pos[0] for s in states]) - FIXTURE_NOMINAL
    for offset, bound in ((joints, low.joint_rad), (fixture[:, :2], low.fixture_m)):
        assert np.abs(offset).max() <= bound
        assert np.abs(offset).max() > 0.8 * bound
        assert offset.min() < 0 < offset.max()
    np.testing.assert_array_equal(fixture[:, 2], 0.0)
    for name, (nominal, _) in nominal_poses().items():
        moved = np.array([s.part_qpos[name][:2] for s in states]) - nominal[:2]
        assert 0.003 < np.linalg.norm(moved, axis=-1).max() < 0.06


def test_no_start_is_assembled_and_top_lies_flat(states):
    for state in states:
        top, leg = state.part_qpos["top"], state.part_qpos["leg4"]
        rots = [_rotation(q) for q in (top, leg)]
        assert not pair_assembled(ONE_LEG.pairs[0], top[:3], rots[0], leg[:3], rots[1])
        assert rots[0][2, 2] > 0.999
        assert rotation_angle(rots[0]) < 0.6


def _rotation(qpos):
    rot = np.zeros(9)
    mujoco.mju_quat2Mat(rot, qpos[3:])
    return rot.reshape(3, 3)


def test_a_scene_that_never_settles_is_an_error(model, monkeypatch):
    monkeypatch.setattr(initial_states, "_AT_REST", 0.0)
    monkeypatch.setattr(initial_states, "_ATTEMPTS", 2)
    with pytest.raises(ResipError, match=r"no settled initial state in 2 draws \(seed 3, index 0"):
        _sample(model, 3, 0)


def test_unknown_randomness(model):
    with pytest.raises(ConfigError, match="unknown randomness 'huge'"):
        _sample(model, 3, 0, "huge")
