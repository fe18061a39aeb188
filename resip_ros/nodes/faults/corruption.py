# SPDX-License-Identifier: Apache-2.0
"""Ways in which an action message may be wrong; pure, so that each can be tried without ROS."""

from __future__ import annotations

import copy
import random
from collections import deque
from typing import Any

from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.messages import fill_stamp_inplace, stamp_to_ns

SILENT = "silent"
NAN = "nan"
NAMES = "names"
LENGTH = "length"
ROTATION = "rotation"
STALE = "stale"
FUTURE = "future"
REPEATED = "repeated"
JUMP = "jump"
OUTSIDE = "outside"
DELAYED = "delayed"
LOSSY, LOST = "lossy", "lost"
KINDS = (
    SILENT,
    NAN,
    NAMES,
    LENGTH,
    ROTATION,
    STALE,
    FUTURE,
    REPEATED,
    JUMP,
    OUTSIDE,
    DELAYED,
    LOSSY,
    LOST,
)

JUMP_M = 0.3
"""Sideways: within the workspace, and further than a command may lead."""
OUTSIDE_M = 0.3
"""Below the bench, which is lower than any workspace reaches."""
SHIFT_NS = NS_PER_S
DELAY_MESSAGES = 2
"""A message comes when this many newer ones have been sent: 0.2 s late at 10 Hz."""
LOSS = {LOSSY: 0.05, LOST: 0.5}
"""Share of the messages that do not arrive."""


class Corruption:
    """Makes messages of one kind wrong; remembers what it must repeat."""

    def __init__(self, kind: str) -> None:
        """Args: kind: One of KINDS, or empty for none."""
        self.kind = kind
        self._first_ns: int | None = None
        self._under_way: deque[Any] = deque()
        # the same losses in every injection: what differs is what the arm is doing
        self._random = random.Random(0)

    def apply(self, message: Any) -> Any | None:
        """The message as it is sent: a changed copy, the same one, or None for silence.

        Args:
            message: JointTrajectory of actions.
        """
        if not self.kind:
            return message
        if self.kind == SILENT:
            return None
        if self.kind in LOSS:
            return message if self._random.random() >= LOSS[self.kind] else None
        if self.kind == DELAYED:
            self._under_way.append(copy.deepcopy(message))
            has_come = len(self._under_way) > DELAY_MESSAGES
            return self._under_way.popleft() if has_come else None
        wrong = copy.deepcopy(message)
        stamp_ns = stamp_to_ns(wrong.header.stamp)
        self._first_ns = stamp_ns if self._first_ns is None else self._first_ns
        shifted_ns = {
            STALE: stamp_ns - SHIFT_NS,
            FUTURE: stamp_ns + SHIFT_NS,
            # the first one passes, as it should: it is the repetitions that are wrong
            REPEATED: self._first_ns,
        }.get(self.kind, stamp_ns)
        fill_stamp_inplace(wrong.header.stamp, shifted_ns)
        if self.kind == NAMES:
            wrong.joint_names = list(reversed(wrong.joint_names))
        for point in wrong.points:
            point.positions = corrupt_values(self.kind, list(point.positions))
        return wrong


def corrupt_values(kind: str, values: list[float]) -> list[float]:
    """One action's ten numbers, made wrong."""
    if kind == NAN:
        values[0] = float("nan")
    elif kind == LENGTH:
        values.pop()
    elif kind == ROTATION:
        values[3:9] = [0.0] * 6
    elif kind == JUMP:
        values[1] += -JUMP_M if values[1] > 0.0 else JUMP_M
    elif kind == OUTSIDE:
        values[2] = -OUTSIDE_M
    return values
