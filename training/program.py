# SPDX-License-Identifier: Apache-2.0
"""How the command-line programs of training end."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from resip_ros.core.errors import ConfigError, ResipError

Settings = TypeVar("Settings")
MAX_THREADS = 256
"""Beyond any machine this runs on; far more threads than cores bring a machine to a standstill."""
_SEEDS = 2**32


def check_numbers(settings: object, *names: str) -> None:
    """Refuse settings that must be positive and finite, where they are given.

    Raises:
        ConfigError: naming the first as a flag.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"--{name.replace('_', '-')}: got {value}, expected more than 0")


def check_run(seed: int, **threads: int | None) -> None:
    """Refuse a seed that generators do not take, and thread counts that no machine stands.

    Raises:
        ConfigError: naming it as a flag.
    """
    if not 0 <= seed < _SEEDS:
        raise ConfigError(f"--seed: got {seed}, expected 0 to {_SEEDS - 1}")
    for name, count in threads.items():
        if count is not None and not 1 <= count <= MAX_THREADS:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag}: got {count}, expected 1 to {MAX_THREADS}")


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
    except BrokenPipeError:
        print(f"{name}: nobody reads the output; {interrupted}", file=sys.stderr)
        return 1
    return 0
