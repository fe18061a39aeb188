# SPDX-License-Identifier: Apache-2.0
"""What a person looks at in a recorded episode: actions, measured motion, events, silences.

All times are those of receipt, s since the episode started (or since the bag begins, where no
event says so): one clock for every topic, the one that the table of `resip review` measures by.
Letters: n actions, m joint states.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resip_ros.bags import layout
from resip_ros.bags.picture_strip import Strip, read_strips
from resip_ros.bags.reader import Bag, Record
from resip_ros.bags.review import GAP_S, is_in_progress, is_needed
from resip_ros.bags.sidecar import Episode, load_episode
from resip_ros.core import events, messages
from resip_ros.core.action import ACTION_DIM, action_names, encode_action
from resip_ros.core.arms import Arm, to_task_frame
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import DataError, ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import forward
from resip_ros.core.live_observation import decode_joints
from resip_ros.core.tasks import TASKS, TaskSpec, get_task

LED = "operator leads"
POLICY_LED = "policy leads"
_ENDS = (events.STOPPED, events.FAULT)


@dataclass(frozen=True)
class ArmMotion:
    """One arm, task frame."""

    name: str
    """Empty for an only arm."""
    command_s: Array
    """(n,)"""
    commands: Array
    """(n, 10) as in ``core.action``: m, two rows of a rotation, +1 close .. -1 open."""
    measured_s: Array
    """(m,)"""
    measured: Array
    """(m, 10) the same of the measured joints; the last entry is the gripper's width, m."""


@dataclass(frozen=True)
class Mark:
    """Something that happened."""

    time_s: float
    kind: str
    """One of ``events.KINDS``, LED or POLICY_LED."""
    detail: str = ""


@dataclass(frozen=True)
class Gap:
    """A silence of a stream that policies need."""

    topic: str
    start_s: float
    end_s: float


@dataclass
class EpisodeView:
    """What is drawn."""

    name: str
    episode: Episode | None
    """Its sidecar."""
    zero_ns: int
    """Receipt of the start."""
    begin_s: float
    """First message of the bag."""
    end_s: float
    """Last message of the bag."""
    arms: list[ArmMotion] = field(default_factory=list[ArmMotion])
    marks: list[Mark] = field(default_factory=list[Mark])
    gaps: list[Gap] = field(default_factory=list[Gap])
    strips: list[Strip] = field(default_factory=list[Strip])
    notes: list[str] = field(default_factory=list[str])
    """What could not be drawn, and why."""

    def seconds(self, log_ns: int) -> float:
        """Time of receipt, ns, to s since the start."""
        return (log_ns - self.zero_ns) / NS_PER_S


def joint_states(arm: Arm) -> str:
    """Topic of an arm's joint states."""
    return f"{layout.NAMESPACE}/{arm.name}/joint_states" if arm.name else layout.JOINT_STATES


def read_view(path: Path) -> EpisodeView:
    """Reads a bag twice: what is small first, then the pictures of the time it found.

    Raises:
        DataError: naming the bag, when it cannot be read or has nothing to draw.
    """
    episode = load_episode(path)
    if episode is not None and is_in_progress(path, episode):
        raise DataError(f"bag {path} is still being recorded; draw it when it is saved")
    with Bag(path) as bag:
        reading = _Reading(bag, _candidates(episode))
        first_ns, last_ns = reading.episode_ns(bag)
        begin_ns, end_ns = bag.span_ns
        topics = sorted(bag.counts)
        view = EpisodeView(path.name, episode, first_ns, 0.0, 0.0)
        view.begin_s, view.end_s = view.seconds(begin_ns), view.seconds(end_ns)
        view.strips = read_strips(bag, first_ns, last_ns)
    view.marks = [Mark(view.seconds(ns), kind, detail) for ns, kind, detail in reading.marks]
    view.gaps = [Gap(t, view.seconds(a), view.seconds(b)) for t, a, b in reading.gaps]
    view.arms = reading.build_arms(view)
    view.notes = [*reading.describe_faults(), *_describe_strips(view)]
    if not view.arms and not view.strips:
        raise DataError(
            f"bag {path} has nothing to draw: no pictures, no {layout.NET_ACTION}, no "
            f"{layout.JOINT_STATES}; it has {topics}"
        )
    return view


