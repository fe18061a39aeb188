# SPDX-License-Identifier: Apache-2.0
"""Plans relative to the hand: what a denoiser works on when its card says `plan_frame: hand`.

An absolute plan spans half a metre, so an error of 1 % is 5 mm, as large as the tolerance of an
insertion. Relative to the hand's present pose the first steps span some centimetres: scaled to
[-1, 1] step by step, the steps that are executed are the ones that are predicted finest.

Shape letters: B batch, T prediction horizon, A action dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.errors import DataError

MIN_RANGE = 1e-3
"""A narrower range (normalised actions) counts as constant and is widened by this."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class PlanRange:
    """Ranges of (normalised action - normalised hand pose) at each planned step."""

    low: Float32
    """(T, A) smallest differences; the gripper, which has no anchor, as it is."""
    high: Float32
    """(T, A) largest; above `low` everywhere."""

    def __post_init__(self) -> None:
        """Refuse ranges that would scale to infinity or NaN."""
        if self.low.ndim != 2 or self.low.shape != self.high.shape:
            raise DataError(
                f"plan range needs two (T, A) arrays, got {self.low.shape}, {self.high.shape}"
            )
        # `not (a > b)` also catches NaN.
        if (~(self.high > self.low) | ~np.isfinite(self.high - self.low)).any():
            raise DataError("plan range is empty or not finite; train the base policy again")

    @classmethod
    def fit(cls, plans: Float32, hand: Float32) -> PlanRange:
        """Fit to demonstrated plans (N, T, A) and hand poses (N, A), both normalised actions."""
        offsets = plans - hand[:, None]
        low, high = offsets.min(axis=0), offsets.max(axis=0)
        narrow = high - low < MIN_RANGE
        return cls(
            np.where(narrow, low - MIN_RANGE, low), np.where(narrow, high + MIN_RANGE, high)
        )

    def encode(self, plans: Float32, hand: Float32) -> Float32:
        """Scale plans (B, T, A) to [-1, 1] about the hand (B, A)."""
        scaled = 2 * (plans - hand[:, None] - self.low) / (self.high - self.low) - 1
        return scaled.astype(np.float32)

    def decode(self, scaled: Float32, hand: Float32) -> Float32:
        """Invert `encode`."""
        plans = self.low + 0.5 * (scaled + 1) * (self.high - self.low) + hand[:, None]
        return plans.astype(np.float32)
