# SPDX-License-Identifier: Apache-2.0
"""Runs one node in this process until it is asked to end."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.executors import ExternalShutdownException
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from resip_ros.core.errors import ResipError
from resip_ros.nodes.diagnostics import Diagnostics, Health
from resip_ros.nodes.topics import NAMESPACE

EXIT_ERROR = 1
POLICY_NICE = -10
"""Policies compute for some milliseconds in every step, and the arm waits for them."""
BACKGROUND_NICE = 19
PARENT_VARIABLE = "RESIP_PARENT_PID"
"""Environment: process number of the `resip up` without which a node must not go on."""


def _keep_the_clock(parameters: list[Parameter]) -> SetParametersResult:
    """Another clock under a running node would make every stamp and watchdog wrong."""
    if any(parameter.name == "use_sim_time" for parameter in parameters):
        return SetParametersResult(successful=False, reason="use_sim_time is chosen at the start")
    return SetParametersResult(successful=True)


class StackNode(Node):
    """A node of the stack: parameters in the constructor, everything else in ``configure``."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        """Args: name of the node; keyword arguments of rclpy's Node."""
        kwargs.setdefault("namespace", NAMESPACE)
        super().__init__(
            name,
            automatically_declare_parameters_from_overrides=True,
            **kwargs,
        )
        self.add_on_set_parameters_callback(_keep_the_clock)
        self._diagnostics = Diagnostics(self, self._assess)

    @abstractmethod
    def configure(self) -> None:
        """Builds what the node needs and opens its topics."""

    @abstractmethod
    def close(self) -> None:
        """Refuses new work and ends its threads. Called once for every ``configure``."""

    def diagnose(self, health: Health) -> None:
        """Adds to a report on this node; called while it is configured, and must not block."""

    def _assess(self, health: Health) -> None:
        self.diagnose(health)

    def begin(self) -> None:
        """What a process does with its node before it spins."""
        self.configure()

    def end(self) -> None:
        """What it does when it has spun."""
        self.close()


def spin_until(node: StackNode, stop: threading.Event) -> None:
    """Runs callbacks on one thread until ``stop`` is set.

    Ends by a flag: shutting rclpy down under a spinning executor leaves it at full load. The
    events executor needs half the CPU time of the wait-set one at the rates of this graph.
    """
    executor = EventsExecutor()
    executor.add_node(node)
    parent = os.environ.get(PARENT_VARIABLE)
    try:
        while not stop.is_set() and rclpy.ok():
            if parent is not None and os.getppid() != int(parent):
                # a killed `resip up` leaves nobody who would stop the arm
                return
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.remove_node(node)
        executor.shutdown(timeout_sec=1.0)


def run_node(make_node: Callable[[], StackNode], nice: int = 0) -> int:
    """Main function of a node's command: begin, spin, end.

    Args:
        make_node: Makes the node, after ROS has been initialised.
        nice: Scheduling priority of the process, -20 first to 19 last. Where the user may not
            raise it, it stays at 0: then a policy step waits its turn on a machine of few cores.

    Returns:
        Exit status: 0 after a requested end, 1 after an error that was reported in one line.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # before any thread is made: threads inherit it
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    stop = threading.Event()
    configured = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        if not configured.is_set():
            # connecting and loading may take long, and must not delay the end
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node: StackNode | None = None
    try:
        node = make_node()
        node.begin()
        configured.set()
        # a full collection over what the imports left takes 80 ms, most of a policy step
        gc.collect()
        gc.freeze()
        spin_until(node, stop)
        return 0
    except (ExternalShutdownException, KeyboardInterrupt):
        return 0
    except ResipError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return EXIT_ERROR
    finally:
        configured.set()
        if node is not None:
            node.end()
            node.destroy_node()
        rclpy.try_shutdown()
