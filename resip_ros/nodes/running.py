# SPDX-License-Identifier: Apache-2.0
"""A graph with somebody at it: its processes and an operator, ended in order whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TypeVar

import rclpy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.tasks import get_task
from resip_ros.nodes.launcher import Launcher
from resip_ros.nodes.operator import Operator
from resip_ros.nodes.table import ENVIRONMENT, Graph

MIN_FREE_BYTES = 50_000_000
AnyOperator = TypeVar("AnyOperator", bound=Operator)


@contextlib.contextmanager
def running_graph(
    graph: Graph,
    out: Path,
    notes: list[str],
    console: Console,
    kind: type[AnyOperator] = Operator,
) -> Iterator[AnyOperator]:
    """Starts the nodes of a graph, and ends them when left, the arm first.

    Args:
        graph: The nodes.
        out: Directory; logs go to ``out/logs``.
        notes: Takes what the graph has to do without.
        console: Told what is started.
        kind: Of operator.

    Raises:
        ResipError: when they cannot be started; KeyboardInterrupt comes out of the operator's
            waiting only.
    """
    # this process talks to the nodes, so it needs the same transport
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    with (
        _ros(),
        _noted_interrupts() as check_interrupt,
        Launcher(graph, out / "logs", notes.append) as launcher,
    ):

        def check() -> None:
            check_interrupt()
            launcher.check()

        operator = kind(graph, get_task(graph.task), check)
        try:
            console.print(f"starting {launcher.names()}; logs in {launcher.log_dir}")
            yield operator
        finally:
            operator.close()


@contextlib.contextmanager
def _ros() -> Iterator[None]:
    """ROS without signal handlers of its own: Ctrl-C must end the nodes in order."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    finally:
        rclpy.try_shutdown()


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[Callable[[], None]]:
    """While entered, Ctrl-C and SIGTERM are noted; the function that is given raises then.

    An exception that a handler raises inside rclpy's executor is sometimes lost there. A second
    one ends the program at once.
    """
    asked = threading.Event()
    previous = {}

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    def check() -> None:
        if asked.is_set():
            asked.clear()  # once: what follows has to end the nodes
            raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, note) for number in numbers}
    try:
        yield check
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def check_out(out: Path) -> None:
    """Finds out before the robot moves that results could not be written.

    Raises:
        ResipError: for a place that cannot be written or a full disk.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out).free
    except OSError as error:
        raise ResipError(
            f"cannot write to {out}: {error.strerror}; choose another --out directory"
        ) from error
    if free < MIN_FREE_BYTES or not os.access(out, os.W_OK):
        raise ResipError(
            f"{out} has {free // 1_000_000} MB free and may be read-only; expected at least "
            f"{MIN_FREE_BYTES // 1_000_000} MB to write; free some space or choose another --out"
        )


def ask_for_clear_way() -> None:
    """Waits for a person's consent to move a real arm.

    Raises:
        ConfigError: when nobody can give it.
    """
    try:
        input("The arm will move. Clear its way, keep the stop in reach, then press Enter. ")
    except EOFError:
        raise ConfigError(
            "nobody confirmed that the arm may move: there is no terminal to ask on; start from "
            "one, or pass --shadow (no motion) or --headless (moves without asking)"
        ) from None
