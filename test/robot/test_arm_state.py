# SPDX-License-Identifier: Apache-2.0
import franky
import numpy as np
import pytest

from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.arm_state import read_state
from resip_ros.robot.connection import realtime_config
from resip_ros.robot.fci_state import (
    ERROR_CARTESIAN_REFLEX,
    ERROR_COMMUNICATION,
    ERROR_JOINT_REFLEX,
)
from resip_ros.robot.world import SimulatedWorld


def test_reading_is_a_copy_with_plain_types(world: SimulatedWorld) -> None:
    robot = franky.Robot(world.hostname, realtime_config=realtime_config())
    state = read_state(robot.state)
    assert state.mode == "Idle"
    assert state.success_rate == 1.0
    for value, size in ((state.q, 7), (state.dq, 7), (state.tau_ext, 7)):
        assert value.shape == (size,)
        assert value.dtype == np.float64
    np.testing.assert_allclose(state.q, world.config.home_joints, atol=1e-3)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ERROR_JOINT_REFLEX, "joint_reflex"),
        (ERROR_CARTESIAN_REFLEX, "cartesian_reflex"),
        (ERROR_COMMUNICATION, "communication_constraints_violation"),
    ],
)
def test_errors_have_libfrankas_names(world: SimulatedWorld, error: int, name: str) -> None:
    world.inject_reflex(error)
    arm = FrankaArm(world.config, world.hostname)
    arm.connect()
    assert arm.state().errors == (name,)
    arm.recover()
    arm.close()
