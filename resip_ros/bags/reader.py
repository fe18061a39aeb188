# SPDX-License-Identifier: Apache-2.0
"""Bags of this package and of `ros2 bag record` (MCAP, sqlite3), read in order of receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import Reader

from resip_ros.bags.layout import METADATA, type_store
from resip_ros.bags.sidecar import TopicStatistics
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import DataError

STORAGE = (".mcap", ".db3")


@dataclass(frozen=True)
class Record:
    """One message of a bag."""

    topic: str
    msgtype: str
    log_ns: int
    """When it was received, ns."""
    data: bytes

    def decode(self) -> Any:
        """The message as an object with the fields of its ROS type.

        Raises:
            DataError: for an unknown type or bytes that are not of it.
        """
        try:
            return type_store().deserialize_cdr(self.data, self.msgtype)
        except Exception as error:
            raise DataError(
                f"{self.topic} at {format_time(self.log_ns)}: not a {self.msgtype}: {error}"
            ) from error


class Bag:
    """A bag that is open for reading; its errors name it and say what to do."""

    def __init__(self, path: Path) -> None:
        """Args: path: Folder of a bag, or one MCAP or sqlite3 file."""
        self.path = path
        self._reader: Reader | None = None

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.path.name

    def __enter__(self) -> Bag:
        """Opens it.

        Raises:
            DataError: when it is missing, empty, cut off, or no bag.
        """
        hint = f"a bag that was not closed is rescued by: resip repair {self.path}"
        try:
            if self.path.is_dir() and not (self.path / METADATA).is_file():
                raise DataError(f"no {METADATA}; {hint}")
            reader = Reader(self.path)
            reader.open()
        except Exception as error:
            # damaged files make the library raise whatever their content leads to
            text = str(error) or type(error).__name__
            text = text if hint in text else f"{text.rstrip('.')}; {hint}"
            raise DataError(f"cannot read bag {self.path}: {text}") from error
        self._reader = reader
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes it."""
        if self._reader is not None:
            self._reader.close()

    @property
    def counts(self) -> Counter[str]:
        """Messages a topic, as the bag says by itself."""
        assert self._reader is not None
        found: Counter[str] = Counter()
        for connection in self._reader.connections:
            found[connection.topic] += connection.msgcount
        return found

    @property
    def span_ns(self) -> tuple[int, int]:
        """Receipt of the first message, and just after the last one; equal for an empty bag."""
        assert self._reader is not None
        first, end = self._reader.start_time, self._reader.end_time
        # of no message at all the library says the end of time
        return (first, end) if sum(self.counts.values()) else (0, 0)

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """Messages in order of receipt.

        Args:
            topics: Only these; None for all.

        Raises:
            DataError: where the file is damaged.
        """
        assert self._reader is not None
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            # the library takes none for all
            return
        last_ns = None
        try:
            for connection, log_ns, data in self._reader.messages(wanted):
                last_ns = log_ns
                yield Record(connection.topic, connection.msgtype, log_ns, bytes(data))
        except DataError:
            raise
        except Exception as error:
            where = f"after {format_time(last_ns)}" if last_ns is not None else "at its beginning"
            raise DataError(
                f"bag {self.path} is damaged {where}: {error}; rescue the rest by: "
                f"resip repair {self.path}"
            ) from error


def format_time(log_ns: int) -> str:
    """Time of receipt for messages, s."""
    return f"{log_ns / NS_PER_S:.3f} s"


def measure(bag: Bag) -> tuple[dict[str, TopicStatistics], float]:
    """Reads every message of a bag.

    Returns:
        Topic to statistics, and the time from first to last message, s.

    Raises:
        DataError: when it is damaged.
    """
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    gap: Counter[str] = Counter()
    count: Counter[str] = Counter()
    types: dict[str, str] = {}
    for record in bag.records():
        name, now = record.topic, record.log_ns
        types[name] = record.msgtype
        first.setdefault(name, now)
        gap[name] = max(gap[name], now - last.get(name, now))
        last[name] = now
        count[name] += 1
    found: dict[str, TopicStatistics] = {}
    for name in sorted(count):
        span_s = (last[name] - first[name]) / NS_PER_S
        rate = round((count[name] - 1) / span_s, 2) if span_s > 0 else None
        longest = round(gap[name] / NS_PER_S, 4) if count[name] > 1 else None
        found[name] = TopicStatistics(types[name], count[name], rate, longest)
    length_ns = max(last.values()) - min(first.values()) if count else 0
    return found, round(length_ns / NS_PER_S, 3)


def is_bag(path: Path) -> bool:
    """Whether a folder holds a recording, closed or not."""
    if not path.is_dir():
        return False
    return (path / METADATA).is_file() or any(storage_files(path))


def storage_files(path: Path) -> list[Path]:
    """MCAP and sqlite3 files of a bag, in order; ``path`` may be such a file itself."""
    if path.is_file():
        return [path] if path.suffix in STORAGE else []
    return sorted(file for file in path.iterdir() if file.suffix in STORAGE)


def find_bags(folder: Path) -> list[Path]:
    """Bags in a folder, or the folder itself when it is one; hidden ones do not count.

    Raises:
        DataError: when the folder does not exist or has none.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; give the one that `resip record` wrote to")
    found = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and is_bag(p))
    found = [folder] if is_bag(folder) else found
    if not found:
        raise DataError(f"{folder} has no bags: expected folders with {METADATA} or *.mcap")
    return found
