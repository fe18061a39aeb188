# SPDX-License-Identifier: Apache-2.0
"""What subscribes beside the nodes: the operator of `resip up`, sessions, benches, checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import yaml
from rclpy.node import Node
from rich.console import Console

from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.results import RunResult
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes.bench.bench import Bench, BenchOptions
from resip_ros.nodes.bench.grid import Start, build_grid
from resip_ros.nodes.camera_check import Listener, delivery
from resip_ros.nodes.faults.splice import SpliceOperator
from resip_ros.nodes.faults.swaps import SwapOperator
from resip_ros.nodes.operator import Operator
from resip_ros.nodes.recording import EpisodeRecording, decode_picture
from resip_ros.nodes.table import SIM, Graph
from resip_ros.nodes.teleop.session import Session, SessionOptions, SessionResult
from resip_ros.nodes.topics import NAMESPACE

CAMERA = "front"
ROBOTS = "192.0.2.1", "192.0.2.2"
"""Addresses in a documentation network: nobody here connects to a robot."""


class Person(Protocol):
    """Owner of a node that has no process of its own."""

    node: Node

    def begin(self) -> None:
        """Subscribes."""
        ...

    def use(self) -> None:
        """Does with what has come what follows an episode."""
        ...

    def close(self) -> None:
        """Ends all but the node."""
        ...


def _graph(task: TaskSpec) -> Graph:
    # without the simulation's clock, which nobody drives here
    return Graph(task.name, ",".join(ROBOTS[: len(task.arms)]), "")


class OperatorPerson:
    """`resip up`, in an episode all the time."""

    def __init__(self, task: TaskSpec, folder: Path, kind: type[Operator] = Operator) -> None:
        self._folder = folder

        class Fuzzed(kind):
            """One whose node another executor spins."""

            def give_node(self) -> Node:
                """The node, taken off the operator's own executor."""
                self._executor.remove_node(self._node)
                return self._node

            def start_recording(self) -> None:
                """As ``run_episode`` does when it has called ~/start."""
                self._recording = EpisodeRecording(start_ns=self.now_ns())

            def finish(self, result: RunResult) -> tuple[Array, Array, Array]:
                """As `resip up` does when an episode is over."""
                self.collect(result)
                recording = self._recording
                assert recording is not None
                for _, data in recording.pictures:
                    decode_picture(data)
                self._reports.clear()
                self._events.clear()
                return recording.actions()

        self._operator = Fuzzed(_graph(task), task, lambda: None)
        self._result = RunResult(task.name, "", SIM)
        self.node = self._operator.give_node()

    def begin(self) -> None:
        """Begins an episode."""
        self._operator.start_recording()

    def use(self) -> None:
        """Collects the figures and begins the next episode."""
        self._operator.finish(self._result)
        json.dumps(self._result.to_dict(), allow_nan=False)
        self._operator.start_recording()

    def close(self) -> None:
        """Nothing to end: the node is the host's."""


class SessionPerson:
    """`resip teleop` beside a policy, with pictures; also a session's leader."""

    help, is_person = "", True

    def __init__(self, task: TaskSpec, folder: Path) -> None:
        self.node = Node("session", namespace=NAMESPACE)
        self._task, self._folder = task, folder

    def begin(self, episode: int = 0) -> None:
        """Opens the view; as a leader it is not asked."""
        options = SessionOptions(self._task.name, SIM, self._folder, policy=self._folder)
        # callbacks do not ask the operator for anything
        operator = cast("Operator", None)
        console = Console(quiet=True)
        run = SessionResult(RunResult(self._task.name, "", SIM))
        self._session = Session(options, self._task, operator, self, console, run)

    def commands(self) -> list[str]:
        """No keys."""
        return []

    def end(self) -> None:
        """Holds nothing."""

    def use(self) -> None:
        """The session makes nothing of what came."""

    def close(self) -> None:
        """Ends the view."""
        self._session.close()


class BenchPerson:
    """`resip bench-eval` on a real bench, that shows where the parts should lie."""

    def __init__(self, task: TaskSpec, folder: Path) -> None:
        place = {CAMERA: {"position": [0.5, 0.0, 0.9], "quat_xyzw": [1.0, 0.0, 0.0, 0.0]}}
        extrinsics = folder / "extrinsics.yaml"
        extrinsics.write_text(yaml.safe_dump(place))
        options = BenchOptions(
            task.name, ROBOTS[0], (), "1", folder, camera=CAMERA, extrinsics=extrinsics
        )

        class Fuzzed(Bench):
            """One that shows a start all the time."""

            def give_node(self, start: Start) -> Node:
                """The node."""
                self._next = (0, start)
                return self._node

            def finish(self) -> None:
                """Judges what was seen, and closes the view at the end."""
                assert self._watch.passed >= 0
                self._watch.reset()

            def close(self) -> None:
                """Ends the view; the node is the host's."""
                self._view.close()

        operator = cast("Operator", None)
        console = Console(quiet=True)
        self._bench = Fuzzed(options, task, operator, console, None)
        self.node = self._bench.give_node(build_grid(task, 1, 0).starts[0])

    def begin(self) -> None:
        """Subscribed already."""

    def use(self) -> None:
        """Judges."""
        self._bench.finish()

    def close(self) -> None:
        """Ends the view."""
        self._bench.close()


class CheckPerson:
    """`resip cameras`, raw and JPEG."""

    def __init__(self, task: TaskSpec, folder: Path) -> None:
        self.node = Node("camera_check", namespace=NAMESPACE)
        self._listeners: list[Listener] = []

    def begin(self) -> None:
        """Listens."""
        self._listeners = [Listener(self.node, CAMERA, jpeg) for jpeg in (False, True)]

    def use(self) -> None:
        """Sums up what came."""
        for one in self._listeners:
            try:
                found = delivery(one.topic, one.stamps_ns, one.ages_ns, one.size, one.counts)
            except ResipError:
                continue
            assert found.received == len(one.stamps_ns)

    def close(self) -> None:
        """Nothing to end."""


def _splice(task: TaskSpec, folder: Path) -> Person:
    return OperatorPerson(task, folder, SpliceOperator)


def _swaps(task: TaskSpec, folder: Path) -> Person:
    return OperatorPerson(task, folder, SwapOperator)


PEOPLE: dict[str, Callable[[TaskSpec, Path], Person]] = {
    "operator": OperatorPerson,
    "operator (two arms)": OperatorPerson,
    "operator (splice)": _splice,
    "operator (swaps)": _swaps,
    "session": SessionPerson,
    "bench": BenchPerson,
    "camera_check": CheckPerson,
}
