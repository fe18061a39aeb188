# SPDX-License-Identifier: Apache-2.0
"""Numbered messages of a simple type, and bags of them."""

from pathlib import Path

import pytest

from resip_ros.bags import layout
from resip_ros.bags.layout import Topic
from resip_ros.bags.recorder import Recorder
from resip_ros.bags.sidecar import Episode
from resip_ros.bags.writer import BagWriter

MS = 1_000_000


class Notes:
    """Strings "0", "1", ... every millisecond on a topic."""

    topic = Topic("/fr3/note", "std_msgs/msg/String")
    active = Topic("/fr3/policy/active", "std_msgs/msg/String", latched=True, carried=True)

    def data(self, text: str) -> bytes:
        """One message as it travels."""
        store = layout.type_store()
        return bytes(
            store.serialize_cdr(store.types[self.topic.msgtype](data=text), self.topic.msgtype)
        )

    def feed(self, recorder: Recorder, first: int, last: int) -> None:
        """Hands messages ``first`` to ``last - 1`` to a recorder."""
        for i in range(first, last):
            recorder.take(self.topic, i * MS, self.data(str(i)))

    def write(self, folder: Path, count: int, per_chunk: int = 100) -> BagWriter:
        """A writer that got ``count`` messages and was flushed now and then, not finished."""
        writer = BagWriter(folder)
        for i in range(count):
            writer.write(self.topic, i * MS, self.data(str(i)))
            if i % per_chunk == per_chunk - 1:
                writer.flush()
        writer.flush()
        return writer


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def closed_bag(notes: Notes, tmp_path: Path) -> Path:
    """A bag of 1000 messages without a sidecar."""
    notes.write(tmp_path / "demos" / "first", 1000).finish()
    return tmp_path / "demos" / "first"


@pytest.fixture
def recorder(tmp_path: Path):
    """A recorder with 100 ms of pre-roll; what it reports is in its list ``told``."""
    told: list[str] = []
    made = Recorder(tmp_path / "demos", 0.1, told.append)
    made.told = told
    yield made
    made.close()


@pytest.fixture
def episode() -> Episode:
    return Episode(task="one_leg", operator="mia")
