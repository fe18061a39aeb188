# SPDX-License-Identifier: Apache-2.0
"""How many steps before its chunk is used a plan is asked for, decided from measured times."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from resip_ros.core.errors import ConfigError

SYNCHRONOUS_SHARE = 0.5
"""Part of a step that planning may take at the end of a chunk. Within it the arm still follows
its reference (a command may join it late by 50 ms at 10 Hz), and nothing is lost."""
RETURN_SHARE = 0.8
"""A shorter delay is chosen only when the lengths stay below this share of its limit."""
WINDOW = 20
"""Chunks that the 95th percentile is of."""
MIN_SAMPLES = 3
WARM_UP = 1
"""First chunks of a policy that are left out of the estimate."""
AUTOMATIC = -1


def needed_delay(length: float) -> int:
    """Whole steps of delay for a plan that takes so many steps to make."""
    return 0 if length <= SYNCHRONOUS_SHARE else math.ceil(length - 1e-9)


class PlanDelay:
    """The delay in steps: as set, or from the 95th percentile of the last chunks' lengths.

    The length of planning counts in policy steps, so it says the same on a simulation's clock.
    """

    def __init__(self, max_delay: int, fixed: int = AUTOMATIC) -> None:
        """Starts without delay.

        Args:
            max_delay: Greatest delay that the policy's horizon leaves room for.
            fixed: The delay, or AUTOMATIC.

        Raises:
            ConfigError: for a fixed delay beyond the greatest.
        """
        if fixed > max_delay:
            raise ConfigError(
                f"plan delay is {fixed} steps; expected at most {max_delay}: the policy plans no "
                "further"
            )
        self._max, self._fixed = max_delay, fixed
        self._lengths: deque[float] = deque(maxlen=WINDOW)
        self._to_skip = WARM_UP
        self.steps = max(fixed, 0)
        self.slow = 0.0
        """95th percentile of the last lengths, steps; 0 before there are enough."""

    def restart(self, rehearsed: float | None = None) -> None:
        """Forgets the lengths, as for another policy.

        Args:
            rehearsed: Length of planning without other load, steps; decides until chunks were
                measured. Without it the present delay stays until then.
        """
        self._lengths.clear()
        self._to_skip = WARM_UP
        if rehearsed is not None:
            self._choose(needed_delay(rehearsed))

    def add(self, length: float) -> None:
        """Takes what it took from a complete observation to its published chunk, steps."""
        if self._to_skip:
            self._to_skip -= 1
            return
        self._lengths.append(length)
        if len(self._lengths) < MIN_SAMPLES:
            return
        self.slow = float(np.percentile(self._lengths, 95))
        down = min(needed_delay(self.slow / RETURN_SHARE), self.steps)
        self._choose(max(needed_delay(self.slow), down))

    def _choose(self, steps: int) -> None:
        if self._fixed == AUTOMATIC:
            self.steps = min(steps, self._max)
