# SPDX-License-Identifier: Apache-2.0
"""One rosbag2 folder with one MCAP file, written so that a crash costs no more than a flush."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections import Counter
from pathlib import Path

import yaml
from mcap.writer import CompressionType, Writer

from resip_ros.bags import layout
from resip_ros.bags.layout import Topic
from resip_ros.core.results import write_bytes_atomically

_CHUNK_BYTES = 1_000_000


class BagWriter:
    """Each flush ends a chunk: what lies before it can be read whatever comes after."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder and the file.

        Raises:
            OSError: when it exists or cannot be written.
        """
        folder.mkdir(parents=True)
        self.folder = folder
        self.file = folder / f"{folder.name}.mcap"
        self._stream = self.file.open("xb")
        # held as long as this process lives: tells a bag in progress from one that was left
        fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._writer = Writer(
            self._stream, chunk_size=_CHUNK_BYTES, compression=CompressionType.LZ4
        )
        self._writer.start(profile="ros2", library="resip_ros")
        self._schemas: dict[str, int] = {}
        self._channels: dict[str, int] = {}
        self._topics: dict[str, Topic] = {}
        self.counts: Counter[str] = Counter()
        self._start_ns, self._end_ns = 2**63 - 1, 0

    def write(self, topic: Topic, log_ns: int, data: bytes) -> None:
        """Adds a message.

        Args:
            topic: Where it came from.
            log_ns: When it was received, ns.
            data: As it was received: CDR.

        Raises:
            OSError: when the disk is full or gone.
        """
        if topic.name not in self._channels:
            self._register(topic)
        self._writer.add_message(self._channels[topic.name], log_ns, data, log_ns)
        self.counts[topic.name] += 1
        self._start_ns = min(self._start_ns, log_ns)
        self._end_ns = max(self._end_ns, log_ns)

    def _register(self, topic: Topic) -> None:
        if topic.msgtype not in self._schemas:
            definition = layout.definition_of(topic.msgtype).encode()
            self._schemas[topic.msgtype] = self._writer.register_schema(
                topic.msgtype, "ros2msg", definition
            )
        self._channels[topic.name] = self._writer.register_channel(
            topic.name, "cdr", self._schemas[topic.msgtype], layout.channel_metadata(topic)
        )
        self._topics[topic.name] = topic

    def flush(self) -> None:
        """Puts everything on the disk; it survives the end of this process and of the power.

        Raises:
            OSError: when the disk is full or gone.
        """
        self._writer.flush()
        os.fdatasync(self._stream.fileno())

    def finish(self) -> None:
        """Writes index and metadata and closes.

        Raises:
            OSError: when the disk is full or gone; the file then stays as after a crash.
            ResipError: when the metadata cannot be written.
        """
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        topics = [(topic, self.counts[name]) for name, topic in self._topics.items()]
        document = layout.metadata_document(self.file.name, topics, self._start_ns, self._end_ns)
        text = yaml.safe_dump(document, sort_keys=False)
        write_bytes_atomically(self.folder / layout.METADATA, text.encode())

    def abandon(self) -> None:
        """Closes the file without an index, after an error; ``repair`` can read it."""
        with contextlib.suppress(OSError):
            self._stream.close()


def is_being_written(file: Path) -> bool:
    """Whether a living process has the file of a ``BagWriter`` open."""
    with file.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
