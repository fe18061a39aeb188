# SPDX-License-Identifier: Apache-2.0
"""Demonstrations on the live robot to a policy that runs on it, in one command.

    python examples/round_trip.py --episodes 10

1. A scripted expert leads the live simulated robot along the same path as `resip teleop`: one
   action a policy step, through the bridge and its gate; the recorder writes one bag an episode.
2. `training.convert_bags` makes a dataset of the bags. It equals, to the last bit, what the expert
   saw and commanded; only where a stream came more than 25 ms late, as on a machine under load,
   the expert saw what had arrived by then (docs/recording.md).
3. `training.bc` trains a base policy for a few steps: enough to show the way, not to succeed.
4. `resip up` runs an episode of that policy.

This is the only place, beside the tests, that knows both the nodes and the training.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.parameter import Parameter
from rich.console import Console
from std_msgs.msg import String

from resip_ros.bags.reader import find_bags
from resip_ros.bags.sidecar import load_episode
from resip_ros.core import events
from resip_ros.core.errors import DataError, ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.live_observation import PARTS_MAX_AGE_S, ROBOT_MAX_AGE_S
from resip_ros.core.results import write_json_atomically
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics, up
from resip_ros.nodes.node_main import StackNode
from resip_ros.nodes.observation_input import Observation, ObservationInput
from resip_ros.nodes.table import Graph
from resip_ros.nodes.teleop.output import TeleopOutput
from resip_ros.nodes.teleop.session import SessionOptions, run_session
from training.bag_steps import read_steps
from training.demonstrators.registry import make_demonstrator

DEFAULT_TASK = "peg_in_hole"
"""The shortest of the tasks: some 10 s a demonstration."""


class ExpertNode(StackNode):
    """A scripted expert in an operator's place."""

    def __init__(self, graph: Graph, seed: int) -> None:
        use_sim_time = Parameter("use_sim_time", value=graph.is_sim)
        super().__init__("expert", parameter_overrides=[use_sim_time])
        self._seed, self._task = seed, get_task(graph.task)
        self.told: dict[int, tuple[Array, Array]] = {}
        """Stamp (ns) to observation (D,) and action (10,) of every step."""
        self._is_running = False
        self.start_episode(0)

    def start_episode(self, episode: int) -> None:
        """A fresh expert, with habits of its own."""
        rng = np.random.default_rng((self._seed, episode))
        self._expert = make_demonstrator(self._task.name, rng)
        self._has_acted = False

    @property
    def gave_up(self) -> bool:
        """Whether the expert sees no way to go on."""
        return self._is_running and self._has_acted and self._expert.gave_up

    def configure(self) -> None:
        """Opens the topics."""
        self._output = TeleopOutput(self, self._task.rate_hz, takes_over=False)
        self.create_subscription(
            String, topics.EPISODE_EVENT, self._on_event, topics.latched_qos()
        )
        self._input = ObservationInput(
            self,
            self._task,
            self._on_step,
            robot_max_age_s=ROBOT_MAX_AGE_S,
            parts_max_age_s=PARTS_MAX_AGE_S,
        )

    def close(self) -> None:
        """Nothing to end."""

    def _on_event(self, message: String) -> None:
        try:
            kind = events.parse_event(message.data).kind
        except DataError:
            return
        if kind == events.STARTED:
            self._output.reset()
        if kind in (events.STARTED, events.STOPPED, events.FAULT):
            self._is_running = kind == events.STARTED

    def _on_step(self, _: int, observation: Observation) -> None:
        if not self._is_running:
            return
        action = self._expert.act(observation.values)
        self._has_acted = True
        self.told[observation.stamp_ns] = observation.values, action
        self._output.publish(observation.stamp_ns, action, held=True)


class Expert:
    """The expert as the leader of a session."""

    is_person = False
    help = ""

    def __init__(self, graph: Graph, seed: int) -> None:
        """Args: graph: the one that runs; seed: of the expert's habits."""
        self._node = ExpertNode(graph, seed)
        self._node.begin()

    @property
    def node(self) -> Node:
        """The expert's node."""
        return self._node

    @property
    def told(self) -> dict[int, tuple[Array, Array]]:
        """What the expert saw and commanded."""
        return self._node.told

    def commands(self) -> list[str]:
        """Ends an episode that cannot succeed any more."""
        return ["\n"] if self._node.gave_up else []

    def begin(self, episode: int) -> None:
        """A fresh expert."""
        self._node.start_episode(episode)

    def end(self) -> None:
        """Destroys the node."""
        self._node.end()
        self._node.destroy_node()


