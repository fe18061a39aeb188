# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.robot import reference_timing
from resip_ros.robot.reference_timing import SUCCESS_EVERY, ReferenceTiming


@pytest.fixture
def clock(monkeypatch):
    """Monotonic clock that the test moves."""
    times = {"now": 100.0}
    monkeypatch.setattr(reference_timing.time, "monotonic", lambda: times["now"])
    return times


def test_periods_are_between_references_of_one_episode(clock):
    timing = ReferenceTiming()
    for step_s in (0.0, 0.005, 0.007):
        clock["now"] += step_s
        timing.note(None, 0.0, 1.0)
    assert list(timing.periods_ms) == pytest.approx([5.0, 7.0])
    timing.clear()
    for step_s in (9.0, 0.004):
        clock["now"] += step_s
        timing.note(None, 0.0, 1.0)
    assert list(timing.periods_ms) == pytest.approx([4.0])


def test_a_command_is_answered_once_when_its_segment_begins(clock):
    timing = ReferenceTiming()
    command = 99.9, 3.000
    for robot_s in (2.990, 2.995, 3.000, 3.005):
        clock["now"] += 0.005
        timing.note(command, robot_s, 1.0)
    assert list(timing.answers) == [(99.9, pytest.approx(100.015))]
    timing.note((100.02, 3.1), 3.1, 1.0)
    assert len(timing.answers) == 2


def test_success_is_sampled_ten_times_a_second(clock):
    timing = ReferenceTiming()
    for i in range(3 * SUCCESS_EVERY):
        timing.note(None, 0.0, 1.0 - 0.01 * i)
    assert list(timing.success) == pytest.approx([1.0, 0.8, 0.6])
