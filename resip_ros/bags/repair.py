# SPDX-License-Identifier: Apache-2.0
"""Rescues a bag that was not closed or is damaged: a new bag in its place, the original kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from resip_ros.bags import sidecar
from resip_ros.bags.layout import METADATA, ORIGINALS, Topic
from resip_ros.bags.reader import Bag, Record, measure, storage_files
from resip_ros.bags.recorder import move_aside
from resip_ros.bags.sidecar import TopicStatistics, load_episode, write_episode
from resip_ros.bags.writer import BagWriter, is_being_written
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import DataError, ResipError

LOST_AT_MOST_S = 1.0
"""What a killed recorder may not have flushed: ``recorder.FLUSH_S`` and the flush itself."""


@dataclass
class Findings:
    """What a repair found."""

    messages: int = 0
    duration_s: float = 0.0
    topics: dict[str, TopicStatistics] = field(default_factory=dict[str, TopicStatistics])
    holes_s: list[float] = field(default_factory=list[float])
    """Length of each damaged stretch between readable ones, s."""
    end_lost_s: float | None = 0.0
    """Lost at the end, s; None where nothing tells: a recorder's last second at most."""
    original: Path | None = None
    """Where the original is kept; None when the bag needed no repair."""

    @property
    def lost(self) -> str:
        """What was lost, for people."""
        end = (
            f"up to {LOST_AT_MOST_S:.0f} s at the end (it was not closed)"
            if self.end_lost_s is None
            else f"{self.end_lost_s:.2f} s at the end"
        )
        if not self.holes_s:
            return end
        return f"{end}, {sum(self.holes_s):.2f} s in {len(self.holes_s)} damaged places"

    @property
    def text(self) -> str:
        """One line for people."""
        kept = f"{self.messages} messages, {self.duration_s:.1f} s"
        if self.original is None:
            return f"whole, nothing to repair: {kept}"
        return f"rescued {kept}; lost {self.lost}; original kept in {self.original}"


def repair(path: Path) -> Findings:
    """Rescues one bag; one that is whole is left as it is.

    Args:
        path: The bag's folder.

    Raises:
        DataError: when nothing can be rescued, with the reason; nothing is changed then.
        ResipError: when the rescued bag cannot be written.
    """
    if not path.is_dir():
        raise DataError(f"{path} is no folder; give a bag's folder")
    path = path.resolve()
    files = storage_files(path)
    if not files:
        raise DataError(f"{path} has no *.mcap or *.db3 file: nothing to rescue")
    if any(is_being_written(file) for file in files):
        raise DataError(f"{path} is being recorded; end the recorder first")
    episode = load_episode(path)
    whole = _read_whole(path)
    if whole is not None and (episode is None or episode.state != sidecar.RECORDING):
        return whole
    # hidden until it is complete; the last folder has the final name, which its file takes
    work = path.parent / f".{path.name}.repair" / path.name
    shutil.rmtree(work.parent, ignore_errors=True)
    try:
        findings = _rewrite(files, work)
        findings.end_lost_s = _lost_at_end(path, work)
        if episode is not None:
            episode.state = sidecar.REPAIRED
            episode.topics, episode.duration_s = findings.topics, findings.duration_s
            episode.problems.append(f"repaired; lost {findings.lost}")
            write_episode(work, episode)
        findings.original = move_aside(path, path.parent / ORIGINALS)
        work.rename(path)
    except OSError as error:
        raise ResipError(
            f"cannot write the rescued bag beside {path}: {error.strerror or error}; "
            "free some space"
        ) from error
    finally:
        if path.exists():
            shutil.rmtree(work.parent, ignore_errors=True)
    return findings


def _read_whole(path: Path) -> Findings | None:
    """Findings of a bag that was closed and can be read to its end, else None."""
    try:
        with Bag(path) as bag:
            stated = sum(bag.counts.values())
            topics, duration_s = measure(bag)
    except DataError:
        return None
    count = sum(topic.count for topic in topics.values())
    return Findings(count, duration_s, topics) if count == stated else None


