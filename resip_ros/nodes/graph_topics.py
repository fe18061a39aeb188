# SPDX-License-Identifier: Apache-2.0
"""Raw subscriptions to every topic of the graph, as topics come."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from resip_ros.bags.layout import POLICY_ACTIVE, Topic, is_known

OUTSIDE = ("/clock", "/diagnostics", "/parameter_events", "/tf", "/tf_static")
"""Topics that belong to the graph although they are not in its namespace."""
DEPTH = 200
"""Messages that may wait for the callback; pictures come some times a second."""


class GraphTopics:
    """Subscribes without decoding to what somebody publishes in the namespace."""

    def __init__(self, node: Node, take: Callable[[Topic, bytes], None]) -> None:
        """Takes what to do with messages; ``look`` subscribes.

        Args:
            node: Owner of the subscriptions.
            take: Called with topic and CDR bytes of each message.
        """
        self._node, self._take = node, take
        self._prefix = node.get_namespace().rstrip("/") + "/"
        self._subscriptions: dict[str, Subscription] = {}
        self._refused: set[str] = set()

    @property
    def names(self) -> list[str]:
        """Topics that are subscribed to."""
        return sorted(self._subscriptions)

    def look(self, later: Collection[str] = ()) -> None:
        """Subscribes to topics that have appeared, except those that are left for later."""
        for name, types in self._node.get_topic_names_and_types():
            if name in self._subscriptions or name in self._refused or name in later:
                continue
            if not name.startswith(self._prefix) and name not in OUTSIDE:
                continue
            publishers = self._node.get_publishers_info_by_topic(name)
            if not publishers:
                continue
            kind = message_class(types[0]) if len(types) == 1 and is_known(types[0]) else None
            if kind is None:
                self._refused.add(name)
                self._node.get_logger().error(f"{name}: type {types} is unknown; NOT recorded")
                continue
            profiles = [publisher.qos_profile for publisher in publishers]
            latched = all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
            reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
            self._subscribe(Topic(name, types[0], latched, name == POLICY_ACTIVE), kind, reliable)

    def _subscribe(self, topic: Topic, kind: type, reliable: bool) -> None:
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=(
                ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
            ),
        )

        def callback(data: bytes) -> None:
            self._take(topic, data)

        self._subscriptions[topic.name] = self._node.create_subscription(
            kind, topic.name, callback, qos, raw=True
        )


def message_class(msgtype: str) -> type | None:
    """Class of ``package/msg/Name``; None where its package is not installed."""
    package, _, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None
