# SPDX-License-Identifier: Apache-2.0
"""What the nodes of base and residual policy have in common."""

from __future__ import annotations

from std_msgs.msg import String

from resip_ros.core import events
from resip_ros.nodes import latency, topics
from resip_ros.nodes.diagnostics import Health
from resip_ros.nodes.episode import EpisodeSwitch
from resip_ros.nodes.lifecycle import ManagedNode
from resip_ros.nodes.observation_input import ObservationInput
from resip_ros.nodes.policy_slot import PolicySlot


class PolicyNode(ManagedNode):
    """A policy that sees an observation a step, and reports each episode's figures.

    ``configure`` of a subclass makes the slot, calls ``open_figures``, and makes switch and input.
    """

    _slot: PolicySlot | None = None
    _switch: EpisodeSwitch
    _input: ObservationInput

    def open_figures(self, latency_name: str, *counted: str) -> None:
        """Begins to count and to time, and offers the episode's report.

        Args:
            latency_name: Of the times in ``_latencies_ms``, ms.
            counted: Keys of ``_counts``.
        """
        self._latency_name = latency_name
        self._latencies_ms: list[float] = []
        self._trace = latency.Trace()
        self._counts = dict.fromkeys(counted, 0)
        self._reports = self.create_lifecycle_publisher(
            String, topics.EPISODE_REPORT, topics.latched_qos()
        )

    def clear_figures(self) -> None:
        """An episode begins."""
        self._latencies_ms = []
        self._trace.clear()
        self._counts = dict.fromkeys(self._counts, 0)

    def report(self, **more: int) -> None:
        """An episode has ended; ``more`` counts are sent too."""
        report = events.NodeReport(
            self.get_name(),
            self._counts | more,
            {self._latency_name: list(self._latencies_ms)},
            self._trace.rows(),
        )
        self._reports.publish(String(data=report.to_json()))

    def activate(self) -> None:
        """Tells which policy will act."""
        assert self._slot is not None
        self._slot.announce()

    def deactivate(self) -> None:
        """Leaves a running episode: without chunks or actions the bridge holds the arm."""
        self._switch.end()

    def diagnose(self, health: Health) -> None:
        """Policy, episode, inputs and counts."""
        assert self._slot is not None
        self._slot.diagnose(health)
        self._switch.diagnose(health)
        self._input.diagnose(health)
        for name, count in self._counts.items():
            health.value(name, count)

    def close(self) -> None:
        """Waits for a policy that is being loaded."""
        if self._slot is not None:
            self._slot.close()
        self._slot = None
