# SPDX-License-Identifier: Apache-2.0
import pytest
from rclpy.serialization import serialize_message
from rclpy.time import Time
from std_msgs.msg import String

from resip_ros.core.events import STARTED, EpisodeEvent
from resip_ros.nodes import event_history
from resip_ros.nodes.event_history import EventHistory

pytestmark = pytest.mark.ros
S = 10**9


class Clock:
    """A ROS clock that a test sets."""

    def __init__(self, now_s):
        self.now_s = now_s

    def now(self):
        return Time(nanoseconds=round(self.now_s * S))


def event(at_s):
    return EpisodeEvent(STARTED, round(at_s * S))


def data(text):
    return serialize_message(String(data=text))


def test_what_came_before_is_told_from_what_comes_late():
    clock = Clock(100.0)
    history = EventHistory(clock)
    assert history.begins()
    assert not history.begins()
    clock.now_s = 103.0
    assert history.is_past(event(99.9))
    # of this node's time, however late it arrives
    assert not history.is_past(event(100.1))
    assert history.age_s(event(100.1)) == pytest.approx(2.9)
    assert history.is_past_message(data(event(99.9).to_json()))
    assert not history.is_past_message(data(event(100.1).to_json()))


def test_after_the_clock_was_set_back_events_are_news_again():
    """As when the simulated world is started anew beside a recorder."""
    clock = Clock(100.0)
    history = EventHistory(clock)
    assert history.begins()
    clock.now_s = 5.0
    assert not history.begins()
    clock.now_s = 7.0
    assert not history.begins()
    assert not history.is_past(event(6.0))
    assert history.is_past(event(4.0))


def test_without_a_clock_ages_are_waited_for_but_not_for_ever(monkeypatch):
    clock = Clock(0.0)
    history = EventHistory(clock)
    assert not history.begins()
    assert not history.has_begun
    clock.now_s = 50.0
    assert history.begins()
    assert history.has_begun
    monkeypatch.setattr(event_history, "CLOCK_PATIENCE_S", -1.0)
    assert EventHistory(Clock(0.0)).begins()


@pytest.mark.parametrize(
    "message", [data("{}"), data("[" * 9000), b"", b"\0\1\0\0\xff\xff\xff\xff"]
)
def test_what_cannot_be_read_is_kept(message):
    history = EventHistory(Clock(100.0))
    assert history.begins()
    assert not history.is_past_message(message)
