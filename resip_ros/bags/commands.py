# SPDX-License-Identifier: Apache-2.0
"""Arguments of `resip record`, `resip repair`, `resip review`, and what the last two do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from resip_ros.core.errors import ConfigError, ResipError

NAMES = ("repair", "review")

RECORD_HELP = """\
Records the running graph: one rosbag2 folder (MCAP) an episode, with all its topics.
An episode begins and ends with the bridge's start and stop, or by services of the node
/fr3/recorder: ~/start, ~/save, ~/discard. On a terminal: s starts, Enter saves, d discards,
q ends. Discarded episodes are moved to DIR/.trash, never deleted.

  resip record demos --task one_leg --operator mia
  resip up one_leg --robot sim --episodes 10 --headless --record demos
"""


def add_parsers(commands: Any) -> None:
    """Adds the three subcommands to the parser of `resip`."""
    record = commands.add_parser(
        "record",
        help="record episodes of the running graph",
        description=RECORD_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    record.add_argument("directory", type=Path, metavar="DIR", help="where the bags go")
    record.add_argument("--task", required=True, metavar="TASK", help="for example one_leg")
    record.add_argument("--operator", default="", metavar="NAME", help="who demonstrates")
    record.add_argument(
        "--pre-roll",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds kept from before a start (default 2)",
    )
    record.add_argument("--sim", action="store_true", help="the graph's clock is simulated")
    repair = commands.add_parser(
        "repair",
        help="rescue bags after a crash; originals are kept",
        description="Writes a new bag of everything that can be read and puts it in the place of "
        "the original, which is moved to .originals beside it. A whole bag is not touched.",
    )
    repair.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="a bag's folder")
    review = commands.add_parser(
        "review", help="list recorded episodes; draw, label, drop or bring back some"
    )
    review.add_argument("directory", type=Path, metavar="DIR", help="where the bags are")
    review.add_argument(
        "--drop", nargs="+", metavar="NAME", default=[], help="to the trash folder"
    )
    review.add_argument(
        "--keep", nargs="+", metavar="NAME", default=[], help="back from the trash"
    )
    review.add_argument(
        "--success", nargs="+", metavar=("yes|no NAME", "NAME"), default=[], help="label episodes"
    )
    review.add_argument(
        "--plot",
        nargs="*",
        metavar="NAME",
        help="draw these episodes, or all: pictures of the cameras, motion, gripper and events "
        "over time, one PNG each in DIR/review",
    )


def run(arguments: argparse.Namespace) -> int:
    """Carries out `resip repair` or `resip review`.

    Returns:
        Exit status: 0, or 1 when a bag could not be rescued or drawn.

    Raises:
        ResipError: told in one line by the caller.
    """
    return {"repair": _repair, "review": _review}[arguments.command](arguments)


def _repair(arguments: argparse.Namespace) -> int:
    from resip_ros.bags.repair import repair

    failed = 0
    for path in arguments.bags:
        try:
            sys.stdout.write(f"{path}: {repair(path).text}\n")
        except ResipError as error:
            failed += 1
            sys.stderr.write(f"resip repair: {error}\n")
    return 1 if failed else 0


def _review(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from resip_ros.bags import review

    directory = arguments.directory
    if arguments.success:
        answer, *names = arguments.success
        if answer not in ("yes", "no") or not names:
            raise ConfigError("--success takes yes or no and then names: --success yes NAME...")
        review.label(directory, names, answer == "yes")
    for path in [*review.keep(directory, arguments.keep), *review.drop(directory, arguments.drop)]:
        sys.stdout.write(f"moved to {path}\n")
    rows = [review.describe(path) for path in review.find_bags(directory)]
    # a file or pipe gets whole lines, not lines cut at 80 columns
    console = Console(highlight=False) if sys.stdout.isatty() else Console(width=200)
    console.print(review.build_table(rows))
    if arguments.plot is None:
        return 0
    chosen = review.choose(directory, arguments.plot) if arguments.plot else None
    return _plot(chosen or [row.path for row in rows])


def _plot(bags: list[Path]) -> int:
    from resip_ros.bags.review_plot import draw_review

    failed = 0
    for bag in bags:
        try:
            path, notes = draw_review(bag)
            sys.stdout.write(f"{path}{''.join(f'; {note}' for note in notes)}\n")
        except ResipError as error:
            failed += 1
            sys.stderr.write(f"resip review: {error}\n")
    return 1 if failed else 0
