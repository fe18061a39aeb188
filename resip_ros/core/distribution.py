# SPDX-License-Identifier: Apache-2.0
"""Percentiles of any number of values in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

BIN = 0.01
"""Width of a bin: 10 microseconds, where values are milliseconds."""


class Distribution:
    """Counts of values in bins; a run of days takes no more memory than one of minutes."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        """Begins with some values."""
        self._counts: Counter[int] = Counter()
        self.add(values)

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, values: Iterable[float]) -> None:
        """Takes finite values; others tell nothing and are left out."""
        finite = [value for value in values if np.isfinite(value)]
        self._counts.update(round(value / BIN) for value in finite)

    def percentile(self, percent: float) -> float | None:
        """The value that so many percent do not exceed, to half a bin; None without values."""
        if not self._counts:
            return None
        left = percent / 100 * len(self)
        for place, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return round(place * BIN, 6)
        raise AssertionError("the counts add up to less than their sum")

    def summary(self) -> dict[str, float | None]:
        """Median, 99th percentile and greatest value, as result.json states them."""
        return {
            "p50": self.percentile(50),
            "p99": self.percentile(99),
            "max": self.percentile(100),
        }
