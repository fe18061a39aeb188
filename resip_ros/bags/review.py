# SPDX-License-Identifier: Apache-2.0
"""Recorded episodes as a table; labels and the trash folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from resip_ros.bags import sidecar
from resip_ros.bags.layout import NAMESPACE, NET_ACTION, REVIEW, TRASH
from resip_ros.bags.reader import Bag, find_bags, is_bag, measure, storage_files
from resip_ros.bags.recorder import move_aside, move_to_trash
from resip_ros.bags.sidecar import Episode, load_episode, write_episode
from resip_ros.bags.writer import is_being_written
from resip_ros.core.errors import DataError, ResipError

FOREIGN = "foreign"
UNREADABLE = "not closed"
IN_PROGRESS = "recording"
GAP_S = 0.15
"""Longer silence of a stream that policies need is shown: more than one policy step."""


@dataclass(frozen=True)
class Row:
    """One bag of the table."""

    path: Path
    state: str
    size_bytes: int
    episode: Episode
    note: str = ""


def describe(path: Path) -> Row:
    """What is known about a bag; one without a sidecar is read for it."""
    size = sum(file.stat().st_size for file in storage_files(path))
    try:
        episode = load_episode(path)
        if episode is None:
            episode = Episode(task="?", state=sidecar.SAVED)
            with Bag(path) as bag:
                episode.topics, episode.duration_s = measure(bag)
            return Row(path, FOREIGN, size, episode)
    except DataError as error:
        return Row(path, UNREADABLE, size, Episode(task="?"), str(error))
    if is_in_progress(path, episode):
        return Row(path, IN_PROGRESS, size, episode)
    if episode.state == sidecar.RECORDING:
        return Row(path, UNREADABLE, size, episode, f"resip repair {path}")
    return Row(path, episode.state, size, episode, "; ".join(episode.problems))


def is_in_progress(path: Path, episode: Episode) -> bool:
    """Whether a recorder is writing the bag now."""
    writes = episode.state == sidecar.RECORDING
    return writes and any(is_being_written(file) for file in storage_files(path))


def build_table(rows: list[Row]) -> Table:
    """Episodes with length, success, rates, gaps and size."""
    table = Table(title=None)
    for name in ("episode", "task", "state", "success"):
        table.add_column(name, overflow="fold")
    for name in ("length s", "joints Hz", "parts Hz", "action Hz", "images Hz", "gap s", "MB"):
        table.add_column(name, justify="right")
    table.add_column("note", overflow="fold")
    for row in rows:
        episode = row.episode
        success = {True: "yes", False: "no", None: "?"}[episode.success]
        table.add_row(
            row.path.name,
            episode.task,
            row.state,
            success,
            f"{episode.duration_s:.1f}",
            rate(episode, "/joint_states"),
            rate(episode, f"{NAMESPACE}/parts/"),
            rate(episode, NET_ACTION),
            rate(episode, "/image_raw"),
            longest_gap(episode),
            f"{row.size_bytes / 1e6:.1f}",
            row.note or episode.outcome,
        )
    return table


def is_needed(topic: str) -> bool:
    """Whether policies need the stream: joint states of any arm, and part poses."""
    is_joints = topic.startswith(f"{NAMESPACE}/") and topic.endswith("/joint_states")
    return is_joints or topic.startswith(f"{NAMESPACE}/parts/")


def rate(episode: Episode, part_of_name: str) -> str:
    """Lowest rate of the topics whose name has this in it, Hz."""
    rates = [t.rate_hz or 0.0 for name, t in episode.topics.items() if part_of_name in name]
    return f"{min(rates):.0f}" if rates else "-"


def longest_gap(episode: Episode) -> str:
    """Longest silence of joint states or part poses, s, when it is worth a look."""
    gaps = [t.max_gap_s or 0.0 for name, t in episode.topics.items() if is_needed(name)]
    return f"{max(gaps):.2f}{' !' if max(gaps) > GAP_S else ''}" if gaps else "-"


def picture_path(bag: Path) -> Path:
    """Where a bag's picture goes: beside the bags, in a folder of pictures."""
    bag = bag if bag.name not in ("", "..") else bag.resolve()
    return bag.parent / REVIEW / f"{bag.name}.png"


