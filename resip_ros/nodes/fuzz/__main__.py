# SPDX-License-Identifier: Apache-2.0
"""`python -m resip_ros.nodes.fuzz`: wrong input for every node; exit status 1 on any failure."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rclpy

from resip_ros.core.paths import models_dir
from resip_ros.nodes.fuzz.host import Outcome
from resip_ros.nodes.table import ENVIRONMENT

DOMAIN = 98
"""Away from any graph that leads a real arm."""
PARTS = ("messages", "parameters", "robot", "lifecycle", "cycles")
POLICY_NODES = ("base_policy", "residual_policy", "recorder")
HELP = """\
Calls the real nodes with real publishers and services, the bridge with the real robot client on
the simulated robot:
  messages     N wrong messages on every topic that a policy node or the recorder subscribes to
  parameters   N random settings on each of them
  robot        N wrong actions, settings and service calls on the bridge while it leads the arm
  lifecycle    N/100 random transitions of the bridge while actions come
  cycles       N/10 times ~/start and ~/stop
It says for each what was withstood. It runs in a ROS domain of its own."""


def run(parts: list[str], n: int, seed: int, policy: Path) -> Iterator[Outcome]:
    """Each part for each node it is about."""
    from resip_ros.nodes.fuzz import nodes, robot

    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for part in parts:
            rng = np.random.default_rng([seed, PARTS.index(part)])
            runs: dict[str, Callable[..., Outcome]] = {
                "messages": nodes.fuzz_messages,
                "parameters": nodes.fuzz_node_parameters,
            }
            if part in runs:
                for name in POLICY_NODES:
                    yield runs[part](name, n, rng, policy, folder)
            else:
                yield from robot.run(part, n, rng, folder)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m resip_ros.nodes.fuzz",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument("-n", type=int, default=10_000, metavar="N", help="default 10000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policy", type=Path, default=models_dir() / "one_leg")
    arguments = parser.parse_args()
    os.environ.update(ENVIRONMENT, ROS_DOMAIN_ID=str(DOMAIN))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init()
    failed = False
    begin_s = time.monotonic()
    parts: list[str] = list(arguments.parts or PARTS)
    for outcome in run(parts, arguments.n, arguments.seed, arguments.policy):
        passed_s, begin_s = time.monotonic() - begin_s, time.monotonic()
        sys.stdout.write(f"{outcome.line()} ({passed_s:.0f} s)\n")
        sys.stdout.flush()
        failed = failed or bool(outcome.failures)
    rclpy.try_shutdown()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
