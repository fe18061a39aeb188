# SPDX-License-Identifier: Apache-2.0
"""The command lines of reinforcement learning: start, interruption, errors."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import tyro
from rich.console import Console

from resip_ros.core.errors import ResipError
from training.distributed import join_group, leave_group
from training.rl_run import Method, Run
from training.rl_settings import RunArgs

A = TypeVar("A", bound=RunArgs)


class StopRequest:
    """While entered, the first Ctrl-C or SIGTERM only sets a flag: nothing is cut in half.

    The run ends after its current step (PPO: rollout); a second Ctrl-C ends it at once and
    leaves the previous checkpoint.
    """

    def __init__(self, console: Console) -> None:
        self.asked = False
        self._console = console
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether the run was asked to stop."""
        return self.asked

    def _handle(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._console.print("stopping after this step; again to stop at once")


def _run(args: A, build_method: Callable[[A, Console], Method]) -> int:
    torch.set_num_threads(1)  # the physics and the learner's thread have the cores
    group = join_group()
    console = Console(soft_wrap=True, quiet=not group.leads)
    session = Run(args, build_method(args, console), console, group)
    try:
        with StopRequest(console) as stop:
            session.train(stop)
            metrics = session.finish(interrupted=stop.asked)
    finally:
        session.close()
    if metrics is not None:
        console.print(f"bundle {metrics['bundle']}, logs {args.run_folder}")
    if stop.asked:
        console.print("interrupted: continue with --resume")
    return 130 if stop.asked else 0


def run_command(
    args_type: type[A],
    build_method: Callable[[A, Console], Method],
    argv: list[str] | None,
    name: str,
    description: str | None,
) -> int:
    """Train as the command line says.

    Args:
        args_type: Its fields are the options.
        build_method: What is learned.
        argv: Command line; that of the process by default.
        name: Module of the command.
        description: Shown by --help.

    Returns:
        The exit code.
    """
    try:
        args = tyro.cli(args_type, args=argv, description=description, prog=f"python -m {name}")
        return _run(args, build_method)
    except ResipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        print("error: nobody reads the output; the newest checkpoint is valid", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: {error}; free some space or choose another --run-dir; the newest "
            "checkpoint is still valid: continue with --resume",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted: the newest checkpoint is still valid, --resume", file=sys.stderr)
        return 130
    finally:
        leave_group()
