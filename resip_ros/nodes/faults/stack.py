# SPDX-License-Identifier: Apache-2.0
"""A running simulated stack with faulty nodes in place of three real ones, and who breaks it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import events, messages
from resip_ros.core.action import encode_action
from resip_ros.core.chunking import NS_PER_S, ActionChunk, tick_of, tick_start_ns
from resip_ros.core.errors import ResipError
from resip_ros.core.kinematics import forward, tcp_velocity
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes import topics
from resip_ros.nodes.faults.corruption import Corruption
from resip_ros.nodes.faults.switch import FAULT_TOPIC, TRUTH_TOPIC
from resip_ros.nodes.launcher import Launcher
from resip_ros.nodes.operator import BASE, BRIDGE, Operator
from resip_ros.nodes.table import Graph, NodeEntry

FAULTY = ("sim_world", "residual_policy", "franka_bridge")
CHUNK_STEPS = 8
MOVING_M_S = 0.08
"""A fault comes when the hand moves at least this fast: a resting arm would prove nothing."""
WARM_UP_S = 0.5
MOVING_TIMEOUT_S = 120.0


class FaultyEntry(NodeEntry):
    """A node of the table, run by its faulty version."""

    @property
    def module(self) -> str:
        """Python module that runs it."""
        return f"resip_ros.nodes.faults.faulty_{self.name}"


class FaultyGraph(Graph):
    """The simulated graph, three nodes of which can be broken from within."""

    def entries(self) -> tuple[NodeEntry, ...]:
        """Nodes of this graph, in the order they are started."""
        return tuple(
            FaultyEntry(**vars(entry)) if entry.name in FAULTY else entry
            for entry in super().entries()
        )


class FaultOperator(Operator):
    """An operator who also sees what the arm truly does, and can disturb its topics."""

    def __init__(self, graph: Graph, task: TaskSpec, check: Callable[[], None]) -> None:
        super().__init__(graph, task, check)
        self.truth: list[list[float]] = []
        """Rows [time s, q (7,) rad, dq (7,) rad/s] since ``start``."""
        self.exchanged: list[str] = []
        """Policies that a node has changed to since ``start``."""
        self._node.create_subscription(
            Float64MultiArray,
            TRUTH_TOPIC,
            lambda message: self.truth.append(list(message.data)),
            topics.stream_qos(100),
        )
        self._faults = self._node.create_publisher(String, FAULT_TOPIC, topics.latched_qos(1))
        self._chunks = self._node.create_publisher(
            JointTrajectory, topics.ACTION_CHUNK, topics.stream_qos()
        )

    @property
    def time_s(self) -> float:
        """Simulated time of the newest row, s."""
        return self.truth[-1][0]

    def fault_details(self) -> list[str]:
        """Texts of the fault events since ``start``."""
        return [event.detail for event in self._events if event.kind == events.FAULT]

    def start(self) -> None:
        """Lets the policies lead the arm until its hand moves fast enough.

        Raises:
            ResipError: when it does not.
        """
        self.truth.clear()
        self._events.clear()
        self.exchanged.clear()
        self.call(BRIDGE, "start")
        self.wait(self._is_moving, MOVING_TIMEOUT_S, "the hand's first motion")

    def _on_active(self, message: String) -> None:
        super()._on_active(message)
        self.exchanged.append(message.data)

    def _is_moving(self) -> bool:
        if self.fault_details():
            raise ResipError(f"the arm held before the fault: {self.fault_details()[0]}")
        if not self.truth or self.time_s - self.truth[0][0] < WARM_UP_S:
            return False
        row = np.asarray(self.truth[-1])
        return bool(np.linalg.norm(tcp_velocity(row[1:8], row[8:])[0]) > MOVING_M_S)

    def watch(
        self, seconds: float, wall_s: float, on_turn: Callable[[], object] = lambda: None
    ) -> None:
        """Handles messages for so much simulated time, and at most so much wall time.

        Args:
            seconds: Simulated time, s.
            wall_s: Wall time, s, for a world that stands still.
            on_turn: Called some twenty times a second; ends the watch with True.
        """
        end_s = self.time_s + seconds
        # a time-out is what is expected of a world that was stopped
        with contextlib.suppress(ResipError):
            self.wait(lambda: on_turn() is True or self.time_s >= end_s, wall_s, "watching")

    def set_fault(self, text: str) -> None:
        """Tells the faulty nodes what to break; empty: nothing."""
        self._faults.publish(String(data=text))

    def exchange(self, policy: Path) -> None:
        """Asks base_policy to take another policy; whether it does is seen in ``active``."""
        wish = Parameter("policy.checkpoint", value=str(policy))
        request = SetParameters.Request(parameters=[wish.to_parameter_msg()])
        self._ask(SetParameters, f"{BASE}/set_parameters", request)

    def send_chunk(self, kind: str) -> None:
        """Publishes a wrong chunk beside the base policy's, newer than the one of this step."""
        wrong = Corruption(kind).apply(self._make_message(CHUNK_STEPS, after_ns=1))
        if wrong is not None:
            self._chunks.publish(wrong)

    @contextlib.contextmanager
    def intrude(self) -> Iterator[Callable[[], None]]:
        """A second publisher of actions; gives a function that sends a harmless one."""
        publisher = self._node.create_publisher(
            JointTrajectory, topics.NET_ACTION, topics.stream_qos()
        )
        try:
            yield lambda: publisher.publish(self._make_message(1))
        finally:
            self._node.destroy_publisher(publisher)

    def _make_message(self, steps: int, after_ns: int = 0) -> JointTrajectory:
        """Actions that stay at the present pose, stamped just after the present step's start."""
        rate_hz = self._task.rate_hz
        pos, rot = forward(np.asarray(self.truth[-1][1:8]))
        action = encode_action(pos, rot, np.array(-1.0))
        start_ns = tick_start_ns(tick_of(round(self.time_s * NS_PER_S), rate_hz), rate_hz)
        message = JointTrajectory()
        chunk = ActionChunk(start_ns + after_ns, np.tile(action, (steps, 1)), rate_hz)
        messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint)
        return message


