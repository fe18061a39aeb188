# SPDX-License-Identifier: Apache-2.0
"""What the `resip` commands that start nodes have in common on the command line."""

from __future__ import annotations

import argparse
import signal

from resip_ros.core.tasks import TASKS


def add_task_and_robot(parser: argparse.ArgumentParser) -> None:
    """Adds TASK and --robot, for a command that leads one arm."""
    parser.add_argument("task", metavar="TASK", help=f"one of: {', '.join(TASKS)}")
    parser.add_argument("--robot", default="sim", metavar="sim|IP", help="default sim")


def add_cameras_and_tags(parser: argparse.ArgumentParser) -> None:
    """Adds --cameras and --tags, for a command that starts the graph."""
    parser.add_argument(
        "--cameras",
        default="",
        metavar="FILE",
        help="cameras of the bench: a copy of config/cameras.yaml; sim_cameras.yaml draws what "
        "policies see (default: an overview in simulation, else none)",
    )
    parser.add_argument(
        "--tags",
        default="",
        metavar="FILE",
        help="part poses from AprilTags, on a real bench: a copy of config/tags.yaml",
    )


def end_as_by_ctrl_c() -> None:
    """Has `kill` and a closed terminal end the nodes in order, as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def positive(text: str) -> int:
    """A whole number of at least 1.

    Raises:
        ArgumentTypeError: for anything else.
    """
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number of at least 0.

    Raises:
        ArgumentTypeError: for anything else.
    """
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)