def move_picture(bag: Path, moved: Path) -> Path:
    """Has the picture of a bag, if there is one, follow the bag that was moved.

    Returns:
        Where the bag is now.

    Raises:
        ResipError: when the picture cannot be moved.
    """
    picture, target = picture_path(bag), picture_path(moved)
    if picture.is_file():
        try:
            target.parent.mkdir(exist_ok=True)
            # one that is there already is of a bag that is gone from there
            picture.replace(target)
        except OSError as error:
            raise ResipError(
                f"{moved} was moved, its picture {picture} cannot follow: "
                f"{error.strerror or error}; delete it or draw it again"
            ) from error
    return moved


def drop(directory: Path, names: list[str]) -> list[Path]:
    """Moves bags, and their pictures, to the trash folder; returns where they are.

    Raises:
        DataError: for an unknown name, before anything is moved.
        ResipError: when one cannot be moved.
    """
    return [move_picture(path, move_to_trash(path)) for path in choose(directory, names)]


def keep(directory: Path, names: list[str]) -> list[Path]:
    """Brings bags, and their pictures, back from the trash folder.

    Raises:
        DataError: for an unknown name, before anything is moved.
        ResipError: when one cannot be moved.
    """
    found = choose(directory / TRASH, names)
    back = [move_picture(path, move_aside(path, directory)) for path in found]
    for path in back:
        episode = load_episode(path)
        if episode is not None and episode.state == sidecar.DISCARDED:
            episode.state = sidecar.SAVED
            write_episode(path, episode)
    return back


def label(directory: Path, names: list[str], success: bool) -> None:
    """Writes a person's judgement to the sidecars.

    Raises:
        DataError: for an unknown name or a bag that was not made by the recorder.
        ResipError: when a sidecar cannot be written.
    """
    for path in choose(directory, names):
        episode = load_episode(path)
        if episode is None:
            raise DataError(
                f"{path} has no sidecar to write to; foreign bags are judged by their part poses"
            )
        episode.success = success
        episode.outcome = f"labelled by a person; before: {episode.outcome or 'nothing'}"
        write_episode(path, episode)


def choose(directory: Path, names: list[str]) -> list[Path]:
    """Paths of the named bags.

    Raises:
        DataError: for a name that is not there.
    """
    paths = [directory / Path(name).name for name in names]
    for path in paths:
        if not is_bag(path):
            known = [p.name for p in find_bags(directory)] if directory.is_dir() else []
            raise DataError(f"{directory} has no bag {path.name}; it has {known}")
    return paths


class BagCount:
    """Whether a run recorded as many episodes as it ran."""

    def __init__(self, directory: Path) -> None:
        """Args: directory: Where the run records to."""
        self._directory = directory
        self._before = self._bags()

    def _bags(self) -> set[Path]:
        if not self._directory.is_dir():
            return set()
        return {p for p in self._directory.iterdir() if not p.name.startswith(".") and is_bag(p)}

    def describe(self, episodes: int) -> list[str]:
        """Notes about the bags of ``episodes`` episodes, after the recorder has ended."""
        rows = [describe(path) for path in sorted(self._bags() - self._before)]
        saved = sum(row.state == sidecar.SAVED for row in rows)
        if saved == episodes == len(rows):
            return [f"recorded {saved} bags in {self._directory}"]
        wrong = [f"{r.path.name} is {r.state} {r.note}" for r in rows if r.state != sidecar.SAVED]
        text = f"only {saved} of {episodes} episodes are saved bags in {self._directory}"
        return [f"{text}; {'; '.join(wrong)}" if wrong else text]
