# SPDX-License-Identifier: Apache-2.0
"""Episodes to bags: pre-roll in memory, a writing thread, and "saved" only after reading back.

``take`` is called for every message and never waits for the disk. All that touches files happens
on one thread, in the order of the calls.
"""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from resip_ros.bags import sidecar
from resip_ros.bags.layout import TRASH, Topic
from resip_ros.bags.reader import Bag, measure
from resip_ros.bags.sidecar import Episode, write_episode
from resip_ros.bags.writer import BagWriter
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.results import write_bytes_atomically

FLUSH_S = 0.4
"""How often everything received is put on the disk; a crash loses what came since."""
MIN_FREE_BYTES = 500_000_000
MAX_WAITING_BYTES = 500_000_000
CARRIED = 8


@dataclass(frozen=True)
class Saved:
    """How an episode ended up."""

    path: Path
    ok: bool
    """Whether the file was read again and has every message that was received."""
    text: str
    """For people, one line."""


@dataclass
class _Start:
    folder: Path
    episode: Episode


class _Flush:
    """Put what was written so far on the disk."""


@dataclass
class _End:
    discard: bool
    expected: Counter[str]
    future: Future[Saved]


_Message = tuple[Topic, int, bytes]
_Job = _Message | _Start | _Flush | _End | None


