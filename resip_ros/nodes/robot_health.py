# SPDX-License-Identifier: Apache-2.0
"""What the bridge says of arm, gripper and its own hold on them, against stated limits."""

from __future__ import annotations

import numpy as np

from resip_ros.nodes.diagnostics import ERROR, Health
from resip_ros.nodes.state_publisher import StatePublisher
from resip_ros.robot.arm_state import Phase
from resip_ros.robot.gripper import MAX_AGE_S
from resip_ros.robot.link import RobotLink

MIN_STATE_HZ = 90.0
"""Of the state topics (100 Hz), which policies read; the arm is led by franky's own thread."""
SUCCESS_WARN, SUCCESS_ERROR = 0.98, 0.9
"""libfranka's share of the last 100 commands of the 1 kHz loop that came in time; 20 missed ones
in a row end the control."""
GRIPPER_AGE_WARN_S = 0.5
BEAT_GAP_WARN_MS = 150.0
"""The supervisor kills the bridge at ten times this."""
_LED = (Phase.HOLDING, Phase.FOLLOWING, Phase.HOMING)


def assess_robot(
    health: Health,
    link: RobotLink,
    states: StatePublisher,
    arm_name: str = "",
    is_sim: bool = False,
) -> None:
    """Adds phase, fault, rates and ages; asks the robot nothing.

    Args:
        health: The report.
        link: Arm, gripper and supervisor.
        states: The newest reading and how often readings come.
        arm_name: Begins the names of the values where there are several arms.
        is_sim: Whether the robot is simulated: how many commands came in time is told, not judged.
    """
    prefix = f"{arm_name} " if arm_name else ""
    arm, state, gripper = link.arm, states.newest, link.gripper.state()
    health.value(f"{prefix}phase", arm.phase.value)
    if arm.phase is Phase.FAULT:
        reason = arm.fault.message if arm.fault is not None else "unknown"
        health.tell(ERROR, f"{prefix}{reason}; free the arm, then call ~/recover and ~/home")
    health.at_least(
        f"{prefix}states, Hz", states.rate.hz or 0.0, warn=MIN_STATE_HZ, advice="free a core"
    )
    if state is not None and arm.phase in _LED:
        # a simulated robot shares the cores and forgives
        health.at_least(
            f"{prefix}control commands in time, share",
            state.success_rate,
            warn=-np.inf if is_sim else SUCCESS_WARN,
            error=-np.inf if is_sim else SUCCESS_ERROR,
            advice="the robot misses commands; see the network and the kernel (resip doctor)",
        )
    health.at_most(
        f"{prefix}gripper age, s",
        gripper.age_s,
        warn=GRIPPER_AGE_WARN_S,
        error=MAX_AGE_S,
        advice="the gripper does not answer; see its connection",
    )
    health.at_most(
        f"{prefix}gripper failures",
        gripper.failures,
        warn=0,
        advice="look at the fingers and the log",
    )
    health.at_most(
        f"{prefix}longest gap between signs of life, ms",
        1e3 * link.supervisor.longest_gap_s,
        warn=BEAT_GAP_WARN_MS,
        advice="something holds up the reference thread",
    )
