# SPDX-License-Identifier: Apache-2.0
"""Which step of a predicted chunk is current at which time.

Letters: Ta steps of a chunk, Da action dimensions.
Time is integer nanoseconds of the ROS clock, so that step boundaries are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resip_ros.core.action import ACTION_DIM
from resip_ros.core.errors import DataError, StaleStreamError
from resip_ros.core.geometry import Array

NS_PER_S = 1_000_000_000


def period_ns(rate_hz: float) -> int:
    """Length of one policy step, ns."""
    return round(NS_PER_S / rate_hz)


def tick_of(stamp_ns: int, rate_hz: float) -> int:
    """Number of the policy step that a time falls in.

    Steps lie on whole multiples of the period of the ROS clock, so that nodes agree on them
    without talking to each other.
    """
    return stamp_ns // period_ns(rate_hz)


def tick_start_ns(tick: int, rate_hz: float) -> int:
    """Time at which a policy step begins, ns."""
    return tick * period_ns(rate_hz)


@dataclass(frozen=True)
class ActionChunk:
    """Actions predicted from one observation, in SI units.

    Step i is current while ``stamp + i / rate <= t < stamp + (i + 1) / rate``.
    """

    stamp_ns: int
    """Observation time, ns of the ROS clock; it identifies the chunk."""
    actions: Array
    """(Ta, Da) actions in SI units."""
    rate_hz: float
    """Policy steps per second."""

    def __post_init__(self) -> None:
        """Checks shape and values.

        Raises:
            DataError: for a wrong shape, an empty chunk or values that are not finite.
        """
        shape = np.shape(self.actions)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != ACTION_DIM:
            raise DataError(f"action chunk has shape {shape}; expected (Ta >= 1, {ACTION_DIM})")
        if not np.isfinite(self.actions).all():
            raise DataError("action chunk holds values that are not finite; it was dropped")
        if not self.rate_hz > 0:
            raise DataError(f"action chunk has rate {self.rate_hz} Hz; expected more than 0")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def end_ns(self) -> int:
        """First time that the chunk does not cover, ns."""
        return self.stamp_ns + len(self) * period_ns(self.rate_hz)

    def covers(self, time_ns: int) -> bool:
        """Whether some step of the chunk is current."""
        return self.stamp_ns <= time_ns < self.end_ns

    def at(self, time_ns: int) -> tuple[int, Array]:
        """Current step and its action.

        Returns:
            Step number and action (Da,), unchanged bit for bit.

        Raises:
            StaleStreamError: before the first or after the last step.
        """
        if not self.covers(time_ns):
            late = (time_ns - self.end_ns) / NS_PER_S
            when = (
                f"ended {late:.3f} s ago"
                if time_ns >= self.end_ns
                else f"begins in {(self.stamp_ns - time_ns) / NS_PER_S:.3f} s"
            )
            raise StaleStreamError(
                f"action chunk of {self.stamp_ns} ns {when}; expected a chunk that covers "
                f"{time_ns} ns; check that the base policy node publishes"
            )
        step = (time_ns - self.stamp_ns) // period_ns(self.rate_hz)
        return step, self.actions[step]

    def time_from_start_ns(self, step: int) -> int:
        """When step ``step`` has been carried out, ns after the stamp: (i + 1) / rate."""
        return (step + 1) * period_ns(self.rate_hz)
