# SPDX-License-Identifier: Apache-2.0
"""The joint reference of one arm in time: segments in a row, coasting to rest at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import Array
from resip_ros.core.interpolation import Segment, stopping_segment

_HOMING_SPEED = 0.5
"""Peak joint speed of homing, rad/s: slow enough to step back from."""
_MAX_LATENESS_S = 0.05
"""A segment this late still joins its predecessor; later ones start at their arrival."""
_MAX_EARLINESS_S = 0.02
"""A segment this early waits for its predecessor's end; earlier ones cut it short, or one late
command would delay all that follow it."""
_MAX_JUMP_RAD = 0.05
"""Largest step between the reference and a segment's start, rad; 30 N m at 600 N m/rad."""


class Motion(Protocol):
    """Anything that gives q and dq over time, like ``core.interpolation.Segment``."""

    @property
    def duration_s(self) -> float:
        """Length, s."""
        ...

    def sample(self, times_s: Array, /) -> tuple[Array, Array]:
        """Reference q and dq, (1, K, 7), at times (K,)."""
        ...


@dataclass(frozen=True)
class QuinticMotion:
    """Rest to rest with zero acceleration at both ends."""

    q_start: Array
    """(7,) rad."""
    q_end: Array
    """(7,) rad."""
    duration_s: float

    def sample(self, times_s: Array) -> tuple[Array, Array]:
        """Reference q and dq, (1, K, 7)."""
        s = np.clip(np.asarray(times_s) / self.duration_s, 0.0, 1.0)[None, :, None]
        blend = s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
        rate = 30.0 * s**2 * (1.0 - s) ** 2 / self.duration_s
        delta = self.q_end - self.q_start
        return self.q_start + blend * delta, rate * delta


def homing_motion(q: Array, home: Array) -> QuinticMotion:
    """Motion from q (7,) to home (7,) whose peak speed is the homing speed."""
    peak_over_mean = 1.875  # of the quintic blend
    farthest = float(np.abs(home - q).max())
    return QuinticMotion(q, home, max(0.5, peak_over_mean * farthest / _HOMING_SPEED))


class Reference:
    """What the arm should do when; not thread-safe. Times are the robot's clock, s."""

    def __init__(self, config: ControlConfig) -> None:
        self._config = config
        self._motion: Motion | None = None
        self._start_s = 0.0
        self._before: tuple[Motion, float] | None = None
        self._plan: tuple[float, float] | None = None
        """When the segment that was planned last begins, and when it was planned."""
        self._rest = np.array(config.home_joints)
        self._received_s = 0.0
        self._received_monotonic_s = 0.0
        self._is_commanded = False

    def rest_at(self, q: Array) -> None:
        """Forget all motion; stay at q (7,)."""
        self._motion, self._before, self._plan = None, None, None
        self._rest = np.array(q)
        self._is_commanded = False

    def run(self, motion: Motion, now_s: float) -> None:
        """Replace everything by one motion that starts now."""
        self._motion, self._start_s = motion, now_s
        self._before, self._plan = None, None
        self._is_commanded = False

    def plan(self, now_s: float) -> tuple[Array, Array]:
        """Where the segment that is appended next begins: q (7,) rad and dq (7,) rad/s."""
        start = self._join_time(now_s)
        self._plan = start, now_s
        return self.sample(start)

    def append(self, segment: Segment, now_s: float) -> None:
        """Put a commanded segment behind the present one, where ``plan`` said just before.

        Raises:
            UnsafeCommand: not one arm, not finite, or far from the present reference.
        """
        if segment.q_start.shape != (1, 7):
            raise UnsafeCommand(f"segment is for {segment.q_start.shape}, expected one arm (1, 7)")
        values = (segment.q_start, segment.dq_start, segment.q_end, segment.dq_end)
        if not all(np.isfinite(v).all() for v in values):
            raise UnsafeCommand("segment is not finite")
        plan, self._plan = self._plan, None
        if plan is not None and now_s - plan[1] <= _MAX_LATENESS_S:
            start = plan[0]
        else:
            start = self._join_time(now_s)
        q, _ = self.sample(start)
        jump = float(np.abs(segment.q_start[0] - q).max())
        if jump > _MAX_JUMP_RAD:
            raise UnsafeCommand(
                f"segment starts {jump:.3f} rad from the reference, limit {_MAX_JUMP_RAD} rad; "
                "plan it from FrankaArm.reference()"
            )
        if self._motion is not None and start > now_s:
            self._before = (self._motion, self._start_s)
        else:
            self._before = None
        self._motion, self._start_s = segment, start
        self._received_s, self._received_monotonic_s = now_s, time.monotonic()
        self._is_commanded = True

    def _join_time(self, now_s: float) -> float:
        """When a new segment begins: where the last one ends, unless that is far from now."""
        if self._motion is None or not self._is_commanded:
            return now_s
        end = self._start_s + self._motion.duration_s
        return end if -_MAX_LATENESS_S <= end - now_s <= _MAX_EARLINESS_S else now_s

    def brake(self, now_s: float) -> None:
        """Come to rest along the present motion."""
        q, dq = self.sample(now_s)
        self.run(stopping_segment(q[None], dq[None], self._config.hold_duration_s), now_s)

    def is_stale(self, now_s: float) -> bool:
        """Whether the last command is older than the time-out.

        Both clocks must say so: the monotonic one cannot jump, and the robot's one keeps a
        simulation that runs slower than the wall from timing out between two steps.
        """
        if not self._is_commanded:
            return False
        limit = self._config.command_timeout_s
        age = time.monotonic() - self._received_monotonic_s
        return age > limit and now_s - self._received_s > limit

    @property
    def last_command(self) -> tuple[float, float] | None:
        """When the present segment came (s, monotonic) and begins (robot's clock, s)."""
        return (self._received_monotonic_s, self._start_s) if self._is_commanded else None

    def is_at_rest(self, now_s: float) -> bool:
        """Whether the present motion has ended."""
        return self._motion is None or now_s >= self._start_s + self._motion.duration_s

    def sample(self, now_s: float) -> tuple[Array, Array]:
        """Reference q (7,) rad and dq (7,) rad/s at a time."""
        if self._before is not None and now_s < self._start_s:
            motion, start = self._before
        elif self._motion is not None:
            motion, start = self._motion, self._start_s
        else:
            return self._rest.copy(), np.zeros(7)
        elapsed = max(0.0, now_s - start)
        if elapsed <= motion.duration_s:
            q, dq = motion.sample(np.array([elapsed]))
            return q[0, 0], dq[0, 0]
        # a late successor would otherwise meet a reference that stopped dead
        q, dq = motion.sample(np.array([motion.duration_s]))
        coast = stopping_segment(q[:, 0], dq[:, 0], self._config.hold_duration_s)
        q, dq = coast.sample(np.array([elapsed - motion.duration_s]))
        return q[0, 0], dq[0, 0]
