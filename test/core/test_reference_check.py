# SPDX-License-Identifier: Apache-2.0
"""Every limit of the reference at its edge: just inside passes, just outside does not."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.interpolation import Segment
from resip_ros.core.kinematics import forward
from resip_ros.core.reference_check import (
    LEAD,
    acceleration_limit,
    check_segment,
    speed_limit,
)

HAIR = 1e-3
# wide where a test is not about it
WIDE = dataclasses.replace(load_control_config(), leash_m=1.0, leash_rad=3.0)
STEP_S = WIDE.step_s
HOME = np.array(WIDE.home_joints)


def steady(speed, joint=1, start=HOME):
    """A step of one joint at constant speed."""
    dq = np.zeros(7)
    dq[joint] = speed
    return Segment(start[None], dq[None], (start + dq * STEP_S)[None], dq[None], STEP_S)


def measured(q):
    """Where the hand is at joints (7,)."""
    return forward(q[None])


def test_rest_passes(config):
    check_segment(config, steady(0.0), measured(HOME))


def test_joint_range_counts_the_coasting(config):
    """A joint that would only pass its limit while it coasts is refused as well."""
    coast = 0.5 * WIDE.hold_duration_s
    room = 1.0 * (STEP_S + coast)
    start = HOME.copy()
    start[6] = WIDE.joint_max[6] - room - HAIR
    check_segment(WIDE, steady(1.0, joint=6, start=start), measured(start))
    start[6] += 2 * HAIR
    with pytest.raises(UnsafeCommand, match="joints leave"):
        check_segment(WIDE, steady(1.0, joint=6, start=start), measured(start))


def test_speed_limit():
    check_segment(WIDE, steady(speed_limit(WIDE) - HAIR, joint=0), measured(HOME))
    with pytest.raises(UnsafeCommand, match="joint speed is above"):
        check_segment(WIDE, steady(speed_limit(WIDE) + HAIR, joint=0), measured(HOME))


def test_acceleration_limit():
    def start_at(change):
        """From rest to a mean speed, as the command path makes it."""
        end = np.zeros(7)
        end[0] = change
        q = HOME[None]
        return Segment(q, np.zeros((1, 7)), q + end * STEP_S, end[None], STEP_S)

    largest = WIDE.max_joint_acceleration * STEP_S
    check_segment(WIDE, start_at(largest), measured(HOME))
    # the first 5 ms see a little less than the peak at the very start
    with pytest.raises(UnsafeCommand, match=f"above {acceleration_limit(WIDE):.1f} rad/s"):
        check_segment(WIDE, start_at(1.1 * largest), measured(HOME))


def test_workspace_is_that_of_the_hand():
    pos, _ = forward(HOME)
    # joint 1 turns the hand about the base: it moves along y
    sideways = np.hypot(pos[0], pos[1]) * np.sin(0.15)
    near = dataclasses.replace(WIDE, workspace_max=(0.75, sideways - 0.04, 0.6))
    with pytest.raises(UnsafeCommand, match="hand leaves"):
        check_segment(near, steady(1.0, joint=0), measured(HOME))
    far = dataclasses.replace(WIDE, workspace_max=(0.75, sideways + 0.01, 0.6))
    check_segment(far, steady(1.0, joint=0), measured(HOME))


def test_an_arm_that_starts_outside_may_come_in_but_not_go_further_out():
    pos, _ = forward(HOME)
    config = dataclasses.replace(WIDE, workspace_min=(0.2, pos[1] + 0.1, 0.01))
    check_segment(config, steady(0.5, joint=0), measured(HOME))
    with pytest.raises(UnsafeCommand, match="hand leaves"):
        check_segment(config, steady(-0.5, joint=0), measured(HOME))


def test_lead_over_the_measured_hand(config):
    """The arm is stuck: the reference may not go on without it."""
    leash = LEAD * config.leash_m
    reach = np.linalg.norm(forward(HOME)[0][:2])
    ahead = HOME.copy()
    ahead[0] = 0.98 * leash / reach
    check_segment(config, steady(0.0, start=ahead), measured(HOME))
    ahead[0] = 1.02 * leash / reach
    with pytest.raises(UnsafeCommand, match="leads the measured one"):
        check_segment(config, steady(0.0, start=ahead), measured(HOME))


def test_not_finite():
    with pytest.raises(UnsafeCommand, match="not finite"):
        check_segment(WIDE, steady(np.nan), measured(HOME))