def record(arguments: argparse.Namespace, console: Console) -> tuple[Expert, dict[str, object]]:
    """Records all episodes; returns the expert and the session's figures."""
    experts: list[Expert] = []

    def make(graph: Graph) -> Expert:
        experts.append(Expert(graph, arguments.seed))
        return experts[0]

    options = SessionOptions(
        task=arguments.task,
        robot="sim",
        out=arguments.out / "record",
        record=arguments.out / "demos",
        episodes=arguments.episodes,
        seed=arguments.seed,
        max_steps=arguments.max_steps,
        cameras=False,
    )
    result = run_session(options, make, console)
    return experts[0], result.to_dict()


def compare(demos: Path, task: str, told: dict[int, tuple[Array, Array]]) -> dict[str, object]:
    """Holds every row of every bag against what the expert saw and commanded at that instant."""
    rows = held = equal = 0
    worst = 0.0
    for bag in find_bags(demos):
        steps, _ = read_steps(bag, get_task(task))
        held += steps.held
        for stamp_ns, seen, sent in zip(
            steps.stamps_ns, steps.observations, steps.actions, strict=True
        ):
            if stamp_ns not in told:
                continue  # a step without an action of its own, counted as held
            live_seen, live_sent = told[stamp_ns]
            off = max(np.abs(seen - live_seen).max(), np.abs(sent - live_sent).max())
            rows, equal, worst = rows + 1, equal + int(off == 0.0), max(worst, float(off))
    return {"rows": rows, "equal": equal, "held": held, "largest_difference": worst}


def run_module(module: str, *arguments: str) -> None:
    """Runs a program of the training as a user does.

    Raises:
        ResipError: when it fails.
    """
    if subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode:
        raise ResipError(f"python -m {module} failed; its message is above")


def train(arguments: argparse.Namespace) -> Path:
    """Bags to dataset to policy folder."""
    data, policy = arguments.out / "demos.zarr", arguments.out / "policy"
    run_module("training.convert_bags", str(arguments.out / "demos"), "--out", str(data))
    run_module(
        "training.bc",
        *("--data", str(data), "--task", arguments.task, "--steps", str(arguments.steps)),
        *("--batch", str(arguments.batch), "--out", str(policy / "base")),
        *("--run-dir", str(arguments.out / "bc")),
    )
    return policy


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The whole way; returns what ``round_trip.json`` holds.

    Raises:
        ResipError: where it breaks off.
    """
    if arguments.out.exists():
        raise ResipError(f"{arguments.out} exists already; choose another --out or remove it")
    expert, session = record(arguments, console)
    parity = compare(arguments.out / "demos", arguments.task, expert.told)
    console.print(f"live against bags: {parity}")
    policy = train(arguments)
    options = up.UpOptions(
        task=arguments.task,
        robot="sim",
        policy=policy,
        out=arguments.out / "up",
        headless=True,
        max_steps=arguments.max_steps,
    )
    episode = up.run(options, console)
    report = {
        "task": arguments.task,
        "demonstrations": sum(
            bool(found and found.success)
            for found in map(load_episode, find_bags(arguments.out / "demos"))
        ),
        "session": session,
        "parity": parity,
        "bc_steps": arguments.steps,
        "run": episode.to_dict(),
    }
    write_json_atomically(arguments.out / "round_trip.json", report)
    return report


def parse(args: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=10, help="default 10")
    parser.add_argument("--task", default=DEFAULT_TASK, help=f"default {DEFAULT_TASK}")
    parser.add_argument("--steps", type=int, default=200, help="of training (default 200)")
    parser.add_argument("--batch", type=int, default=32, help="of training (default 32)")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--max-steps", type=int, default=None, help="shorter time limit of an episode"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out") / "round_trip", help="default out/round_trip"
    )
    return parser.parse_args(args)


def main() -> int:
    """Command-line entry."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        report = run(parse(), console)
    except ResipError as error:
        sys.stderr.write(f"round_trip: {error}\n")
        return 1
    console.print(json.dumps({k: report[k] for k in ("demonstrations", "parity")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
