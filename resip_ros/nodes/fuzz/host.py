# SPDX-License-Identifier: Apache-2.0
"""A real node on an executor, and who sends to it, one message after the other."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from resip_ros.core.errors import ResipError
from resip_ros.nodes.node_main import StackNode
from resip_ros.nodes.topics import NAMESPACE

ARRIVAL_S = 5.0
CALL_S = 30.0


@dataclass
class Outcome:
    """What one node withstood."""

    node: str
    what: str
    count: int = 0
    notes: list[str] = field(default_factory=list[str])
    """For people, not failures."""
    failures: list[str] = field(default_factory=list[str])
    """What must not happen; the first ones."""

    def fail(self, text: str) -> None:
        """Notes a failure; a thousand equal ones are one."""
        if len(self.failures) < 5 and text not in self.failures:
            self.failures.append(text)

    def line(self) -> str:
        """For people."""
        words = "; ".join(["FAILED", *self.failures] if self.failures else self.notes)
        return f"{self.node:16} {self.count:7} {self.what}: {words}"


class Host:
    """Spins the node under test beside a node that sends to it."""

    def __init__(self, node: StackNode) -> None:
        """Args: node: Made, and not begun."""
        self.node = node
        self.sender = Node(
            "sender",
            namespace=NAMESPACE,
            parameter_overrides=[node.get_parameter("use_sim_time")],
        )
        self.executor = SingleThreadedExecutor()
        for each in (node, self.sender):
            self.executor.add_node(each)
        self._publishers: dict[str, Publisher] = {}
        self._arrived: Counter[str] = Counter()

    def close(self) -> None:
        """Ends both nodes."""
        self.node.end()
        for each in (self.node, self.sender):
            self.executor.remove_node(each)
            each.destroy_node()
        self.executor.shutdown(timeout_sec=1.0)

    def now_ns(self) -> int:
        """ROS time, ns."""
        return self.sender.get_clock().now().nanoseconds

    def spin_until(self, done: Callable[[], object], timeout_s: float, what: str) -> None:
        """Runs callbacks until ``done``.

        Raises:
            ResipError: on time-out.
        """
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise ResipError(f"{what}: not within {timeout_s:.0f} s")
            self.executor.spin_once(timeout_sec=0.01)

    def spin(self, seconds: float) -> None:
        """Runs callbacks for so long on the wall clock."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=0.005)

    def inputs(self) -> dict[str, Subscription]:
        """Topic to subscription of the node, without its parameter events."""
        return {
            s.topic_name: s
            for s in self.node.subscriptions
            if s.msg_type is not ParameterEvent and s.topic_name != "/clock"
        }

    def send(self, topic: str, message: Any) -> None:
        """Publishes, and runs callbacks until the node has handled it.

        Raises:
            Exception: what the node's callback let through.
        """
        publisher = self._publisher(topic)
        before = self._arrived[topic]
        publisher.publish(message)
        self.spin_until(lambda: self._arrived[topic] > before, ARRIVAL_S, f"{topic} to arrive")

    def adopt(self, topic: str, publisher: Publisher) -> None:
        """Sends through a publisher that is there already: a second one may not be allowed."""
        self._publishers[topic] = publisher

    def _publisher(self, topic: str) -> Publisher:
        subscription = self.inputs()[topic]
        self._count(topic, subscription)
        if topic not in self._publishers:
            given = subscription.qos_profile
            qos = QoSProfile(depth=1, reliability=given.reliability, durability=given.durability)
            made = self.sender.create_publisher(subscription.msg_type, topic, qos)
            self._publishers[topic] = made
            self.spin_until(made.get_subscription_count, ARRIVAL_S, f"{topic} to be connected")
        return self._publishers[topic]

    def _count(self, topic: str, subscription: Subscription) -> None:
        """Counts what the subscription's callback has handled."""
        handle = subscription.callback
        if getattr(handle, "is_counting", False):
            return

        def counting(message: Any) -> None:
            try:
                handle(message)  # type: ignore[call-arg]
            finally:
                self._arrived[topic] += 1

        counting.is_counting = True  # type: ignore[attr-defined]
        subscription.callback = counting

    def call(self, kind: type, service: str, request: Any, timeout_s: float = CALL_S) -> Any:
        """Calls a service of the node under test, by its relative name.

        Raises:
            ResipError: when no answer comes.
        """
        name = f"{self.node.get_name()}/{service}"
        client = self.sender.create_client(kind, name)
        try:
            self.spin_until(client.service_is_ready, timeout_s, f"{name} to appear")
            future = client.call_async(request)
            self.spin_until(future.done, timeout_s, f"{name} to answer")
            return future.result()
        finally:
            self.sender.destroy_client(client)

    def parameter_setter(self) -> Callable[[list[Parameter]], list[bool]]:
        """Sets parameters through the node's service, as `ros2 param set` does."""
        name = f"{self.node.get_name()}/set_parameters"
        client = self.sender.create_client(SetParameters, name)
        self.spin_until(client.service_is_ready, CALL_S, f"{name} to appear")

        def set_parameters(parameters: list[Parameter]) -> list[bool]:
            messages = [parameter.to_parameter_msg() for parameter in parameters]
            future = client.call_async(SetParameters.Request(parameters=messages))
            self.spin_until(future.done, CALL_S, f"{name} to answer")
            answer = future.result()
            assert answer is not None
            return [result.successful for result in answer.results]

        return set_parameters


def describe(error: BaseException) -> str:
    """Error and the place of ours where it came from."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "resip_ros" in f.filename]
    place = f" at {ours[-1].filename.rpartition('/')[2]}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}: {str(error)[:160]}{place}"
