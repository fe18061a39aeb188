# SPDX-License-Identifier: Apache-2.0
"""How regularly references are written, how soon a command shows in them, and what arrives."""

from __future__ import annotations

import time
from collections import deque

KEPT = 200_000
"""References of 1000 s at 200 Hz; of longer episodes the newest."""
SUCCESS_EVERY = 20
"""The robot's success rate is that of its last 100 milliseconds."""


class ReferenceTiming:
    """Written by the reference thread; read and cleared by another."""

    def __init__(self) -> None:
        self._answered_s: float | None = None
        self._count = 0
        self.clear()

    def clear(self) -> None:
        """Begins an episode; the time until the next reference is no period."""
        self._last_s: float | None = None
        self.periods_ms: deque[float] = deque(maxlen=KEPT)
        """Time between two references."""
        self.answers: deque[tuple[float, float]] = deque(maxlen=KEPT)
        """When a command came, and when the first reference of it was written, s, monotonic."""
        self.success: deque[float] = deque(maxlen=KEPT)
        """Share of the 1 kHz commands that reached the robot in time, ten times a second."""

    def note(self, command: tuple[float, float] | None, now_s: float, success: float) -> None:
        """A reference was written.

        Args:
            command: When the present segment came (s, monotonic) and begins (robot's clock, s).
            now_s: Robot's clock of this reference, s.
            success: The robot's share of commands in time.
        """
        at_s = time.monotonic()
        if self._last_s is not None:
            self.periods_ms.append(1e3 * (at_s - self._last_s))
        self._last_s = at_s
        if command is not None and command[0] != self._answered_s and now_s >= command[1]:
            self._answered_s = command[0]
            self.answers.append((command[0], at_s))
        if self._count % SUCCESS_EVERY == 0:
            self.success.append(success)
        self._count += 1
