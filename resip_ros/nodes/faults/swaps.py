# SPDX-License-Identifier: Apache-2.0
"""`python -m resip_ros.nodes.faults.swaps`: policies are exchanged while they lead the arm.

Between the given policy and a copy that differs in the last bit of one weight, so that hashes and
pairing are those of two policies and the arm goes on as with one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rich.console import Console
from std_msgs.msg import String

from resip_ros.core.errors import ResipError
from resip_ros.core.paths import models_dir
from resip_ros.core.results import percentiles
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.faults.bench import DOMAIN
from resip_ros.nodes.operator import BASE, Operator
from resip_ros.nodes.pairing import RESIDUAL_NODE
from resip_ros.nodes.policy_slot import parse_active
from resip_ros.nodes.running import running_graph
from resip_ros.nodes.table import CHECKPOINT, Graph
from resip_ros.policy.bundle import save_bundle
from resip_ros.policy.bundle_folder import CARD_FILE, WEIGHTS_FILE
from resip_ros.policy.card import BaseCard, Card, ResidualCard, parse_card

PAUSE_S = 0.3
"""Between one exchange and the next request, wall time."""


def write_twin(policy: Path, folder: Path) -> Path:
    """Writes a policy folder whose base differs in one bit, with the residual paired to it.

    Returns:
        The folder.
    """
    cards: dict[str, Card] = {}
    for kind in ("base", "residual"):
        source = policy / kind
        card = parse_card(yaml.safe_load((source / CARD_FILE).read_text()))
        tensors = safetensors.torch.load((source / WEIGHTS_FILE).read_bytes())
        if isinstance(card, BaseCard):
            name = next(n for n, v in tensors.items() if v.dtype == torch.float16 and v.numel())
            bits = tensors[name].view(torch.int16).flatten()
            bits[0] ^= 1
        elif isinstance(card, ResidualCard):
            card = dataclasses.replace(card, base_hash=cards["base"].weights_hash)
        # its answers differ in the fourth digit
        card = dataclasses.replace(card, golden=None)
        cards[kind] = save_bundle(folder / kind, card, tensors)
    return folder


class SwapOperator(Operator):
    """An operator who exchanges the policies while an episode runs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.folders: list[Path] = []
        self.wanted = 0
        """How many exchanges are still to be done."""
        self.took_s: list[float] = []
        """From the request to the residual's change, wall time of each exchange."""
        self._running: dict[str, str] = {}
        self._asked_s = 0.0
        self._target = ""
        self._rest_until_s = 0.0
        self._setters = {
            name: AsyncParameterClient(self._node, name) for name in (BASE, RESIDUAL_NODE)
        }
        self._node.create_subscription(
            String, topics.POLICY_ACTIVE, self._on_swapped, topics.latched_qos()
        )

    def _on_swapped(self, message: String) -> None:
        with self._dropping_bad_messages():
            active = parse_active(message.data)
            self._running[active.node] = active.checkpoint
        if self._target and set(self._running.values()) == {self._target}:
            self.took_s.append(time.monotonic() - self._asked_s)
            self._target, self.wanted = "", self.wanted - 1
            self._rest_until_s = time.monotonic() + PAUSE_S

    def turn(self, _: float) -> None:
        """Called all the time while an episode runs; asks for the next exchange."""
        now_s = time.monotonic()
        if self._target or not self.wanted or now_s < self._rest_until_s:
            return
        other = str(self.folders[len(self.took_s) % 2])
        self._target, self._asked_s = other, now_s
        for setter in self._setters.values():
            setter.set_parameters([Parameter(CHECKPOINT, value=other)])


def run(policy: Path, n: int, out: Path, console: Console) -> dict[str, Any]:
    """Episodes until ``n`` exchanges are done.

    Returns:
        Figures: exchanges, late ticks of all ticks, faults, seconds an exchange took.

    Raises:
        ResipError: when the stack does not start, or an exchange does not come about.
    """
    card = parse_card(yaml.safe_load((policy / "base" / CARD_FILE).read_text()))
    task = get_task(card.task)
    twin = write_twin(policy, out / "twin")
    late = ticks = episodes = successes = 0
    faults: list[str] = []
    graph = Graph(task.name, "sim", str(policy), cameras=False)
    with running_graph(graph, out, [], console, SwapOperator) as operator:
        operator.wait_until_ready()
        operator.folders, operator.wanted = [twin, policy], n
        while operator.wanted:
            done = len(operator.took_s)
            operator.prepare(episodes)
            result, _, _ = operator.run_episode(episodes, task.episode_steps, operator.turn)
            episodes += 1
            successes += result.success
            late += operator.count(RESIDUAL_NODE, "late")
            ticks += operator.count(RESIDUAL_NODE, "ticks")
            if not result.success and result.reason != "time limit":
                faults.append(result.reason)
            console.print(f"{len(operator.took_s)} exchanges, {late} late of {ticks} ticks")
            if len(operator.took_s) == done:
                raise ResipError(f"no exchange in episode {episodes}; see {out / 'logs'}")
        took_ms = [1e3 * seconds for seconds in operator.took_s]
    return {
        "exchanges": len(took_ms),
        "late": late,
        "ticks": ticks,
        "episodes": episodes,
        "successes": successes,
        "faults": faults,
        "exchange_ms": percentiles(took_ms),
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m resip_ros.nodes.faults.swaps", description=__doc__
    )
    parser.add_argument("-n", type=int, default=100, metavar="N", help="exchanges (default 100)")
    parser.add_argument(
        "--policy",
        type=Path,
        default=models_dir() / "one_leg",
        metavar="DIR",
        help="policy folder (default models/one_leg)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the nodes' logs there")
    arguments = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", str(DOMAIN))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with tempfile.TemporaryDirectory() as folder:
        try:
            out = arguments.out or Path(folder)
            report = run(arguments.policy.resolve(), arguments.n, out, Console())
        except ResipError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    sys.stdout.write(f"{json.dumps(report)}\n")
    return int(bool(report["late"] or report["faults"]))


if __name__ == "__main__":
    sys.exit(main())
