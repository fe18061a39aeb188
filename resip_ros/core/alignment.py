# SPDX-License-Identifier: Apache-2.0
"""Values of several stamped streams at one instant, or an error that says which one is stale."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from typing import Any

from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import StaleStreamError

HISTORY = 64
RHYTHM, RHYTHM_MIN = 16, 4
"""Last intervals that the next value is expected from, and the fewest that tell it."""


class StreamBuffer:
    """Recent values of one stream, oldest first."""

    def __init__(self, name: str, max_age_s: float) -> None:
        """Args: name for messages; max_age_s beyond which a value must not be acted on."""
        self.name = name
        self.max_age_ns = round(max_age_s * NS_PER_S)
        self._stamps: deque[int] = deque(maxlen=HISTORY)
        self._values: deque[Any] = deque(maxlen=HISTORY)

    @property
    def latest_ns(self) -> int | None:
        """Stamp of the newest value, ns; None before the first."""
        return self._stamps[-1] if self._stamps else None

    def clear(self) -> None:
        """Forgets everything."""
        self._stamps.clear()
        self._values.clear()

    def push(self, stamp_ns: int, value: Any) -> None:
        """Adds a value; one that steps back in time restarts the stream."""
        if self._stamps and stamp_ns < self._stamps[-1]:
            self.clear()
        self._stamps.append(stamp_ns)
        self._values.append(value)

    def sample(self, time_ns: int) -> Any:
        """Value nearest to ``time_ns``; of two equally near, the newer one.

        Raises:
            StaleStreamError: when there is none within the limit.
        """
        self._require_any()
        after = bisect_right(self._stamps, time_ns)
        near = [i for i in (after, after - 1) if 0 <= i < len(self._stamps)]
        index = min(near, key=lambda i: abs(time_ns - self._stamps[i]))
        age_ns = abs(time_ns - self._stamps[index])
        if age_ns > self.max_age_ns:
            raise self._stale(f"nearest value is {age_ns / NS_PER_S:.3f} s away")
        return self._values[index]

    def newest_at(self, time_ns: int) -> tuple[int, Any]:
        """Newest value of ``time_ns`` or before, and its stamp, ns.

        The rule for what is not of the instant itself but was seen there, such as pictures: live
        and from a recording it gives the same, where ``sample`` may find a later one afterwards.

        Raises:
            StaleStreamError: when there is none within the limit.
        """
        self._require_any()
        index = bisect_right(self._stamps, time_ns) - 1
        if index < 0:
            later_s = (self._stamps[0] - time_ns) / NS_PER_S
            raise self._stale(f"first value is {later_s:.3f} s after the instant, none before it")
        age_ns = time_ns - self._stamps[index]
        if age_ns > self.max_age_ns:
            raise self._stale(f"newest value is {age_ns / NS_PER_S:.3f} s old")
        return self._stamps[index], self._values[index]

    def is_settled(self, time_ns: int) -> bool:
        """Whether what ``newest_at`` gives will not change, as far as can be known.

        A stream comes in the order of its stamps, so one at the instant or later is a proof. Else
        its rhythm tells: the next value is not due before its shortest recent interval is over.
        """
        newest_ns = self.latest_ns
        if newest_ns is None:
            return False
        return newest_ns >= time_ns or newest_ns + self._shortest_ns() > time_ns

    def _shortest_ns(self) -> int:
        """Shortest of the last intervals, ns; 0 while they are too few to tell."""
        last = list(self._stamps)[-RHYTHM - 1 :]
        intervals = [b - a for a, b in itertools.pairwise(last) if b > a]
        return min(intervals) if len(intervals) >= RHYTHM_MIN else 0

    def _require_any(self) -> None:
        if not self._stamps:
            raise StaleStreamError(
                f"{self.name}: nothing received yet; expected a message every "
                f"{self.max_age_ns / NS_PER_S:.2f} s; check that its publisher runs"
            )

    def _stale(self, found: str) -> StaleStreamError:
        return StaleStreamError(
            f"{self.name}: {found}; expected at most {self.max_age_ns / NS_PER_S:.2f} s; "
            "check that its publisher runs"
        )


class AlignedStreams:
    """Several streams sampled at one instant."""

    def __init__(self, max_age_s: Mapping[str, float]) -> None:
        """Args: max_age_s: stream name to the greatest age that may be acted on, s."""
        self._buffers = {name: StreamBuffer(name, age) for name, age in max_age_s.items()}

    def push(self, name: str, stamp_ns: int, value: Any) -> None:
        """Adds a value to a stream."""
        self._buffers[name].push(stamp_ns, value)

    def clear(self) -> None:
        """Forgets everything, as when the clock was reset."""
        for buffer in self._buffers.values():
            buffer.clear()

    def common_ns(self) -> int | None:
        """Newest instant that every stream has reached, ns; None while one has no value."""
        latest = [buffer.latest_ns for buffer in self._buffers.values()]
        known = [stamp for stamp in latest if stamp is not None]
        return min(known) if len(known) == len(latest) else None

    def sample(self, time_ns: int) -> dict[str, Any]:
        """Value of every stream at ``time_ns``.

        Raises:
            StaleStreamError: naming the first stream without a fresh value.
        """
        return {name: buffer.sample(time_ns) for name, buffer in self._buffers.items()}
