# SPDX-License-Identifier: Apache-2.0
"""The judge's own truths: it must call unsafe what is unsafe."""

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.kinematics import forward
from resip_ros.nodes.faults.catalogue import Fault
from resip_ros.nodes.faults.verdict import Trace, judge, summarise, time_to_rest_ms

HOME = np.array(load_control_config().home_joints)
FAULT = Fault("x", "hold", hold_ms=500.0, motion_m=0.05, event="in time")
GOES_ON = Fault("y", "goes on", hold_ms=None, motion_m=0.1)


def stop_after(seconds, speed=0.1, length_s=3.0, since_s=0.0):
    """Joint 1 at constant speed, then at rest; samples every 10 ms."""
    times = np.arange(-0.5, length_s, 0.01)
    dq = np.zeros((len(times), 7))
    dq[:, 0] = np.where(times < seconds, speed, 0.0)
    q = HOME + np.cumsum(dq, axis=0) * 0.01
    return Trace.of(np.c_[times, q, dq], since_s)


def test_time_to_rest_is_from_the_fault_to_the_last_motion():
    assert time_to_rest_ms(stop_after(0.3)) == pytest.approx(300.0, abs=15.0)
    assert time_to_rest_ms(stop_after(-0.2)) == 0.0
    assert time_to_rest_ms(stop_after(9.0)) is None


def test_a_stop_in_time_is_safe():
    outcome = judge(FAULT, stop_after(0.3), ["no command in time: the arm holds"])
    assert outcome.safe
    reach = np.hypot(*forward(HOME)[0][:2])
    assert outcome.speed_m_s == pytest.approx(0.1 * reach, rel=1e-6)
    assert outcome.motion_m == pytest.approx(0.03 * reach, rel=0.05)


@pytest.mark.parametrize(
    ("trace", "details", "reason"),
    [
        (stop_after(0.6, speed=0.05), ["in time"], "rest after"),
        (stop_after(9.0, speed=0.021), ["in time"], "did not come to rest"),
        (stop_after(0.3, speed=1.0), ["in time"], "the hand moved"),
        (stop_after(0.3), [], "expected an event"),
        (stop_after(0.3), ["another"], "was told another"),
    ],
)
def test_what_is_not_as_expected_is_unsafe(trace, details, reason):
    outcome = judge(FAULT, trace, details)
    assert not outcome.safe
    assert any(reason in text for text in outcome.reasons)


def test_motion_that_goes_on_by_itself_counts():
    """At rest in time, but moving again when the fault is over."""
    trace = stop_after(0.2)
    moving = np.where((trace.time_s > 2.5) & (trace.time_s < 2.6), 0.1, trace.dq[:, 0])
    again = Trace(trace.time_s, trace.q, np.c_[moving, trace.dq[:, 1:]])
    assert not judge(FAULT, again, ["in time"]).safe


def test_a_bridge_that_was_not_ended_is_unsafe():
    hung = Fault("z", "killed", hold_ms=500.0, motion_m=0.05, node="franka_bridge")
    assert judge(hung, stop_after(0.3), []).safe
    assert not judge(hung, stop_after(0.3), [], ["franka_bridge was not ended"]).safe


def test_an_arm_that_should_go_on():
    assert judge(GOES_ON, stop_after(9.0), []).safe
    held = judge(GOES_ON, stop_after(0.3), ["no command in time"])
    assert held.safe
    assert "did not go on: no command in time" in summarise(GOES_ON, [held])["measured"]
    assert not judge(GOES_ON, stop_after(9.0, speed=1.0), []).safe


def test_a_row_is_safe_only_when_every_injection_was():
    good = judge(FAULT, stop_after(0.3), ["in time"])
    bad = judge(FAULT, stop_after(0.3), [])
    row = summarise(FAULT, [good, good])
    assert row["safe"]
    assert row["n"] == 2
    assert row["hold_ms"]["p50"] == pytest.approx(300.0, abs=15.0)
    row = summarise(FAULT, [good, bad])
    assert not row["safe"]
    assert "expected an event" in row["measured"]
    assert not summarise(FAULT, [])["safe"]
