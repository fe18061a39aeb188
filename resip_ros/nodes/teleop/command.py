# SPDX-License-Identifier: Apache-2.0
"""`resip teleop` on the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import get_task, require_one_arm
from resip_ros.nodes.arguments import (
    add_cameras_and_tags,
    add_task_and_robot,
    end_as_by_ctrl_c,
    natural,
    positive,
)

NAME = "teleop"
DEVICES = ("keyboard", "joy", "gamepad", "spacemouse")
DESCRIPTION = """\
Lead the arm by hand, with or without a policy to take over from; each episode can be recorded as
a demonstration.

  resip teleop one_leg --robot sim                             keyboard, simulated FR3
  resip teleop one_leg --robot sim --record demos              and one bag an episode
  resip teleop one_leg --robot sim --policy models/one_leg     take over whenever you like
  resip teleop one_leg --robot 172.16.0.2 --device spacemouse --record demos \\
      --cameras my_cameras.yaml                                and pictures in the bags

Without your hand on the device the arm holds still. In simulation, and with --cameras, the bench
is shown in the browser page that is printed. A device that is unplugged stops the arm.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        NAME,
        help="lead the arm by keyboard, gamepad or SpaceMouse; take over from a policy",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_task_and_robot(parser)
    parser.add_argument(
        "--device", default="keyboard", choices=DEVICES, help="what you hold (default keyboard)"
    )
    parser.add_argument(
        "--policy", type=Path, metavar="DIR", help="policy folder to take over from"
    )
    parser.add_argument("--record", type=Path, metavar="DIR", help="record one bag an episode")
    add_cameras_and_tags(parser)
    parser.add_argument(
        "--episodes", type=positive, metavar="N", help="end after N episodes (default: until q)"
    )
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="S", help="first episode's seed"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="logs and result.json (default out/teleop/TASK)"
    )


def run(arguments: argparse.Namespace) -> int:
    """`resip teleop`.

    Raises:
        ResipError: when it could not run.
    """
    end_as_by_ctrl_c()
    require_one_arm(get_task(arguments.task))
    if arguments.device == "keyboard" and not sys.stdin.isatty():
        raise ConfigError("--device keyboard needs a terminal; start it from one")
    from rich.console import Console

    from resip_ros.nodes.running import ask_for_clear_way
    from resip_ros.nodes.teleop.devices import open_device
    from resip_ros.nodes.teleop.person import Person
    from resip_ros.nodes.teleop.session import SessionOptions, run_session

    options = SessionOptions(
        task=arguments.task,
        robot=arguments.robot,
        out=arguments.out or Path("out") / NAME / arguments.task,
        policy=arguments.policy,
        record=arguments.record,
        episodes=arguments.episodes,
        seed=arguments.seed,
        camera_config=arguments.cameras,
        tag_config=arguments.tags,
    )
    name = arguments.device
    if options.robot != "sim":
        ask_for_clear_way()
    console = Console(highlight=False, soft_wrap=True)
    # before any process is started; the joy topic wants a node
    device = None if name == "joy" else open_device(name, None)
    try:
        result = run_session(options, lambda graph: Person(graph, name, device), console)
    finally:
        if device is not None:
            device.close()
    document = result.to_dict()
    console.print(
        f"{len(result.run.episodes)} episodes, {result.discarded} discarded; press to command ms "
        f"{document['key_latency_ms']}, observation to reference ms "
        f"{document['action_latency_ms']}"
    )
    for note in result.run.notes:
        console.print(f"note: {note}")
    return 0
