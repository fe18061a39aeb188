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
"""A shorter delay is chosen only when the times stay this much below its limit."""
WINDOW = 20
"""Chunks that the 95th percentile is taken over."""
MIN_SAMPLES = 3
WARM_UP = 1
"""First chunks of a policy that are left out of the estimate."""
AUTOMATIC = -1


def needed_delay(seconds: float, step_s: float) -> int:
    """Steps of delay for a plan that takes so many seconds."""
    return 0 if seconds <= SYNCHRONOUS_SHARE * step_s else math.ceil(seconds / step_s - 1e-9)


class PlanDelay:
    """The delay in steps: as set, or from the 95th percentile of the last chunks' times."""

    def __init__(self, rate_hz: float, max_delay: int, fixed: int = AUTOMATIC) -> None:
        """Starts without delay.

        Args:
            rate_hz: Policy steps per second.
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
        self._step_s, self._max, self._fixed = 1.0 / rate_hz, max_delay, fixed
        self._times_s: deque[float] = deque(maxlen=WINDOW)
        self._to_skip = WARM_UP
        self.steps = max(fixed, 0)

    def restart(self, rehearsed_s: float | None = None) -> None:
        """Forgets the times, as for another policy.

        Args:
            rehearsed_s: What planning takes without other load; decides until chunks were
                measured. Without it the present delay stays until then.
        """
        self._times_s.clear()
        self._to_skip = WARM_UP
        if rehearsed_s is not None:
            self._choose(rehearsed_s, is_first=True)

    def add(self, seconds: float) -> None:
        """Takes the time from the beginning of a chunk's step to its publication, s."""
        if self._to_skip:
            self._to_skip -= 1
            return
        self._times_s.append(seconds)
        if len(self._times_s) >= MIN_SAMPLES:
            self._choose(float(np.percentile(self._times_s, 95)))

    def _choose(self, seconds: float, is_first: bool = False) -> None:
        if self._fixed != AUTOMATIC:
            return
        needed = min(needed_delay(seconds, self._step_s), self._max)
        if needed < self.steps and not is_first:
            needed = min(needed_delay(seconds / RETURN_SHARE, self._step_s), self.steps)
        self.steps = needed