class Stack:
    """The graph's processes and its operator."""

    def __init__(
        self,
        graph: FaultyGraph,
        task: TaskSpec,
        log_dir: Path,
        is_interrupted: Callable[[], bool],
    ) -> None:
        """Starts the processes and waits until they are ready.

        Raises:
            ResipError: when they are not.
            KeyboardInterrupt: here or later, once ``is_interrupted``.
        """
        self._parts = contextlib.ExitStack()
        self._is_interrupted = is_interrupted
        self.is_broken = False
        """Whether a process was ended on purpose, so that its end is no crash."""
        try:
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
            self._parts.callback(rclpy.try_shutdown)
            self._launcher = self._parts.enter_context(Launcher(graph, log_dir))
            self.operator = FaultOperator(graph, task, self._check)
            self._parts.callback(self.operator.close)
            self.operator.wait_until_ready()
        except BaseException:
            self._parts.close()
            raise

    def _check(self) -> None:
        if self._is_interrupted():
            raise KeyboardInterrupt
        if not self.is_broken:
            self._launcher.check()

    def signal(self, node: str, number: signal.Signals) -> None:
        """Signals one process of a node, and not its group."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process(node).pid, number)

    def fill_disk(self, node: str) -> None:
        """Lets a node write no more to any file."""
        resource.prlimit(self._process(node).pid, resource.RLIMIT_FSIZE, (1, 1))

    def has_ended(self, node: str) -> bool:
        """Whether a node's process has ended."""
        return self._process(node).poll() is not None

    def _process(self, node: str) -> subprocess.Popen[bytes]:
        (process,) = [n.process for n in self._launcher.nodes if n.entry.name == node]
        return process

    def close(self) -> None:
        """Ends everything; stopped processes are continued, or they could not end."""
        for node in self._launcher.nodes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(node.process.pid, signal.SIGCONT)
        self._parts.close()