class Recorder:
    """Keeps the last seconds in memory and writes episodes below one directory."""

    def __init__(self, directory: Path, pre_roll_s: float, report: Callable[[str], None]) -> None:
        """Starts the writing thread.

        Args:
            directory: For one folder an episode; made if it is missing.
            pre_roll_s: Length of what is kept from before a start, s.
            report: Takes errors at once, on the writing thread.

        Raises:
            ConfigError: when the directory cannot be written.
        """
        self.directory = directory
        self._pre_roll_ns = round(pre_roll_s * NS_PER_S)
        self._report = report
        check_directory(directory)
        self._lock = threading.Lock()
        self._ring: deque[_Message] = deque()
        self._carried: dict[str, deque[_Message]] = {}
        self._episode: Episode | None = None
        self._expected: Counter[str] = Counter()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._bytes_in = self._bytes_out = 0
        self._file: BagWriter | None = None
        self._written: Episode | None = None
        self._thread = threading.Thread(target=self._run, name="bag writer")
        self._thread.start()

    # ---- called by the owner ----

    @property
    def episode(self) -> Episode | None:
        """The episode being recorded; its owner may fill in what it learns."""
        return self._episode

    def take(self, topic: Topic, log_ns: int, data: bytes) -> None:
        """Takes a message: to the episode's bag, or to the pre-roll.

        Args:
            topic: Where it came from.
            log_ns: When it was received, ns; must not decrease.
            data: CDR.
        """
        with self._lock:
            if self._episode is not None:
                self._put((topic, log_ns, data))
                return
            self._ring.append((topic, log_ns, data))
            while self._ring[0][1] < log_ns - self._pre_roll_ns:
                old = self._ring.popleft()
                if old[0].carried:
                    kept = self._carried.setdefault(old[0].name, deque(maxlen=CARRIED))
                    kept.append(old)

    def _put(self, message: _Message) -> None:
        self._expected[message[0].name] += 1
        self._bytes_in += len(message[2])
        if self._bytes_in - self._bytes_out < MAX_WAITING_BYTES:
            self._jobs.put(message)

    def start(self, episode: Episode) -> Path:
        """Begins an episode with what was carried and the pre-roll.

        Args:
            episode: What is known so far.

        Returns:
            The bag's folder, which the writing thread makes.

        Raises:
            ConfigError: when one is being recorded, or the disk is nearly full.
        """
        if self._episode is not None:
            raise ConfigError("an episode is being recorded; save or discard it first")
        check_directory(self.directory)
        now = datetime.now().astimezone()
        episode.recorded_at = now.isoformat(timespec="milliseconds")
        folder = _free_name(self.directory / f"{episode.task}_{now:%Y%m%d_%H%M%S}")
        with self._lock:
            self._expected = Counter()
            self._jobs.put(_Start(folder, episode))
            start_ns = self._ring[0][1] if self._ring else None
            for messages in self._carried.values():
                for topic, log_ns, data in messages:
                    self._put((topic, log_ns if start_ns is None else start_ns, data))
            for message in self._ring:
                self._put(message)
            self._jobs.put(_Flush())
            self._episode = episode
        return folder

    def save(self) -> Future[Saved]:
        """Ends the episode; the future tells whether it was read back.

        Raises:
            ConfigError: when none is being recorded.
        """
        return self._end(discard=False)

    def discard(self) -> Future[Saved]:
        """Ends the episode and moves it to the trash folder.

        Raises:
            ConfigError: when none is being recorded.
        """
        return self._end(discard=True)

    def _end(self, discard: bool) -> Future[Saved]:
        future: Future[Saved] = Future()
        with self._lock:
            if self._episode is None:
                raise ConfigError("no episode is being recorded; start one first")
            self._jobs.put(_End(discard, self._expected, future))
            self._episode = None
            # what was recorded in an episode is no pre-roll of the next; what is carried stays
            self._ring.clear()
        return future

    def close(self) -> None:
        """Saves an episode in progress and ends the thread."""
        if self._episode is not None:
            self._episode.problems.append("the recorder ended before the episode")
            self.save()
        self._jobs.put(None)
        self._thread.join()

    # ---- writing thread ----

    def _run(self) -> None:
        flush_at_s = time.monotonic() + FLUSH_S
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, flush_at_s - time.monotonic()))
                if job is None:
                    return
                self._handle(job)
            except queue.Empty:
                pass
            if time.monotonic() >= flush_at_s:
                self._try(lambda file: file.flush())
                flush_at_s = time.monotonic() + FLUSH_S

    def _handle(self, job: _Message | _Start | _Flush | _End) -> None:
        if isinstance(job, _Start):
            self._begin(job)
        elif isinstance(job, _Flush):
            self._try(lambda file: file.flush())
        elif isinstance(job, _End):
            self._finish(job)
        else:
            topic, log_ns, data = job
            self._bytes_out += len(data)
            self._try(lambda file: file.write(topic, log_ns, data))

    def _begin(self, job: _Start) -> None:
        self._folder, self._written = job.folder, job.episode
        try:
            self._file = BagWriter(job.folder)
            write_episode(job.folder, job.episode)
        except (OSError, ResipError) as error:
            self._fail(error)

    def _try(self, write: Callable[[BagWriter], None]) -> None:
        """Writes; an error ends the file, not the recorder."""
        if self._file is None:
            return
        try:
            write(self._file)
        except (OSError, ResipError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Marks the episode bad and says so at once."""
        text = f"{self._folder.name}: writing failed: {error}; free some space"
        if self._file is not None:
            self._file.abandon()
            self._file = None
        if self._written is not None:
            self._written.state = sidecar.BAD
            self._written.problems.append(text)
            self._try_sidecar(self._folder, self._written)
        self._report(f"{text}; the episode is bad, resip repair rescues what was written")

    def _try_sidecar(self, folder: Path, episode: Episode) -> None:
        try:
            write_episode(folder, episode)
        except ResipError as error:
            # the sidecar still says "recording", which nobody takes for "saved"
            self._report(str(error))

    def _finish(self, job: _End) -> None:
        episode, folder = self._written, self._folder
        assert episode is not None
        self._try(lambda file: file.finish())
        self._file = self._written = None
        try:
            if episode.state != sidecar.BAD:
                self._verify(folder, episode, job.expected)
            if job.discard and episode.state != sidecar.BAD:
                episode.state = sidecar.DISCARDED
            write_episode(folder, episode)
            if job.discard:
                folder = move_to_trash(folder)
        except (OSError, ResipError) as error:
            episode.state = sidecar.BAD
            episode.problems.append(str(error))
            self._try_sidecar(folder, episode)
            self._report(f"{folder.name} is bad: {error}")
        ok = episode.state != sidecar.BAD
        what = "moved to the trash folder" if job.discard else "saved and read back"
        count = sum(t.count for t in episode.topics.values())
        text = f"{what}: {count} messages, {episode.duration_s:.1f} s"
        if not ok:
            text = f"BAD: {'; '.join(episode.problems)}"
        job.future.set_result(Saved(folder, ok, f"{folder.name} {text}"))

    def _verify(self, folder: Path, episode: Episode, expected: Counter[str]) -> None:
        """Reads the bag again and compares it with what was received.

        Raises:
            ResipError: when it cannot be read or lacks messages.
        """
        with Bag(folder) as bag:
            episode.topics, episode.duration_s = measure(bag)
        found = Counter({name: topic.count for name, topic in episode.topics.items()})
        if found != expected:
            lost = {n: (found[n], c) for n, c in sorted(expected.items()) if found[n] != c}
            raise ResipError(f"the file has other counts than were received: {lost}")
        episode.state = sidecar.SAVED


def check_directory(directory: Path) -> None:
    """Finds out before an episode that it could not be written.

    Raises:
        ConfigError: for a place that cannot be written or a disk that is nearly full.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / ".writable"
        write_bytes_atomically(probe, b"")
        probe.unlink()
        free = shutil.disk_usage(directory).free
    except (OSError, ResipError) as error:
        raise ConfigError(f"cannot record to {directory}: {error}") from error
    if free < MIN_FREE_BYTES:
        raise ConfigError(
            f"{directory} has {free // 1_000_000} MB free; expected at least "
            f"{MIN_FREE_BYTES // 1_000_000} MB for an episode; free some space"
        )


def move_to_trash(folder: Path) -> Path:
    """Moves a bag to the trash folder beside it; nothing is ever deleted.

    Returns:
        Where it is now.

    Raises:
        ResipError: when it cannot be moved.
    """
    return move_aside(folder, folder.parent / TRASH)


def move_aside(folder: Path, into: Path) -> Path:
    """Moves a bag into another folder, under a name that is free there.

    Raises:
        ResipError: when it cannot be moved.
    """
    try:
        into.mkdir(exist_ok=True)
        target = _free_name(into / folder.name)
        return folder.rename(target)
    except OSError as error:
        raise ResipError(f"cannot move {folder} to {into}: {error.strerror or error}") from error


def _free_name(path: Path) -> Path:
    """The path, or the first of ``path_2``, ``path_3``... that does not exist."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_name(f"{path.name}_{number}")
    return found
