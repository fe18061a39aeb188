# SPDX-License-Identifier: Apache-2.0
"""Episode events of before: publishers keep some, and give them to a node that joins like news."""

from __future__ import annotations

import time

from rclpy.clock import Clock
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from resip_ros.core import events
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import DataError

CLOCK_PATIENCE_S = 5.0
"""Wall time after which a simulated clock that does not come is done without."""


class EventHistory:
    """Knows since when this node listens, and thereby which events are of before.

    The answer for one event does not change with time: it may be asked for twice.
    """

    def __init__(self, clock: Clock) -> None:
        """Args: clock: ROS clock of the node; a simulated one is at 0 until it is heard."""
        self._clock = clock
        self._made_s = time.monotonic()
        self._since_ns: int | None = None

    def begins(self) -> bool:
        """To be called now and then: True once, as soon as ages can be told."""
        now_ns = self._clock.now().nanoseconds
        if self._since_ns is not None:
            # a simulated world that is started anew begins at 0 again
            self._since_ns = min(self._since_ns, now_ns)
            return False
        if now_ns == 0 and time.monotonic() - self._made_s < CLOCK_PATIENCE_S:
            return False
        self._since_ns = now_ns
        return True

    @property
    def has_begun(self) -> bool:
        """Whether this node listens."""
        return self._since_ns is not None

    def age_s(self, event: events.EpisodeEvent) -> float:
        """Time since it happened, s."""
        return (self._clock.now().nanoseconds - event.stamp_ns) / NS_PER_S

    def is_past(self, event: events.EpisodeEvent) -> bool:
        """Whether it happened before this node listened."""
        return self._since_ns is not None and event.stamp_ns < self._since_ns

    def is_past_message(self, data: bytes) -> bool:
        """The same of a serialized String; what cannot be read is not known to be of before."""
        try:
            return self.is_past(events.parse_event(deserialize_message(data, String).data))
        except (DataError, RuntimeError, UnicodeDecodeError):
            return False
