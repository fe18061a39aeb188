# SPDX-License-Identifier: Apache-2.0
"""When a chunk is planned, which of its steps are executed, and which one is current.

The one definition of chunk timing, for the nodes and for evaluation in the environment.
Letters: Ta steps of a chunk, Da action dimensions.
Time is integer nanoseconds of the ROS clock, so that step boundaries are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.action import ACTION_DIM
from resip_ros.core.errors import DataError, StaleStreamError
from resip_ros.core.geometry import Array

NS_PER_S = 1_000_000_000
MAX_BEGIN_STEP = 64
"""A chunk that begins later than this after its observation is no plan for what was seen."""


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


Ticks = int | NDArray[np.int64]


def greatest_delay(action_steps: int, horizon: int) -> int:
    """Most steps that a plan of so many steps can be asked for before its chunk is used.

    Every executed action is one that was predicted, and no chunk is planned before its
    predecessor begins.
    """
    return min(action_steps, horizon - action_steps)


def is_plan_due(tick: Ticks, end_tick: Ticks, delay: int) -> bool | NDArray[np.bool_]:
    """Whether to plan from the observation of a step.

    Args:
        tick: The step.
        end_tick: First step that the present chunk does not cover; 0 without one.
        delay: Steps that a plan is asked for before it is needed; 0: at the chunk's end.
    """
    return tick >= end_tick - delay


def splice(observed: Ticks, end_tick: Ticks, ready: Ticks) -> tuple[Ticks, Ticks]:
    """Where a new chunk takes over, and from which of its steps on.

    It begins where the present one ends, or later, when it is ready. Left out are the steps that
    the arm has executed since the observation: never one that nobody executed, so a plan that
    comes late after the end of its predecessor, and the first one of an episode, start in full.

    Args:
        observed: Step whose observation was planned from; the plan's first action is for it.
        end_tick: First step that the present chunk does not cover; 0 without one.
        ready: Step in which the plan was there.

    Returns:
        First step of the new chunk, and how many steps of the plan to leave out.
    """
    executed = np.maximum(end_tick - observed, 0)
    begin = np.maximum(ready, observed + executed)
    return begin, executed


@dataclass(frozen=True)
class ActionChunk:
    """Actions predicted from one observation, in SI units.

    Action i is current while ``begin + i / rate <= t < begin + (i + 1) / rate``.
    """

    stamp_ns: int
    """Observation time, ns of the ROS clock; it identifies the chunk."""
    actions: Array
    """(Ta, Da) actions in SI units."""
    rate_hz: float
    """Policy steps per second."""
    begin_step: int = 0
    """Steps between the observation and the first action; 0 when planning took no time."""

    def __post_init__(self) -> None:
        """Checks shape and values.

        Raises:
            DataError: for a wrong shape, an empty chunk or values that are not finite.
        """
        shape = np.shape(self.actions)
        if len(shape) != 2 or shape[0] < 1 or not shape[1] or shape[1] % ACTION_DIM:
            raise DataError(
                f"action chunk has shape {shape}; expected (Ta >= 1, {ACTION_DIM} for each arm)"
            )
        if not np.isfinite(self.actions).all():
            raise DataError("action chunk holds values that are not finite; it was dropped")
        if not self.rate_hz > 0:
            raise DataError(f"action chunk has rate {self.rate_hz} Hz; expected more than 0")
        if not 0 <= self.begin_step <= MAX_BEGIN_STEP:
            raise DataError(
                f"action chunk begins {self.begin_step} steps after its observation; expected "
                f"0 to {MAX_BEGIN_STEP}"
            )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def begin_ns(self) -> int:
        """First time that the chunk covers, ns."""
        return self.stamp_ns + self.begin_step * period_ns(self.rate_hz)

    @property
    def end_ns(self) -> int:
        """First time that the chunk does not cover, ns."""
        return self.begin_ns + len(self) * period_ns(self.rate_hz)

    def covers(self, time_ns: int) -> bool:
        """Whether some action of the chunk is current."""
        return self.begin_ns <= time_ns < self.end_ns

    def at(self, time_ns: int) -> tuple[int, Array]:
        """Current action and its number.

        Returns:
            Number in the chunk and action (Da,), unchanged bit for bit.

        Raises:
            StaleStreamError: before the first or after the last step.
        """
        if not self.covers(time_ns):
            late = (time_ns - self.end_ns) / NS_PER_S
            when = (
                f"ended {late:.3f} s ago"
                if time_ns >= self.end_ns
                else f"begins in {(self.begin_ns - time_ns) / NS_PER_S:.3f} s"
            )
            raise StaleStreamError(
                f"action chunk of {self.stamp_ns} ns {when}; expected a chunk that covers "
                f"{time_ns} ns; check that the base policy node publishes"
            )
        step = (time_ns - self.begin_ns) // period_ns(self.rate_hz)
        return step, self.actions[step]

    def time_from_start_ns(self, step: int) -> int:
        """When action ``step`` has been carried out, ns after the stamp."""
        return (self.begin_step + step + 1) * period_ns(self.rate_hz)


class ChunkSequence:
    """The chunks of an episode: each is followed until the next one begins."""

    def __init__(self) -> None:
        self._chunks: list[ActionChunk] = []

    def clear(self) -> None:
        """Forgets everything, as at the start of an episode."""
        self._chunks = []

    def add(self, chunk: ActionChunk) -> None:
        """Puts a chunk behind the others.

        Raises:
            DataError: when it is not newer than the last one, which stays.
        """
        if self._chunks and chunk.stamp_ns <= self._chunks[-1].stamp_ns:
            raise DataError("it is not newer than the present one")
        # those that it replaces before they begin, and those that another one has followed
        kept = [c for c in self._chunks if c.begin_ns < chunk.begin_ns]
        self._chunks = [*kept[-2:], chunk]

    def newest(self) -> ActionChunk | None:
        """The chunk that came last, whether it has begun or not."""
        return self._chunks[-1] if self._chunks else None

    def covering(self, time_ns: int) -> ActionChunk | None:
        """The chunk to follow at a time; None before the first and after the last action."""
        covering = [chunk for chunk in self._chunks if chunk.covers(time_ns)]
        return covering[-1] if covering else None
