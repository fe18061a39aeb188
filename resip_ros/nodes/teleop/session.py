# SPDX-License-Identifier: Apache-2.0
"""`resip teleop`: the graph, and somebody who leads the arm through episodes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rclpy.node import Node
from rich.console import Console
from sensor_msgs.msg import Image
from std_msgs.msg import String

from resip_ros.core import events, messages
from resip_ros.core.errors import DataError, ResipError
from resip_ros.core.results import (
    EpisodeResult,
    RunResult,
    percentiles,
    write_json_atomically,
)
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.nodes import topics
from resip_ros.nodes.bench_files import view_camera
from resip_ros.nodes.node_main import POLICY_NICE
from resip_ros.nodes.operator import BRIDGE, RECORDER, Operator
from resip_ros.nodes.policy_slot import check_graph
from resip_ros.nodes.running import check_out, running_graph
from resip_ros.nodes.table import SIM, Graph
from resip_ros.nodes.teleop.device import DISCARD, QUIT, SAVE, UNDO
from resip_ros.nodes.teleop.live_view import LiveView

PERSON_TIMEOUT_S = 3600.0
PATIENCE = 10
"""A person may take this many times the task's time limit."""
SIMULATED_VIEW = "overview"
VIEW_PERIOD_S = 0.1
"""More pictures a second would keep the arm waiting: one thread shows them and leads it."""


class Leader(Protocol):
    """A node that sends actions, and what whoever is behind it wants."""

    @property
    def node(self) -> Node:
        """Its callbacks run while the session waits."""
        ...

    @property
    def help(self) -> str:
        """How to use it."""
        ...

    @property
    def is_person(self) -> bool:
        """Whether to wait for a key before each episode."""
        ...

    def commands(self) -> list[str]:
        """Keys of the session since the last call."""
        ...

    def begin(self, episode: int) -> None:
        """Called before each episode with its number."""
        ...

    def end(self) -> None:
        """Gives back what it holds."""
        ...


@dataclass(frozen=True)
class SessionOptions:
    """What a session is asked for."""

    task: str
    robot: str
    out: Path
    policy: Path | None = None
    """Policy to take over from; None: the operator leads all the time."""
    record: Path | None = None
    """Folder for one bag an episode."""
    episodes: int | None = None
    """None: until the operator quits."""
    seed: int = 0
    max_steps: int | None = None
    """Time limit in policy steps."""
    cameras: bool = True
    """Whether the simulated bench is drawn."""
    camera_config: str = ""
    """YAML file of cameras; empty: those of the simulated bench."""
    tag_config: str = ""
    """YAML file of tags on the parts; empty: another tracker tells their poses."""

    @property
    def view_camera(self) -> str:
        """Camera that the operator is shown; empty: there is none."""
        if not self.camera_config and (self.robot != SIM or not self.cameras):
            return ""
        return view_camera(self.camera_config, SIMULATED_VIEW)


@dataclass
class SessionResult:
    """What came out."""

    run: RunResult
    key_latency_ms: list[float] = field(default_factory=list[float])
    """From a press to the action that it leads to."""
    discarded: int = 0

    def to_dict(self) -> dict[str, object]:
        """For ``result.json``."""
        return self.run.to_dict() | {
            "key_latency_ms": percentiles(self.key_latency_ms),
            "discarded": self.discarded,
        }


def run_session(
    options: SessionOptions, make_leader: Callable[[Graph], Leader], console: Console
) -> SessionResult:
    """Runs the graph until all episodes are over or the operator quits.

    Args:
        options: What to run.
        make_leader: Makes the leader once ROS is up and the graph is ready.
        console: For the operator.

    Raises:
        ResipError: when it could not run.
    """
    task = get_task(options.task)
    graph = _graph_of(options)
    check_out(options.out)
    result = SessionResult(RunResult(options.task, graph.policy, options.robot))
    with running_graph(graph, options.out, result.run.notes, console) as operator:
        operator.wait_until_ready()
        leader = make_leader(graph)
        session = Session(options, task, operator, leader, console, result)
        operator.attach(leader.node)
        try:
            with _first_in_line():
                session.run()
        except KeyboardInterrupt:
            console.print("interrupted: ending the nodes, the arm first")
        finally:
            operator.detach(leader.node)
            leader.end()
            session.close()
            write_json_atomically(options.out / "result.json", result.to_dict())
    return result


