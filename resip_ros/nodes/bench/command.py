# SPDX-License-Identifier: Apache-2.0
"""`resip bench-eval` on the command line; light, so that other commands do not wait for it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import get_task, require_one_arm
from resip_ros.nodes.arguments import (
    add_cameras_and_tags,
    add_task_and_robot,
    end_as_by_ctrl_c,
    natural,
)

NAME = "bench-eval"
HELP = """\
Tries every policy from the same starts and counts how far each came: the part in the corner,
grasp, insertion, screwing, completion. On a real bench the next start is drawn into the camera's
picture; you place the parts, press Enter, and press a number for each stage that is reached. The
simulated bench places the parts and judges by itself.

  resip bench-eval one_leg --robot sim --policy models/one_leg/base models/one_leg --grid 10
  resip bench-eval one_leg --robot 172.16.0.2 --policy models/one_leg --grid out/bench/grid.yaml \\
      --cameras my_cameras.yaml --camera front --extrinsics front.yaml

The same command goes on where it was interrupted. Leaves in DIR: grid.yaml, trials.jsonl, bags/,
next_start.jpg, bench.json.
"""


def add_parser(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        NAME,
        help="compare policies from the same starts, on the simulated or the real bench",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_task_and_robot(parser)
    parser.add_argument(
        "--policy", type=Path, nargs="+", required=True, metavar="DIR", help="folders or bundles"
    )
    parser.add_argument(
        "--grid", required=True, metavar="FILE|N", help="a grid's file, or the number of starts"
    )
    parser.add_argument("--seed", type=natural, default=0, metavar="S", help="of a new grid")
    add_cameras_and_tags(parser)
    parser.add_argument(
        "--camera",
        metavar="NAME",
        help="that the start is drawn into (default: overview of --cameras, else its front, else "
        "its first; without that file front, in simulation overview)",
    )
    parser.add_argument(
        "--extrinsics",
        type=Path,
        metavar="FILE",
        help="where a real camera stands, YAML: NAME: {position: [x, y, z], quat_xyzw: [...]}",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where results go (default out/bench/TASK)"
    )


def run(arguments: argparse.Namespace) -> int:
    """`resip bench-eval`.

    Raises:
        ResipError: when it could not run.
    """
    end_as_by_ctrl_c()
    require_one_arm(get_task(arguments.task))
    is_terminal = sys.stdin.isatty()
    if arguments.robot != "sim" and not is_terminal:
        raise ConfigError("a real bench needs a person at a terminal; start it from one")
    from rich.console import Console

    from resip_ros.nodes.bench.bench import BenchOptions
    from resip_ros.nodes.bench.run import run_bench
    from resip_ros.nodes.bench_files import view_camera
    from resip_ros.nodes.running import ask_for_clear_way
    from resip_ros.nodes.table import SIM
    from resip_ros.nodes.teleop.terminal_keys import TerminalKeys

    is_sim = arguments.robot == SIM
    camera = view_camera(
        arguments.cameras, "overview" if is_sim else "front", arguments.camera or ""
    )
    if not is_sim:
        ask_for_clear_way()
    options = BenchOptions(
        task=arguments.task,
        robot=arguments.robot,
        policies=tuple(arguments.policy),
        grid=arguments.grid,
        out=arguments.out or Path("out") / "bench" / arguments.task,
        seed=arguments.seed,
        camera=camera,
        extrinsics=arguments.extrinsics,
        camera_config=arguments.cameras,
        tag_config=arguments.tags,
    )
    keys = TerminalKeys(sys.stdin.fileno()) if is_terminal else None
    try:
        run_bench(options, Console(highlight=False, soft_wrap=not is_terminal), keys)
    finally:
        if keys is not None:
            keys.close()
    return 0
