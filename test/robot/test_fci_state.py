# SPDX-License-Identifier: Apache-2.0
import numpy as np
from franky_sim.franka_robot_protocol import (
    RobotMode,
    StateControllerMode,
    StateMotionGeneratorMode,
)
from franky_sim.franka_robot_state import FrankaRobotState

from resip_ros.robot.fci_state import ERROR_CARTESIAN_REFLEX, STATE_DTYPE, StateMessage

MODES = {
    "robot_mode": RobotMode.kMove,
    "controller_mode": StateControllerMode.kExternalController,
    "motion_generator_mode": StateMotionGeneratorMode.kNone,
}


def test_bytes_equal_those_of_franky_sim(rng: np.random.Generator) -> None:
    message = StateMessage()
    names = (
        "q",
        "q_d",
        "dq",
        "tau_J",
        "tau_J_d",
        "tau_ext_hat_filtered",
        "O_F_ext_hat_K",
        "O_T_EE",
    )
    values = {name: rng.normal(size=message.record[name].shape) for name in names}
    for name, value in values.items():
        message.record[name] = value
    constants = {
        name: tuple(np.frombuffer(StateMessage().pack_state(), STATE_DTYPE)[0]["constants"][part])
        for name, part in (("F_T_EE", slice(0, 16)), ("F_T_NE", slice(32, 48)))
    }
    reference = FrankaRobotState(
        **{name: tuple(value) for name, value in values.items()},
        **constants,
        m_ee=0.73,
        F_x_Cee=(-0.01, 0.0, 0.03),
        I_ee=(0.001, 0.0, 0.0, 0.0, 0.0025, 0.0, 0.0, 0.0, 0.0017),
        control_command_success_rate=1.0,
        **MODES,
    )
    assert message.replace(**MODES).pack_state() == reference.pack_state()


def test_error_shows_as_reflex_until_cleared() -> None:
    message = StateMessage()
    message.set_error(ERROR_CARTESIAN_REFLEX)
    assert message.has_error
    assert message.replace(**MODES).record["robot_mode"] == RobotMode.kReflex.value
    message.set_error(None)
    assert not message.has_error
    assert message.replace(**MODES).record["robot_mode"] == RobotMode.kMove.value