@contextlib.contextmanager
def _first_in_line() -> Iterator[None]:
    """The arm waits for this thread in every step, as it does for a policy's node."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, POLICY_NICE)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, max(before, os.getpriority(os.PRIO_PROCESS, 0)))


def _graph_of(options: SessionOptions) -> Graph:
    """The graph; refuses what could not run.

    Raises:
        ResipError: for a policy that does not fit.
    """
    record = str(options.record.resolve()) if options.record is not None else ""
    policy = str(options.policy.resolve()) if options.policy is not None else ""
    graph = Graph(
        options.task,
        options.robot,
        policy,
        cameras=options.cameras,
        record=record,
        camera_config=options.camera_config,
        tag_config=options.tag_config,
    )
    if options.policy is not None:
        check_graph(graph)
    return graph


class Session:
    """Episodes, one after the other, as the operator wants them."""

    def __init__(
        self,
        options: SessionOptions,
        task: TaskSpec,
        operator: Operator,
        leader: Leader,
        console: Console,
        result: SessionResult,
    ) -> None:
        """Args: see ``run_session``."""
        self._options, self._task = options, task
        self._operator, self._leader, self._console = operator, leader, console
        self._result = result
        self._is_quitting = self._is_discarded = False
        self._view: LiveView | None = None
        if options.policy is not None:
            leader.node.create_subscription(
                String, topics.TELEOP_ACTIVE, self._on_active, topics.latched_qos()
            )
        self._shown_s = 0.0
        camera = options.view_camera if leader.is_person else ""
        if camera:
            self._view = LiveView(options.out / "view.jpg")
            leader.node.create_subscription(
                Image, topics.image(camera), self._on_image, topics.image_qos()
            )
            console.print(f"look at the bench in a browser: {self._view.address}")

    def close(self) -> None:
        """Ends the view."""
        if self._view is not None:
            self._view.close()

    def _on_image(self, message: Image) -> None:
        assert self._view is not None
        now_s = time.monotonic()
        if now_s - self._shown_s < VIEW_PERIOD_S:
            return
        self._shown_s = now_s
        try:
            self._view.show(messages.decode_image(message)[1])
        except DataError:
            return

    def _on_active(self, message: String) -> None:
        try:
            active = events.parse_teleop_active(message.data).active
        except DataError:
            return
        self._console.print("you lead" if active else "the policy leads")

    def run(self) -> None:
        """Runs the episodes."""
        index = 0
        while not self._is_quitting and index != self._options.episodes:
            seed = self._options.seed + index
            self._operator.prepare(seed)
            self._leader.begin(index)
            if self._leader.is_person and not self._wait_for_consent(index):
                return
            episode = self._run_episode(seed)
            self._result.run.episodes.append(episode)
            self._tell(index, episode)
            index += 1

    def _wait_for_consent(self, index: int) -> bool:
        """Waits until the operator is ready; False when there is to be no further episode."""
        self._console.print(f"episode {index + 1}: Enter begins, q ends. {self._leader.help}")
        found: list[str] = []
        self._leader.commands()

        def answered() -> bool:
            found.extend(self._leader.commands())
            return bool({SAVE, QUIT} & set(found))

        self._operator.wait(answered, PERSON_TIMEOUT_S, "waiting for the operator")
        # both in one look: whoever wants to end must not see the arm move
        begins = QUIT not in found
        if begins:
            undo = "z takes back 3 s, " if self._options.robot == "sim" else ""
            self._console.print(
                f"Enter ends and saves, x ends and discards, {undo}q ends the session"
            )
        return begins

    def _run_episode(self, seed: int) -> EpisodeResult:
        self._is_discarded = False
        patience = PATIENCE if self._leader.is_person else 1
        limit = self._options.max_steps or patience * self._task.episode_steps
        episode, _, factor = self._operator.run_episode(seed, limit, lambda _: self._obey())
        run = self._result.run
        self._operator.collect(run)
        run.realtime_factor = round(factor, 4)
        self._result.key_latency_ms += self._operator.latencies_ms("teleop", "key")
        return episode

    def _obey(self) -> None:
        for command in self._leader.commands():
            if command in (SAVE, DISCARD, QUIT):
                self._operator.is_asked_to_end = True
                self._is_quitting |= command == QUIT
                if command == DISCARD:
                    self._discard()
            elif command == UNDO and self._options.robot == "sim":
                self._undo()

    def _discard(self) -> None:
        if self._is_discarded:
            return
        self._is_discarded = True
        self._result.discarded += 1
        # hold first; what is recorded after that does not matter
        self._operator.call(BRIDGE, "stop")
        if self._options.record is not None:
            try:
                self._console.print(self._operator.call(RECORDER, "discard"))
            except ResipError as error:
                self._result.run.notes.append(f"not discarded: {error}")

    def _undo(self) -> None:
        try:
            self._console.print(self._operator.undo())
        except ResipError as error:
            self._console.print(f"not undone: {error}")

    def _tell(self, index: int, episode: EpisodeResult) -> None:
        what = "success" if episode.success else "no success"
        what = "discarded" if self._is_discarded else what
        self._console.print(
            f"episode {index + 1}: {what} ({episode.reason}), {episode.steps} steps, "
            f"{episode.seconds:.1f} s"
        )
