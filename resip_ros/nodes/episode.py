# SPDX-License-Identifier: Apache-2.0
"""Whether an episode runs, as every node that acts on it learns from topic episode/event."""

from __future__ import annotations

from collections.abc import Callable

from std_msgs.msg import String
from std_srvs.srv import SetBool

from resip_ros.core import events
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import DataError
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import WARN, Health
from resip_ros.nodes.lifecycle import ManagedNode

# events are kept for nodes that join later; a start from long ago must not move the arm
MAX_AGE_NS = 2 * NS_PER_S


class EpisodeSwitch:
    """Follows the bridge's started and stopped events while its node is active and enabled.

    Whoever was inactive or disabled at a start waits for the next one.
    """

    def __init__(
        self, node: ManagedNode, on_start: Callable[[int], None], on_stop: Callable[[], None]
    ) -> None:
        """Subscribes, and offers ~/enable.

        Args:
            node: Owner of the subscription.
            on_start: Called with its time (ns) when an episode begins.
            on_stop: Called when a running episode ends, also by a fault.
        """
        self.is_running = False
        self.is_enabled = True
        self._node = node
        self._on_start, self._on_stop = on_start, on_stop
        node.create_service(SetBool, "~/enable", self._enable)
        node.create_subscription(
            String, topics.EPISODE_EVENT, self._on_event, topics.latched_qos()
        )

    def _on_event(self, message: String) -> None:
        try:
            event = events.parse_event(message.data)
        except DataError as error:
            self._node.get_logger().error(f"{topics.EPISODE_EVENT}: {error}")
            return
        age_ns = self._node.get_clock().now().nanoseconds - event.stamp_ns
        if event.kind == events.STARTED and age_ns < MAX_AGE_NS:
            if self.is_enabled and self._node.is_active:
                self._on_start(event.stamp_ns)
                self.is_running = True
        elif event.kind in (events.STOPPED, events.FAULT):
            self.end()

    def diagnose(self, health: Health) -> None:
        """Whether an episode runs, and whether the node takes part."""
        health.value("episode", "running" if self.is_running else "none")
        if not self.is_enabled:
            health.tell(WARN, "output is switched off; call ~/enable to switch it on")

    def end(self) -> None:
        """Takes no more part in an episode that runs."""
        if self.is_running:
            self.is_running = False
            self._on_stop()

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Output on or off; on again acts from the next start."""
        self.is_enabled = request.data
        if not request.data:
            self.end()
        response.success = True
        response.message = "acts from the next ~/start on" if request.data else "publishes nothing"
        return response
