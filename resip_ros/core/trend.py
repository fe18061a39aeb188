# SPDX-License-Identifier: Apache-2.0
"""Whether something grows over time: the slope of a line through it, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BLOCKS = 12
"""Means of so many parts of the time are compared: neighbouring samples depend on each other."""
T_95 = 2.228
"""95 % of Student's t with BLOCKS - 2 degrees of freedom."""
SETTLING_SHARE = 0.2
"""Beginning that is left out: buffers and caches fill up."""
STEADY, GROWS, UNCLEAR = "steady", "grows", "unclear"


@dataclass(frozen=True)
class Trend:
    """A line through the samples."""

    first: float
    """Mean of the first block."""
    last: float
    """Mean of the last block."""
    per_hour: float
    """Slope."""
    ci95: tuple[float, float]
    """95 % interval of the slope."""

    def verdict(self, limit_per_hour: float) -> str:
        """STEADY when growth above the limit can be ruled out, GROWS when it is certain."""
        if self.ci95[1] <= limit_per_hour:
            return STEADY
        return GROWS if self.ci95[0] > limit_per_hour else UNCLEAR


def fit_trend(hours: Sequence[float], values: Sequence[float]) -> Trend | None:
    """Least squares through the means of equal parts of the time, the beginning left out.

    Args:
        hours: (n,) when, ascending.
        values: (n,) what was measured; not finite where it was not.

    Returns:
        None where there are too few samples to say anything.
    """
    t, y = np.asarray(hours, dtype=np.float64), np.asarray(values, dtype=np.float64)
    t, y = t[np.isfinite(y)], y[np.isfinite(y)]
    if len(t):
        kept = t >= t[0] + SETTLING_SHARE * (t[-1] - t[0])
        t, y = t[kept], y[kept]
    if len(t) < BLOCKS:
        return None
    t_mean = np.array([block.mean() for block in np.array_split(t, BLOCKS)])
    y_mean = np.array([block.mean() for block in np.array_split(y, BLOCKS)])
    centred = t_mean - t_mean.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        return None
    slope = float(centred @ y_mean) / spread
    residual = y_mean - y_mean.mean() - slope * centred
    error = T_95 * float(np.sqrt(residual @ residual / (BLOCKS - 2) / spread))
    return Trend(float(y_mean[0]), float(y_mean[-1]), slope, (slope - error, slope + error))
