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
        share = np.asarray(times_s, dtype=np.float64) / self.duration_s
        place, speed = _hermite_basis(share)
        corners = np.stack(
            [
                self.q_start,
                self.q_end,
                self.duration_s * self.dq_start,
                self.duration_s * self.dq_end,
            ],
            axis=1,
        )
        both = np.concatenate([place, speed / self.duration_s]) @ corners
        return both[:, : len(share)], both[:, len(share) :]


def _hermite_basis(share: Array) -> tuple[Array, Array]:
    """Weights (K, 4) of start, end and their two slopes at shares (K,) of the duration.

    Returns:
        Those of the place and of its derivative; past the end it rests.
    """
    s = np.clip(share, 0.0, 1.0)
    end = s * s * (3 - 2 * s)
    place = [1 - end, end, s * (1 - s) * (1 - s), s * s * (s - 1)]
    turn = 6 * s * (1 - s)
    speed = [-turn, turn, (1 - s) * (1 - 3 * s), s * (3 * s - 2)]
    return np.stack(place, axis=-1), np.stack(speed, axis=-1) * (share <= 1.0)[:, None]


def stopping_segment(q: Array, dq: Array, duration_s: float) -> Segment:
    """Segment that brings (q, dq), both (B, 7), to rest with constant deceleration.

    The end lies dq * duration / 2 further on, which is where constant deceleration ends.
    """
    return Segment(q, dq, q + 0.5 * duration_s * dq, np.zeros_like(dq), duration_s)
