# SPDX-License-Identifier: Apache-2.0
"""When an episode ran: from its start to its stop, without what was undone in simulation."""

from __future__ import annotations

from resip_ros.core import events
from resip_ros.core.errors import DataError

_FOREVER_NS = 2**63


class Spans:
    """Takes the events of one bag in order of receipt."""

    def __init__(self) -> None:
        self._spans: list[list[int]] = []
        self._goes_on = False
        self.end_ns: int | None = None
        """When it was stopped, ROS clock; None where no event says so."""

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First and last instant of each stretch, ns; all time where no start was recorded."""
        return [(first, last) for first, last in self._spans] or [(0, _FOREVER_NS)]

    @property
    def _is_open(self) -> bool:
        return bool(self._spans) and self._spans[-1][1] == _FOREVER_NS

    def take(self, event: events.EpisodeEvent) -> None:
        """Takes the next event.

        Raises:
            DataError: for a second episode.
        """
        if event.kind == events.STARTED:
            if self._spans and not self._goes_on:
                raise DataError("a second episode starts; record one bag an episode")
            self._goes_on = False
            self._spans.append([event.stamp_ns, _FOREVER_NS])
            self.end_ns = None
        elif event.kind == events.UNDONE and self._spans:
            self._go_back(event)
        elif event.kind in (events.STOPPED, events.FAULT) and self._is_open:
            self._spans[-1][1] = self.end_ns = event.stamp_ns

    def _go_back(self, event: events.EpisodeEvent) -> None:
        """Leaves out what came after the state that the bench went back to."""
        if not event.detail.isdecimal():
            raise DataError(f"undone to {event.detail!r}; expected a time in ns")
        restored_ns = int(event.detail)
        while len(self._spans) > 1 and self._spans[-1][0] > restored_ns:
            self._spans.pop()
        # what was commanded in that very state was undone
        self._spans[-1][1] = min(self._spans[-1][1], restored_ns - 1)
        self._goes_on = True
