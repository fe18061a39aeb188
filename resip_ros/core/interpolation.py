# SPDX-License-Identifier: Apache-2.0
"""Smooth joint references: one cubic Hermite segment per policy step, and a stop.

B environments or arms, K sample times. Positions in rad, velocities in rad/s, times in s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resip_ros.core.geometry import Array


@dataclass(frozen=True)
class Segment:
    """Cubic from (q_start, dq_start) at 0 to (q_end, dq_end) at duration_s; then it rests."""

    q_start: Array
    """(B, 7) rad."""
    dq_start: Array
    """(B, 7) rad/s."""
    q_end: Array
    """(B, 7) rad."""
    dq_end: Array
    """(B, 7) rad/s."""
    duration_s: float

    def of_arm(self, index: int) -> Segment:
        """The row of one arm, (1, 7)."""
        row = slice(index, index + 1)
        return Segment(
            self.q_start[row],
            self.dq_start[row],
            self.q_end[row],
            self.dq_end[row],
            self.duration_s,
        )

    def sample(self, times_s: Array) -> tuple[Array, Array]:
        """Reference q and dq, both (B, K, 7), at times_s (K,) after the start.

        Past the end the reference stays at q_end with zero velocity.
        """
        times_s = np.asarray(times_s, dtype=np.float64)
        past = (times_s >= self.duration_s)[None, :, None]
        s = np.clip(times_s / self.duration_s, 0.0, 1.0)[None, :, None]
        q0, q1 = self.q_start[:, None], self.q_end[:, None]
        m0, m1 = self.dq_start[:, None] * self.duration_s, self.dq_end[:, None] * self.duration_s
        q = (
            (2 * s**3 - 3 * s**2 + 1) * q0
            + (s**3 - 2 * s**2 + s) * m0
            + (3 * s**2 - 2 * s**3) * q1
            + (s**3 - s**2) * m1
        )
        dq = (
            (6 * s**2 - 6 * s) * (q0 - q1) + (3 * s**2 - 4 * s + 1) * m0 + (3 * s**2 - 2 * s) * m1
        ) / self.duration_s
        at_end = times_s[None, :, None] == self.duration_s
        return np.where(past, q1, q), np.where(past & ~at_end, 0.0, dq)


def stopping_segment(q: Array, dq: Array, duration_s: float) -> Segment:
    """Segment that brings (q, dq), both (B, 7), to rest with constant deceleration.

    The end lies dq * duration / 2 further on, which is where constant deceleration ends.
    """
    return Segment(q, dq, q + 0.5 * duration_s * dq, np.zeros_like(dq), duration_s)