class _Reading:
    """Everything but the pictures, as it was received."""

    def __init__(self, bag: Bag, tasks: list[TaskSpec]) -> None:
        self._tasks = tasks
        self.marks: list[tuple[int, str, str]] = []
        self.gaps: list[tuple[str, int, int]] = []
        self._last: dict[str, int] = {}
        self._faults: dict[str, list[str]] = {}
        self._commands: list[tuple[int, Array]] = []
        self._names: tuple[str, ...] = ()
        self._joints: dict[str, list[tuple[int, Array, float]]] = {}
        own = {layout.NET_ACTION, layout.EPISODE_EVENT, layout.TELEOP_ACTIVE}
        for record in bag.records([t for t in bag.counts if t in own or is_needed(t)]):
            try:
                self._take(record)
            except ResipError as error:
                self._faults.setdefault(record.topic, []).append(str(error))

    def _take(self, record: Record) -> None:
        topic, now = record.topic, record.log_ns
        if is_needed(topic):
            before = self._last.get(topic, now)
            self._last[topic] = now
            if now - before > GAP_S * NS_PER_S:
                self.gaps.append((topic, before, now))
            if topic.endswith("/joint_states"):
                joints = decode_joints(record.decode())[1]
                self._joints.setdefault(topic, []).append((now, joints.q, float(joints.width_m)))
            return
        message = record.decode()
        if topic == layout.EPISODE_EVENT:
            event = events.parse_event(message.data)
            self.marks.append((now, event.kind, event.detail))
        elif topic == layout.TELEOP_ACTIVE:
            leads = events.parse_teleop_active(message.data).active
            self.marks.append((now, LED if leads else POLICY_LED, ""))
        else:
            self._take_action(now, message)

    def _take_action(self, now: int, message: Any) -> None:
        names, points = tuple(message.joint_names), message.points
        if not any(names == action_names(task) for task in self._tasks):
            raise DataError(f"action names {list(names)}, which are of no task's arms")
        # the first action says which arms there are, and each the rate that it is sent at
        self._names = self._names or names
        step_ns = messages.stamp_to_ns(points[0].time_from_start) if points else 0
        rate_hz = NS_PER_S / max(step_ns, 1)
        action = messages.decode_action_message(message, rate_hz, self._names)[1]
        self._commands.append((now, action))

    def episode_ns(self, bag: Bag) -> tuple[int, int]:
        """From the start to the last stop or fault; the bag's own ends where none was received."""
        begin_ns, end_ns = bag.span_ns
        starts = [ns for ns, kind, _ in self.marks if kind == events.STARTED]
        first_ns = starts[0] if starts else begin_ns
        ends = [ns for ns, kind, _ in self.marks if kind in _ENDS and ns >= first_ns]
        return first_ns, ends[-1] if ends else end_ns

    def build_arms(self, view: EpisodeView) -> list[ArmMotion]:
        """Motion of each arm, of as much as was received."""
        arms = self._find_arms()
        command_s = np.array([view.seconds(ns) for ns, _ in self._commands])
        commands = np.array([action for _, action in self._commands])
        blocks = commands.reshape(len(self._commands), len(arms), ACTION_DIM)
        found: list[ArmMotion] = []
        for i, arm in enumerate(arms):
            rows = self._joints.get(joint_states(arm), [])
            measured_s = np.array([view.seconds(ns) for ns, _, _ in rows])
            motion = (command_s, blocks[:, i], measured_s, _measured(arm, rows))
            found.append(ArmMotion(arm.name, *motion))
        return found

    def _find_arms(self) -> tuple[Arm, ...]:
        """Arms of the episode's task, or of the first one that fits what was received."""
        for task in self._tasks:
            if self._names == action_names(task):
                return task.arms
            if not self._names and all(joint_states(arm) in self._joints for arm in task.arms):
                return task.arms
        return ()

    def describe_faults(self) -> list[str]:
        """A note for each topic with messages that could not be drawn."""
        return [
            f"{topic}: {len(texts)} message{'s' if len(texts) > 1 else ''} left out: {texts[0]}"
            for topic, texts in self._faults.items()
        ]


def _candidates(episode: Episode | None) -> list[TaskSpec]:
    """Tasks whose arms these may be: the episode's own first, if it is known here."""
    found = list(TASKS.values())
    if episode is not None:
        with contextlib.suppress(ResipError):
            found.insert(0, get_task(episode.task))
    return found


def _measured(arm: Arm, rows: list[tuple[int, Array, float]]) -> Array:
    """Joints to (m, 10), task frame."""
    if not rows:
        return np.zeros((0, ACTION_DIM))
    q = np.array([joints for _, joints, _ in rows])
    width_m = np.array([width for _, _, width in rows])
    return to_task_frame((arm,), encode_action(*forward(q), width_m)[:, None, :])


def _describe_strips(view: EpisodeView) -> list[str]:
    """Notes on pictures that are missing or damaged."""
    if not view.strips:
        return ["no pictures in this bag"]
    notes: list[str] = []
    for strip in view.strips:
        damaged = [shown for shown in strip.shown if shown is not None and shown.problem]
        if damaged:
            text = f"{len(damaged)} of {len(strip.shown)} pictures cannot be shown"
            notes.append(f"{strip.camera}: {text}: {damaged[0].problem}")
    return notes
