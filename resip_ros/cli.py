# SPDX-License-Identifier: Apache-2.0
"""The `resip` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resip_ros.bags import commands as bag_commands
from resip_ros.core.errors import ResipError
from resip_ros.core.paths import models_dir
from resip_ros.core.tasks import TASKS, get_task
from resip_ros.nodes.arguments import (
    add_cameras_and_tags,
    end_as_by_ctrl_c,
    natural,
    positive,
)
from resip_ros.nodes.bench import command as bench_command
from resip_ros.nodes.faults import command as faults_command
from resip_ros.nodes.teleop import command as teleop_command

EXIT_ERROR = 1
EXIT_INTERRUPTED = 130

UP_HELP = """\
Starts every node of a task in a process of its own, without a ROS installation, and runs
episodes: home the arm, place the parts, start the policies, watch until success or time limit.

  resip up one_leg --robot sim                      simulated FR3, shipped policy, one episode
  resip up one_leg --robot sim --episodes 10 --headless
  resip up one_leg --robot 172.16.0.2 --shadow      real sensors, policies run, arm never moves

Leaves in DIR: result.json, episode.png, episode.mp4 and logs/<node>.log.
Exit status 0 when the stack ran, whatever the outcome of the episodes.
"""


def build_parser() -> argparse.ArgumentParser:
    """Parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="resip", description="Residual policies for precise assembly on a Franka arm."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser(
        "up",
        help="run a task on the simulated or the real robot",
        description=UP_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    up.add_argument("task", metavar="TASK", help=f"one of: {', '.join(TASKS)}")
    up.add_argument(
        "--robot",
        default="sim",
        metavar="sim|IP",
        help="sim, or the robot's address; of two arms IP,IP (default sim)",
    )
    up.add_argument("--episodes", type=positive, default=1, metavar="N", help="default 1")
    up.add_argument(
        "--minutes",
        type=positive,
        metavar="M",
        help="instead: episodes for so long; memory, threads, files and latencies are watched "
        "for growth (soak.json)",
    )
    up.add_argument("--headless", action="store_true", help="no question, no window: for scripts")
    up.add_argument(
        "--policy", type=Path, metavar="DIR", help="policy folder or bundle (default models/TASK)"
    )
    up.add_argument("--shadow", action="store_true", help="run the policies, never move the arm")
    up.add_argument(
        "--out", type=Path, metavar="DIR", help="where results go (default out/up/TASK)"
    )
    up.add_argument("--record", type=Path, metavar="DIR", help="record one bag an episode")
    up.add_argument(
        "--seed", type=natural, default=0, metavar="S", help="first episode's seed (default 0)"
    )
    add_cameras_and_tags(up)
    bag_commands.add_parsers(commands)
    faults_command.add_parser(commands)
    teleop_command.add_parser(commands)
    bench_command.add_parser(commands)
    _add_cameras_parser(commands)
    doctor = commands.add_parser(
        "doctor",
        help="check this machine and say what to mend",
        description="Tries what the stack needs (ROS 2 between two processes, pictures, the "
        "robot's protocol, speed, the shipped policies) and says how to mend what fails.",
    )
    doctor.add_argument("--robot", metavar="IP", help="also try a real robot's control port")
    doctor.add_argument("--json", action="store_true", help="machine-readable findings")
    return parser


def _add_cameras_parser(commands: Any) -> None:
    cameras = commands.add_parser(
        "cameras",
        help="measure how the pictures of running cameras arrive",
        description="Listens to cameras that run and prints rate, loss, gaps and age of each. "
        "Start them with `resip up`, or alone: camera --ros-args -p camera.config:=FILE",
    )
    cameras.add_argument(
        "cameras",
        nargs="*",
        default=["front", "wrist"],
        metavar="CAMERA",
        help="default front wrist",
    )
    cameras.add_argument("--seconds", type=float, default=10.0, metavar="S", help="default 10")
    cameras.add_argument("--compressed", action="store_true", help="the JPEG topics")
    cameras.add_argument("--sim", action="store_true", help="follow the simulated graph's clock")
    cameras.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")


def run_up(arguments: argparse.Namespace) -> int:
    """`resip up`."""
    end_as_by_ctrl_c()
    # before the imports below, so that a mistyped task costs no seconds
    get_task(arguments.task)
    from rich.console import Console

    from resip_ros.nodes import up
    from resip_ros.nodes.running import ask_for_clear_way

    options = up.UpOptions(
        task=arguments.task,
        robot=arguments.robot,
        policy=(arguments.policy or models_dir() / arguments.task).resolve(),
        out=arguments.out or Path("out") / "up" / arguments.task,
        episodes=arguments.episodes,
        headless=arguments.headless,
        shadow=arguments.shadow,
        seed=arguments.seed,
        record=arguments.record,
        minutes=arguments.minutes,
        cameras=arguments.cameras,
        tags=arguments.tags,
    )
    console = Console(highlight=False, soft_wrap=True)
    if not options.headless and options.robot != "sim" and not options.shadow:
        ask_for_clear_way()
    result = up.run(options, console)
    document = result.to_dict()
    console.print(
        f"success {sum(e.success for e in result.episodes)} of {len(result.episodes)}, "
        f"late ticks {result.late_ticks} of {result.ticks}, "
        f"chunk ms {document['chunk_latency_ms']}, action ms {document['action_latency_ms']}, "
        f"real-time factor {result.realtime_factor}"
    )
    return EXIT_INTERRUPTED if len(result.episodes) < options.episodes else 0


def run_record(arguments: argparse.Namespace) -> int:
    """`resip record`."""
    # before rclpy is imported, so that a mistyped task costs no seconds
    get_task(arguments.task)
    from resip_ros.nodes import recorder_node

    return recorder_node.run(
        arguments.directory, arguments.task, arguments.operator, arguments.pre_roll, arguments.sim
    )


def main(args: Sequence[str] | None = None) -> int:
    """Entry point.

    Returns:
        Exit status: 0 when the command did its work, 1 after an error told in one line, 130
        after Ctrl-C.
    """
    arguments = build_parser().parse_args(args)
    try:
        if arguments.command == "doctor":
            from resip_ros import doctor

            given = ["--robot", arguments.robot] if arguments.robot else []
            return doctor.main(given + (["--json"] if arguments.json else []))
        if arguments.command == faults_command.NAME:
            return faults_command.run(arguments)
        if arguments.command == "cameras":
            from resip_ros.nodes import camera_check

            return camera_check.run(arguments)
        if arguments.command == bench_command.NAME:
            return bench_command.run(arguments)
        if arguments.command == teleop_command.NAME:
            return teleop_command.run(arguments)
        if arguments.command == "record":
            return run_record(arguments)
        if arguments.command in bag_commands.NAMES:
            return bag_commands.run(arguments)
        return run_up(arguments)
    except ResipError as error:
        print(f"resip {arguments.command}: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print(f"resip {arguments.command}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
