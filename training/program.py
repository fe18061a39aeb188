# SPDX-License-Identifier: Apache-2.0
"""How the command-line programs of training end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from resip_ros.core.errors import ResipError

Settings = TypeVar("Settings")


def run_with_settings(
    name: str,
    settings: type[Settings],
    work: Callable[[Settings], object],
    description: str | None,
    argv: Sequence[str] | None = None,
    interrupted: str = "interrupted",
) -> int:
    """Run a program that one dataclass configures, which the command line fills.

    Args:
        name: Its module, for example `training.collect`.
        settings: The dataclass.
        work: What to do with it.
        description: Of the help text.
        argv: The command line; that of the process by default.
        interrupted: Told after Ctrl-C.

    Returns:
        As run_program.
    """
    return run_program(
        name,
        lambda: work(
            tyro.cli(settings, args=argv, description=description, prog=f"python -m {name}")
        ),
        interrupted,
    )


def run_program(name: str, work: Callable[[], object], interrupted: str = "interrupted") -> int:
    """Run a program; a wrong input or Ctrl-C ends it with one line, not a traceback.

    Args:
        name: Begins that line.
        work: Reads the command line and does everything.
        interrupted: Told after Ctrl-C.

    Returns:
        Exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    try:
        work()
    except ResipError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr)
        return 130
    return 0
