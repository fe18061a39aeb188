# SPDX-License-Identifier: Apache-2.0
"""A bag's policy steps: observation and action of each, as the policy nodes saw and sent them.

Letters: n steps, Do observation, Da action dimensions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resip_ros.bags import layout
from resip_ros.bags.reader import Bag, Record, format_time
from resip_ros.core import events, messages
from resip_ros.core.chunking import NS_PER_S, period_ns, tick_of
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, DataError, ResipError, StaleStreamError
from resip_ros.core.geometry import Array
from resip_ros.core.live_observation import RecordedStreams
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import TaskSpec, pair_assembled
from training.episode_spans import Spans
from training.interventions import read_interventions

CLOCK_JUMP_S = 1.0


@dataclass(frozen=True)
class Steps:
    """One episode, step by step."""

    stamps_ns: list[int]
    """(n,) instants of the observations, ROS clock."""
    observations: Array
    """(n, Do) raw SI, float64 as the policies get it."""
    actions: Array
    """(n, Da) raw SI."""
    held: int
    """Steps without an action of their own: the one before was still being followed."""
    interventions: NDArray[np.bool_]
    """(n,) whether a person led, by teleoperation or by taking over from a policy."""


@dataclass(frozen=True)
class Commands:
    """What was commanded between start and stop of an episode, one action a policy step."""

    stamps_ns: list[int]
    actions: list[Array]
    held: int
    end_ns: int | None
    """When it was stopped, ROS clock; None where no event says so."""


def read_steps(path: Path, task: TaskSpec) -> tuple[Steps, bool]:
    """Reads one bag.

    Returns:
        Its steps, and whether the part poses say that the task was done.

    Raises:
        DataError: with bag, topic and time of what is wrong.
    """
    if len(task.arms) != 1:
        raise ConfigError(f"task {task.name} has {len(task.arms)} arms; bags of one are converted")
    streams = RecordedStreams(task, layout.JOINT_STATES, layout.part_pose)
    try:
        with Bag(path) as bag:
            counts = bag.counts
            missing = [t for t in (*streams.topics, layout.NET_ACTION) if not counts[t]]
            if missing:
                raise DataError(f"no message on {', '.join(missing)}; it has {sorted(counts)}")
            commands = read_commands(bag, task)
            return sample_steps(bag, task, streams, commands)
    except ResipError as error:
        raise DataError(f"bag {path.name}: {error}") from error


def read_commands(bag: Bag, task: TaskSpec) -> Commands:
    """Reads the actions of the episode.

    Raises:
        DataError: with topic and time, when they do not make one episode at the task's rate.
    """
    spans = Spans()
    found: list[tuple[Record, int, Array]] = []
    for record in bag.records((layout.NET_ACTION, layout.EPISODE_EVENT)):
        with naming(record):
            message = record.decode()
            if record.topic == layout.NET_ACTION:
                found.append((record, *messages.decode_action_message(message, task.rate_hz)))
                continue
            spans.take(events.parse_event(message.data))
    parts = [
        fill_gaps(inside, task)
        for first, last in spans.spans
        if (inside := [command for command in found if first <= command[1] <= last])
    ]
    if not parts:
        raise DataError(f"{layout.NET_ACTION}: no action between start and stop of an episode")
    return Commands(
        [stamp_ns for part in parts for stamp_ns in part.stamps_ns],
        [action for part in parts for action in part.actions],
        sum(part.held for part in parts),
        spans.end_ns,
    )


def fill_gaps(found: list[tuple[Record, int, Array]], task: TaskSpec) -> Commands:
    """Makes one action a step of what was commanded.

    In a step without one the arm still follows the one before, for as long as the bridge lets it.
    An action that is late by a step falls into the next, whose own one then takes its place.

    Raises:
        DataError: when a gap is longer, or a step has two actions and the one before it had one.
    """
    rate = task.rate_hz
    hold_steps = load_control_config().at_rate(rate).command_timeout_steps
    stamps_ns, actions, is_held = [found[0][1]], [found[0][2]], [False]
    for record, stamp_ns, action in found[1:]:
        missing = tick_of(stamp_ns, rate) - tick_of(stamps_ns[-1], rate) - 1
        moved_s = (stamp_ns - stamps_ns[-1]) / NS_PER_S
        if -1 / rate < moved_s <= 0:
            # the bridge refuses an action that is not newer than the last
            continue
        with naming(record):
            if moved_s < 0:
                raise DataError(f"the clock jumped: its stamps went on by {moved_s:+.3f} s")
            if missing < 0 and not (len(is_held) == 1 or is_held[-2]):
                raise DataError(
                    f"two actions in one policy step; expected one at {rate:g} Hz: is there a "
                    "second publisher, or another rate?"
                )
            if missing > hold_steps:
                raise DataError(
                    f"no action for {moved_s:.2f} s before it; the arm stops after "
                    f"{hold_steps} steps without one"
                )
        if missing < 0:
            stamps_ns[-1], actions[-1] = stamp_ns, action
            continue
        stamps_ns += [stamps_ns[-1] + step * period_ns(rate) for step in range(1, missing + 1)]
        actions += [actions[-1]] * missing
        is_held += [True] * missing
        stamps_ns.append(stamp_ns)
        actions.append(action)
        is_held.append(False)
    return Commands(stamps_ns, actions, sum(is_held), None)


def sample_steps(
    bag: Bag, task: TaskSpec, streams: RecordedStreams, commands: Commands
) -> tuple[Steps, bool]:
    """Samples the observations of the commands' instants, and of the stop.

    Raises:
        DataError: with topic and time, for a malformed message or a jump of the clock.
        StaleStreamError: for a stream without a fresh value.
    """
    instants = [*commands.stamps_ns, *([] if commands.end_ns is None else [commands.end_ns])]
    rows: list[Array] = []
    clock = ClockCheck(instants[0], instants[-1])

    def observe(is_last_chance: bool = False) -> None:
        while len(rows) < len(instants):
            at_ns = instants[len(rows)]
            try:
                row = streams.observe(at_ns, is_last_chance)
            except StaleStreamError as error:
                if len(rows) == len(commands.stamps_ns):
                    # streams may end with the episode
                    return
                raise DataError(
                    f"step at {format_time(at_ns)} of the ROS clock: {error}"
                ) from error
            if row is None:
                return
            rows.append(row)

    for record in bag.records(streams.topics):
        with naming(record):
            clock.check(record, streams.push(record.topic, record.decode()))
        observe()
    observe(is_last_chance=True)
    seen = np.array(rows)
    count = len(commands.stamps_ns)
    led = read_interventions(bag, commands.stamps_ns)
    actions = np.array(commands.actions)
    steps = Steps(commands.stamps_ns, seen[:count], actions, commands.held, led)
    return steps, is_assembled(task, seen)


class ClockCheck:
    """Compares how far a stream's stamps and their receipt have moved on, within the episode."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        """Args: first and last instant of the episode, ROS clock."""
        self._first_ns, self._last_ns = first_ns, last_ns
        self._before: dict[str, tuple[int, int]] = {}

    def check(self, record: Record, stamp_ns: int) -> None:
        """Takes the next message.

        Raises:
            DataError: when the clock jumped.
        """
        before = self._before.get(record.topic)
        self._before[record.topic] = (stamp_ns, record.log_ns)
        if before is None or not self._first_ns <= before[0] <= self._last_ns:
            return
        moved_s = (stamp_ns - before[0]) / NS_PER_S
        received_s = (record.log_ns - before[1]) / NS_PER_S
        if moved_s < 0 or moved_s > received_s + CLOCK_JUMP_S:
            raise DataError(
                f"the clock jumped: its stamps went on by {moved_s:+.3f} s in {received_s:.3f} s"
            )


@contextlib.contextmanager
def naming(record: Record) -> Iterator[None]:
    """Adds topic and time of receipt to an error about a message."""
    try:
        yield
    except ResipError as error:
        where = f"{record.topic} at {format_time(record.log_ns)}"
        text = str(error)
        raise DataError(text if text.startswith(record.topic) else f"{where}: {text}") from error


def is_assembled(task: TaskSpec, observations: Array) -> bool:
    """Whether every pair was assembled in some row (n, Do), by the env's own test."""
    done = np.ones(len(observations), dtype=bool)
    for pair in task.pairs:
        parent = body_pose(task, observations, pair.parent)
        child = body_pose(task, observations, pair.child)
        done &= pair_assembled(pair, *parent, *child)
    return bool(done.any())
