# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resip_ros.core import messages
from resip_ros.core.action import decode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, UnsafeCommand
from resip_ros.core.geometry import matrix_to_rotvec, rotation_angle, rotation_z, rotvec_to_matrix
from resip_ros.core.limits import check_action
from resip_ros.core.teleop import (
    OperatorTarget,
    Reading,
    TeleopLimits,
    advance_target,
    apply_dead_zone,
    decode_teleop,
    fill_teleop_inplace,
)

LIMITS = TeleopLimits()
CONFIG = load_control_config()
POS, ROT = np.array([0.5, 0.0, 0.2]), np.diag([1.0, -1.0, -1.0])
share = st.tuples(*[st.floats(-3, 3)] * 3)


def test_full_deflection_moves_at_full_speed_for_one_step():
    slow = TeleopLimits(linear_m_s=0.1)
    target = advance_target(
        slow, Reading((1, 0, 0), (0, 0, 1), held=True), 0.1, (POS, ROT), (POS, ROT)
    )
    np.testing.assert_allclose(target[0] - POS, [0.01, 0, 0])
    np.testing.assert_allclose(matrix_to_rotvec(target[1] @ ROT.T), [0, 0, 0.07], atol=1e-12)


def test_a_diagonal_is_not_faster():
    slow = TeleopLimits(linear_m_s=0.1)
    pos, _ = advance_target(slow, Reading((1, 1, 1), held=True), 0.1, (POS, ROT), (POS, ROT))
    assert np.linalg.norm(pos - POS) == pytest.approx(0.01)


@given(share, share, share, share)
def test_no_target_is_further_than_a_step_from_the_hand(linear, angular, offset, turn):
    far = POS + offset, rotvec_to_matrix(np.array(turn)) @ ROT
    pos, rot = advance_target(LIMITS, Reading(linear, angular, held=True), 0.1, far, (POS, ROT))
    assert np.linalg.norm(pos - POS) <= 0.025 + 1e-9
    assert rotation_angle(rot @ ROT.T) <= np.radians(20.0) + 1e-6


@given(share, share)
def test_without_the_dead_man_nothing_moves(linear, angular):
    target = OperatorTarget(LIMITS, 10.0, CONFIG)
    for _ in range(3):
        action = target.command(Reading(linear, angular), POS, ROT)
    pos, rot, gripper = decode_action(action)
    np.testing.assert_allclose(pos, POS, atol=1e-12)
    np.testing.assert_allclose(rot, ROT, atol=1e-12)
    assert gripper == -1.0


def test_a_held_pose_does_not_follow_a_hand_that_sags():
    target = OperatorTarget(LIMITS, 10.0, CONFIG)
    target.command(Reading(held=True), POS, ROT)
    sagged = POS - [0, 0, 0.004]
    np.testing.assert_allclose(target.command(Reading(), sagged, ROT)[:3], POS)
    target.forget()
    np.testing.assert_allclose(target.command(Reading(), sagged, ROT)[:3], sagged)


def test_the_target_stays_at_the_edge_of_the_workspace():
    """Else the gate refuses, and an operator who leans on a key loses the demonstration."""
    edge = np.array([CONFIG.workspace_max[0] - 0.01, 0.0, 0.2])
    target = OperatorTarget(LIMITS, 10.0, CONFIG)
    for _ in range(5):
        action = target.command(Reading((1, 0, 0), held=True), edge, ROT)
    np.testing.assert_allclose(action[:3], [CONFIG.workspace_max[0], 0.0, 0.2])
    check_action(CONFIG, action, edge, ROT)


def test_gripper_toggles_only_while_held():
    target = OperatorTarget(LIMITS, 10.0, CONFIG)
    assert target.command(Reading(toggles=1, held=True), POS, ROT)[9] == 1.0
    assert target.command(Reading(toggles=1), POS, ROT)[9] == 1.0
    assert target.command(Reading(toggles=2, held=True), POS, ROT)[9] == 1.0
    assert target.command(Reading(toggles=3, held=True), POS, ROT)[9] == -1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_readings_are_refused(bad):
    with pytest.raises(UnsafeCommand, match="finite"):
        OperatorTarget(LIMITS, 10.0, CONFIG).command(Reading((bad, 0, 0), held=True), POS, ROT)
    with pytest.raises(UnsafeCommand, match="finite"):
        apply_dead_zone(np.array([0.0, bad]), 0.1)


def test_dead_zone():
    axes = apply_dead_zone(np.array([0.0, 0.1, -0.1, 0.55, -1.0, 1.2]), 0.1)
    np.testing.assert_allclose(axes, [0, 0, 0, 0.5, -1, 1], atol=1e-12)


def test_limits_are_checked():
    with pytest.raises(ConfigError, match="linear_m_s: got 0"):
        TeleopLimits(linear_m_s=0.0)


def new_message():
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id="")
    return SimpleNamespace(header=header, joint_names=[], points=[])


def new_point():
    return SimpleNamespace(positions=[], time_from_start=SimpleNamespace(sec=0, nanosec=0))


def test_message_round_trip():
    action = np.r_[POS, rotation_z(np.array(0.3))[:2].ravel(), 1.0]
    for held in (True, False):
        message = new_message()
        fill_teleop_inplace(message, 1_500_000_000, action, held, 10.0, new_point)
        stamp_ns, decoded, decoded_held = decode_teleop(message, 10.0)
        assert (stamp_ns, decoded_held) == (1_500_000_000, held)
        np.testing.assert_array_equal(decoded, action)
        with pytest.raises(UnsafeCommand, match="names"):
            messages.decode_action_message(message, 10.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.joint_names.pop(),
        lambda m: m.points.append(m.points[0]),
        lambda m: m.points.clear(),
        lambda m: m.points[0].positions.__setitem__(10, 0.5),
        lambda m: m.points[0].positions.__setitem__(3, np.nan),
        lambda m: setattr(m.header, "frame_id", "world"),
        lambda m: setattr(m.points[0].time_from_start, "nanosec", 1),
    ],
)
def test_malformed_messages_are_refused(spoil):
    message = new_message()
    fill_teleop_inplace(message, 0, np.r_[POS, ROT[:2].ravel(), 1.0], True, 10.0, new_point)
    spoil(message)
    with pytest.raises(UnsafeCommand):
        decode_teleop(message, 10.0)
