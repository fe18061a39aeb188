# SPDX-License-Identifier: Apache-2.0
"""The base policy's side of chunk timing: when to ask for a plan, and the chunk it becomes.

Letters: T predicted steps, Da action dimensions, D observation dimensions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from resip_ros.core.chunking import (
    ActionChunk,
    greatest_delay,
    is_plan_due,
    splice,
    tick_start_ns,
)
from resip_ros.core.geometry import Array
from resip_ros.core.plan_delay import MIN_SAMPLES, WINDOW, PlanDelay


class Pace:
    """How long a policy step lasts on the wall, where the ROS clock may run faster or slower."""

    def __init__(self, rate_hz: float) -> None:
        """Takes the steps per second of the ROS clock."""
        self._step_s = 1.0 / rate_hz
        self._seen: deque[tuple[int, float]] = deque(maxlen=WINDOW)

    def add(self, tick: int, now_s: float) -> None:
        """Takes note of a step and when it began, s on a monotonic clock."""
        if self._seen and tick <= self._seen[-1][0]:
            self._seen.clear()
        self._seen.append((tick, now_s))

    @property
    def step_s(self) -> float:
        """Length of a step over the last ones, s."""
        if len(self._seen) < MIN_SAMPLES:
            return self._step_s
        (first, from_s), (last, to_s) = self._seen[0], self._seen[-1]
        return max((to_s - from_s) / (last - first), 1e-3 * self._step_s)


@dataclass(frozen=True)
class PlanRequest:
    """What inference is asked for."""

    tick: int
    """Step of the observation."""
    end_tick: int
    """First step that the present chunk does not cover; 0 without one."""
    observation: Array
    """(D,) raw."""
    asked_s: float
    """When the observation was complete, s on a monotonic clock."""
    episode: int
    """Number of the episode; a plan for an earlier one is of no use."""

    @property
    def is_ahead(self) -> bool:
        """Whether it is asked for before the present chunk has ended."""
        return self.tick < self.end_tick


class Planner:
    """Asks for one plan at a time; ``step`` and ``finish`` may be called from two threads."""

    def __init__(self, rate_hz: float, action_steps: int, horizon: int, fixed_delay: int) -> None:
        """Takes the policy's timing.

        Args:
            rate_hz: Policy steps per second.
            action_steps: Steps that are executed of a plan.
            horizon: T.
            fixed_delay: Steps that plans are asked for ahead, or plan_delay.AUTOMATIC.

        Raises:
            ConfigError: for a fixed delay that the horizon leaves no room for.
        """
        self.delay = PlanDelay(greatest_delay(action_steps, horizon), fixed_delay)
        self._rate_hz = rate_hz
        self._pace = Pace(rate_hz)
        self._tick = self._end_tick = self._episode = 0
        self._is_busy = False
        self.waits = 0
        """Steps of this episode that began without a chunk, because the plan was not ready."""

    def start(self) -> None:
        """Begins an episode: nothing is planned or executed yet."""
        self._episode += 1
        self._end_tick = self.waits = 0

    def rehearse(self, seconds: float) -> None:
        """Takes the time that the policy needs by itself, before its first chunk."""
        self.delay.restart(seconds * self._rate_hz)

    def see(self, tick: int, now_s: float) -> None:
        """Takes note of every policy step, also between episodes."""
        self._tick = tick
        self._pace.add(tick, now_s)

    def ask(self, observation: Array, now_s: float) -> PlanRequest | None:
        """A request for the present step's observation (D,), if it is time for one."""
        end_tick = self._end_tick
        if not is_plan_due(self._tick, end_tick, self.delay.steps):
            return None
        if self._is_busy:
            self.waits += self._tick >= end_tick
            return None
        self._is_busy = True
        return PlanRequest(self._tick, end_tick, observation, now_s, self._episode)

    def cut(self, request: PlanRequest, plan: Array, action_steps: int) -> ActionChunk:
        """The part of a plan (T, Da), SI, that is to be executed.

        Raises:
            DataError: when the plan, or the time it took, makes it no chunk.
        """
        begin, left_out = splice(request.tick, request.end_tick, self._tick)
        actions = plan[int(left_out) : int(left_out) + action_steps]
        stamp_ns = tick_start_ns(request.tick, self._rate_hz)
        return ActionChunk(stamp_ns, actions, self._rate_hz, int(begin) - request.tick)

    def finish(self, request: PlanRequest, chunk: ActionChunk | None, now_s: float) -> bool:
        """Ends a request; the next one may be asked for.

        Args:
            request: What was asked for.
            chunk: The answer; None after an error: it is asked again at the next step.
            now_s: When it was there, s on a monotonic clock.

        Returns:
            Whether the chunk is for the present episode.
        """
        is_present = chunk is not None and request.episode == self._episode
        if chunk is not None and is_present:
            self._end_tick = request.tick + chunk.begin_step + len(chunk)
            self.delay.add((now_s - request.asked_s) / self._pace.step_s)
        self._is_busy = False
        return is_present
