# SPDX-License-Identifier: Apache-2.0
"""`python -m resip_ros.nodes.fuzz`: wrong input for every node; exit status 1 on any failure."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import rclpy
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.logging import set_logger_level

from resip_ros.core.paths import models_dir
from resip_ros.nodes.fuzz.host import Outcome
from resip_ros.nodes.table import ENVIRONMENT
from resip_ros.sim.gl import NoRenderingError

DOMAIN = 98
"""Away from any graph that leads a real arm."""
PARTS = ("messages", "parameters", "starts", "robot", "group", "lifecycle", "cycles")
HELP = """\
Calls the real nodes with real publishers and services, the bridge with the real robot client on
the simulated robot:
  messages     N wrong messages on every topic that a node, the operator of `resip up`, a session
               or a check subscribes to, and some calls of its services
  parameters   N random settings on each node
  starts       N/100 starts of each node with one wrong parameter
  robot        N wrong actions, settings and service calls on the bridge while it leads the arm
  group        the same with two arms
  lifecycle    N/100 random transitions of the bridge while actions come
  cycles       N/10 times ~/start and ~/stop
It says for each what was withstood. It runs in a ROS domain of its own."""


def run(parts: list[str], n: int, seed: int, policy: Path, only: str = "") -> Iterator[Outcome]:
    """Each part for each node it is about."""
    from resip_ros.nodes.fuzz import nodes, robot, subjects

    plain = [name for name in subjects.NODES if name != "franka_bridge"]
    runs: dict[str, tuple[Callable[..., Outcome], Sequence[str], int]] = {
        "messages": (nodes.fuzz_messages, subjects.LISTENERS, n),
        "parameters": (nodes.fuzz_node_parameters, plain, n),
        "starts": (nodes.fuzz_starts, tuple(subjects.NODES), max(1, n // 100)),
    }
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for part in parts:
            number = PARTS.index(part)
            if part not in runs:
                yield from robot.run(part, n, np.random.default_rng([seed, number]), folder)
                continue
            fuzz, names, count = runs[part]
            for place, name in enumerate(names):
                if not name.startswith(only):
                    continue
                # each its own, so that one alone repeats what it did among all
                rng = np.random.default_rng([seed, number, place])
                try:
                    yield fuzz(name, count, rng, policy, folder)
                except NoRenderingError as error:
                    yield Outcome(name, part, notes=[f"not tried: {error}"])


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m resip_ros.nodes.fuzz",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", choices=[[], *PARTS], metavar="PART", help="those above (default: all)"
    )
    parser.add_argument("-n", type=int, default=10_000, metavar="N", help="default 10000")
    parser.add_argument(
        "--node", default="", metavar="NAME", help="only those whose name begins so"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    parser.add_argument(
        "--policy",
        type=Path,
        default=models_dir() / "one_leg",
        metavar="DIR",
        help="policy folder that nodes load (default models/one_leg)",
    )
    arguments = parser.parse_args()
    os.environ.update(ENVIRONMENT, ROS_DOMAIN_ID=str(DOMAIN))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init()
    # nodes of one name follow each other here
    set_logger_level("rcl.logging_rosout", LoggingSeverity.ERROR)
    failed = False
    begin_s = time.monotonic()
    parts: list[str] = list(arguments.parts or PARTS)
    for outcome in run(parts, arguments.n, arguments.seed, arguments.policy, arguments.node):
        passed_s, begin_s = time.monotonic() - begin_s, time.monotonic()
        sys.stdout.write(f"{outcome.line()} ({passed_s:.0f} s)\n")
        sys.stdout.flush()
        failed = failed or bool(outcome.failures)
    rclpy.try_shutdown()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
