# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.interpolation import Segment
from resip_ros.robot.reference import Reference, homing_motion

STEP_S = 0.1


def make_segment(start: float, end: float, speed: float) -> Segment:
    """Joint 1 from start to end, ending at speed."""
    q0, q1, v = np.zeros((1, 7)), np.zeros((1, 7)), np.zeros((1, 7))
    q0[0, 0], q1[0, 0], v[0, 0] = start, end, speed
    return Segment(q0, np.zeros((1, 7)), q1, v, STEP_S)


@pytest.fixture
def reference(config: ControlConfig) -> Reference:
    reference = Reference(config)
    reference.rest_at(np.zeros(7))
    return reference


def test_homing_starts_and_ends_at_rest_within_its_speed() -> None:
    start, home = np.linspace(-0.5, 0.5, 7), np.zeros(7)
    motion = homing_motion(start, home)
    times = np.linspace(0.0, motion.duration_s, 400)
    q, dq = motion.sample(times)
    np.testing.assert_allclose(q[0, 0], start)
    np.testing.assert_allclose(q[0, -1], home, atol=1e-12)
    np.testing.assert_allclose(dq[0, [0, -1]], 0.0, atol=1e-12)
    assert np.abs(dq).max() == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(np.gradient(q[0], times, axis=0)[5:-5], dq[0, 5:-5], atol=1e-3)


def test_early_segment_waits_for_the_end_of_the_last(reference: Reference) -> None:
    reference.append(make_segment(0.0, 0.02, 0.2), 1.0)
    before = reference.sample(1.099)[0][0]
    reference.append(make_segment(0.02, 0.04, 0.2), 1.095)
    assert reference.sample(1.099)[0][0] == pytest.approx(before)
    np.testing.assert_allclose(reference.sample(1.1)[0][0], 0.02)
    np.testing.assert_allclose(reference.sample(1.2)[0][0], 0.04)


def test_late_segment_meets_a_coasting_reference(reference: Reference) -> None:
    reference.append(make_segment(0.0, 0.02, 0.2), 1.0)
    q, dq = reference.sample(1.102)
    assert q[0] == pytest.approx(0.02 + 0.2 * 0.002, abs=1e-5)
    assert dq[0] == pytest.approx(0.2, abs=0.01)
    reference.append(make_segment(0.02, 0.04, 0.2), 1.105)
    np.testing.assert_allclose(reference.sample(1.2)[0][0], 0.04)


def follow_plan(reference: Reference, now_s: float, end: float, speed: float) -> None:
    """Plans a segment of joint 1 as the bridge does, and appends it 3 ms later."""
    q, dq = reference.plan(now_s)
    target = np.r_[end, np.zeros(6)]
    final = np.r_[speed, np.zeros(6)]
    segment = Segment(q[None], dq[None], target[None], final[None], STEP_S)
    reference.append(segment, now_s + 0.003)


def test_late_plan_begins_where_the_reference_coasts(reference: Reference) -> None:
    """80 ms late at 1 rad/s the reference has coasted on by 48 mrad: no jump and no refusal."""
    reference.append(make_segment(0.0, 0.1, 1.0), 1.0)
    late = 1.0 + STEP_S + 0.08
    before = reference.sample(late)
    assert before[0][0] == pytest.approx(0.1 + 0.08 - 0.5 * 10.0 * 0.08**2)
    follow_plan(reference, late, 0.2, 0.5)
    after = reference.sample(late)
    np.testing.assert_allclose(after, before, atol=1e-9)
    np.testing.assert_allclose(reference.sample(late + STEP_S)[0][0], 0.2)


def test_plan_of_a_command_in_time_is_the_end_of_the_last(reference: Reference) -> None:
    reference.append(make_segment(0.0, 0.02, 0.2), 1.0)
    for now_s in (1.09, 1.1, 1.13):
        q, dq = reference.plan(now_s)
        np.testing.assert_allclose([q[0], dq[0]], [0.02, 0.2], atol=1e-9)


def test_plan_holds_though_the_limit_passes_before_the_segment_comes(
    reference: Reference,
) -> None:
    reference.append(make_segment(0.0, 0.1, 1.0), 1.0)
    follow_plan(reference, 1.0 + STEP_S + 0.049, 0.2, 1.0)
    np.testing.assert_allclose(reference.sample(1.2)[0][0], 0.2)


def test_one_late_command_does_not_delay_the_next(reference: Reference) -> None:
    reference.append(make_segment(0.0, 0.02, 0.2), 1.0)
    follow_plan(reference, 1.18, 0.04, 0.2)
    q, dq = reference.plan(1.2)
    np.testing.assert_allclose((q, dq), reference.sample(1.2), atol=1e-9)
    follow_plan(reference, 1.2, 0.06, 0.2)
    np.testing.assert_allclose(reference.sample(1.3)[0][0], 0.06)


def test_reference_that_runs_out_comes_to_rest(
    reference: Reference, config: ControlConfig
) -> None:
    reference.append(make_segment(0.0, 0.02, 0.2), 1.0)
    q, dq = reference.sample(1.1 + config.hold_duration_s + 1e-6)
    assert dq[0] == 0.0
    assert q[0] == pytest.approx(0.02 + 0.5 * 0.2 * config.hold_duration_s)


def test_brake_is_continuous(reference: Reference) -> None:
    reference.append(make_segment(0.0, 0.02, 0.2), 1.0)
    q, dq = reference.sample(1.05)
    reference.brake(1.05)
    q_braked, dq_braked = reference.sample(1.05)
    np.testing.assert_allclose(q_braked, q)
    np.testing.assert_allclose(dq_braked, dq)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_segment_that_is_not_finite_is_refused(reference: Reference, value: float) -> None:
    with pytest.raises(UnsafeCommand, match="not finite"):
        reference.append(make_segment(0.0, value, 0.0), 1.0)


def test_segment_far_from_the_reference_is_refused(reference: Reference) -> None:
    with pytest.raises(UnsafeCommand, match="0.060 rad from the reference"):
        reference.append(make_segment(0.06, 0.07, 0.0), 1.0)


def test_stale_needs_both_clocks(
    reference: Reference, config: ControlConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("resip_ros.robot.reference.time.monotonic", lambda: now[0])
    assert not reference.is_stale(50.0)
    reference.append(make_segment(0.0, 0.0, 0.0), 1.0)
    limit = config.command_timeout_s
    now[0] += 2 * limit
    assert not reference.is_stale(1.0 + 0.5 * limit)
    assert reference.is_stale(1.0 + 2 * limit)
