# SPDX-License-Identifier: Apache-2.0
"""The `resip faults` subcommand; light, so that other commands do not wait for its imports."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from typing import Any

from resip_ros.nodes.arguments import positive

EXIT_UNSAFE = 1
NAME = "faults"
HELP = """\
Starts the simulated stack, breaks it while the arm moves, and checks what the arm did: kills,
stops and starves nodes, sends wrong actions, cuts the connection, raises a reflex. Prints one
line for each fault. Times are simulated ones, so a busy machine changes nothing but the patience
that is needed: about 10 s an injection, 25 s where processes are killed.

  resip faults                              every fault 10 times, about an hour
  resip faults --only reflex -n 1           one fault, once
  resip faults --json out/faults.json

It runs in a ROS domain of its own (99, this machine only) and never meets a real arm.
Exit status 0 when every injection was safe, 1 when one was not.
"""


def add_parser(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        NAME,
        help="break the simulated stack and check that the arm stays safe",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME", help="inject this fault alone")
    parser.add_argument(
        "-n", type=positive, default=10, metavar="N", help="injections per fault (default 10)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report there")


def run(arguments: argparse.Namespace) -> int:
    """`resip faults`; returns the exit status.

    Raises:
        ResipError: for an unknown fault, or when the stack cannot be started.
        KeyboardInterrupt: after Ctrl-C, when all processes have ended.
    """
    # a flag, because an exception inside rclpy's executor would come out as another one
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: interrupted.set())
    from rich.console import Console

    from resip_ros.nodes.faults import bench

    options = bench.FaultOptions(only=arguments.only, n=arguments.n, json=arguments.json)
    report = bench.run(options, Console(highlight=False), interrupted.is_set)
    return 0 if report["safe"] else EXIT_UNSAFE
