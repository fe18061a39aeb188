# SPDX-License-Identifier: Apache-2.0
"""A real node on an executor, and who sends to it, one message after the other."""

from __future__ import annotations

import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from rcl_interfaces.srv import SetParameters
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from resip_ros.core.errors import ResipError
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


class _Counted:
    """A subscription's callback, and how many messages it has handled."""

    def __init__(self, handle: Callable[[Any], object]) -> None:
        """Args: handle: The callback."""
        self._handle = handle
        self.count = 0

    def __call__(self, message: Any) -> None:
        """Handles a message."""
        try:
            self._handle(message)
        finally:
            self.count += 1


class Host:
    """Spins the node under test beside a node that sends to it, on the executor of the stack."""

    def __init__(self, node: Node, end: Callable[[], object]) -> None:
        """Takes the node, not begun, and what its owner does before destroying it."""
        self.node, self._end = node, end
        self.sender = Node(
            "sender",
            namespace=NAMESPACE,
            parameter_overrides=[node.get_parameter("use_sim_time")],
        )
        self.executor = EventsExecutor()
        for each in (node, self.sender):
            self.executor.add_node(each)
        self._publishers: dict[str, Publisher] = {}
        self._known: list[Subscription] = []
        self._inputs: dict[str, list[Subscription]] = {}
        self._counted: dict[Subscription, _Counted] = {}

    def close(self) -> None:
        """Ends both nodes."""
        self._end()
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

    def inputs(self) -> dict[str, list[Subscription]]:
        """Topic to subscriptions of the node; nodes subscribe while they run, too."""
        known = list(self.node.subscriptions)
        if known != self._known:
            self._known, self._inputs = known, defaultdict(list)
            for subscription in known:
                if subscription.topic_name != "/clock":
                    self._inputs[subscription.topic_name].append(subscription)
        return self._inputs

    def send(self, topic: str, message: Any) -> None:
        """Publishes, and runs callbacks until every subscription of the topic has handled it.

        Raises:
            Exception: what the node's callback let through.
        """
        publisher = self._publisher(topic)
        counters = [self._count(each) for each in self.inputs()[topic]]
        wanted = [counter.count + 1 for counter in counters]

        def is_handled() -> bool:
            return all(c.count >= n for c, n in zip(counters, wanted, strict=True))

        publisher.publish(message)
        self.spin_until(is_handled, ARRIVAL_S, f"{topic} to arrive")

    def adopt(self, topic: str, publisher: Publisher) -> None:
        """Sends through a publisher that is there already: a second one may not be allowed."""
        self._publishers[topic] = publisher

    def _publisher(self, topic: str) -> Publisher:
        subscriptions = self.inputs()[topic]
        if topic not in self._publishers:
            given = subscriptions[0].qos_profile
            qos = QoSProfile(depth=1, reliability=given.reliability, durability=given.durability)
            made = self.sender.create_publisher(subscriptions[0].msg_type, topic, qos)
            self._publishers[topic] = made
        made = self._publishers[topic]
        if any(subscription not in self._counted for subscription in subscriptions):
            self.spin_until(
                lambda: made.get_subscription_count() >= len(subscriptions),
                ARRIVAL_S,
                f"{topic} to be connected",
            )
        return made

    def _count(self, subscription: Subscription) -> _Counted:
        """Counts what the subscription's callback has handled, from now on."""
        if subscription not in self._counted:
            # rclpy's type allows callbacks that take more; ours take a message
            counted = _Counted(cast("Callable[[Any], object]", subscription.callback))
            subscription.callback = counted
            self._counted[subscription] = counted
        return self._counted[subscription]

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