def _rewrite(files: Sequence[Path], work: Path) -> Findings:
    """Writes everything readable to a new bag, and reads that one back.

    Raises:
        DataError: when there is nothing, or a type that cannot be written.
    """
    findings = Findings()
    writer = BagWriter(work)
    try:
        for file in files:
            scan = _scan_mcap(file, findings) if file.suffix == ".mcap" else _scan_sqlite(file)
            for topic, record in scan:
                writer.write(topic, record.log_ns, record.data)
        if not writer.counts:
            sizes = ", ".join(f"{f.name} of {f.stat().st_size} bytes" for f in files)
            raise DataError(
                f"nothing to rescue in {files[0].parent}: no complete message in {sizes}"
            )
        writer.finish()
    except (ResipError, OSError):
        writer.abandon()
        raise
    with Bag(work) as bag:
        findings.topics, findings.duration_s = measure(bag)
    findings.messages = sum(topic.count for topic in findings.topics.values())
    if findings.messages != sum(writer.counts.values()):
        raise DataError(f"{work} lacks messages that were just written; check the disk")
    return findings


def _scan_mcap(file: Path, findings: Findings) -> Iterator[tuple[Topic, Record]]:
    """Messages of every complete record; a damaged chunk is a hole.

    What follows a damaged record header cannot be found, as nothing says where it begins.
    """
    schemas: dict[int, Schema] = {}
    topics: dict[int, Topic] = {}
    last_ns, in_hole = 0, False
    for record in _complete_records(file):
        if record is None:
            in_hole = True
        elif isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel) and record.schema_id in schemas:
            latched = "transient_local" in record.metadata.get("offered_qos_profiles", "")
            topics[record.id] = Topic(record.topic, schemas[record.schema_id].name, latched)
        elif isinstance(record, Message) and record.channel_id in topics:
            if in_hole and last_ns:
                findings.holes_s.append((record.log_time - last_ns) / NS_PER_S)
            last_ns, in_hole = record.log_time, False
            topic = topics[record.channel_id]
            yield topic, Record(topic.name, topic.msgtype, record.log_time, record.data)


def _complete_records(file: Path) -> Iterator[Any]:
    """Records of the file and of its chunks, up to the first incomplete one; None for a hole."""
    with file.open("rb") as stream:
        reader = StreamReader(stream, emit_chunks=True, record_size_limit=file.stat().st_size)
        records = iter(reader.records)
        while True:
            try:
                record = next(records)
            except Exception:  # noqa: BLE001 (cut off or damaged: whatever its bytes lead to)
                return
            if isinstance(record, Chunk):
                yield from _chunk_records(record)
            else:
                yield record


def _chunk_records(chunk: Chunk) -> list[Any]:
    """Records of a chunk; [None] for a damaged one."""
    try:
        return list(breakup_chunk(chunk, validate_crc=True))
    except Exception:  # noqa: BLE001 (damaged: whatever its bytes lead to)
        return [None]


def _scan_sqlite(file: Path) -> Iterator[tuple[Topic, Record]]:
    with Bag(file) as bag:
        for record in bag.records():
            yield Topic(record.topic, record.msgtype), record


def _lost_at_end(path: Path, work: Path) -> float | None:
    """Stated end of the original bag less the rescued one's, s; None where nothing states it."""
    try:
        ends = [_stated_end_ns(folder / METADATA) for folder in (path, work)]
    except (OSError, KeyError, TypeError, yaml.YAMLError):
        return None
    return max(0.0, (ends[0] - ends[1]) / NS_PER_S)


def _stated_end_ns(metadata: Path) -> int:
    document = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
    start = document["starting_time"]["nanoseconds_since_epoch"]
    return int(start) + int(document["duration"]["nanoseconds"])
