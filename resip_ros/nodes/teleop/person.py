# SPDX-License-Identifier: Apache-2.0
"""A person as the leader of a session."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.parameter import Parameter

from resip_ros.nodes.table import Graph
from resip_ros.nodes.teleop.device import Device
from resip_ros.nodes.teleop_node import TeleopNode


class Person:
    """The teleoperation node with the device that the person holds."""

    is_person = True

    def __init__(self, graph: Graph, device: str, opened: Device | None = None) -> None:
        """Opens the device.

        Args:
            graph: The graph that runs; with a policy the person takes over from it.
            device: Its name.
            opened: The device, where it is open already.

        Raises:
            ConfigError: when it is not there.
        """
        values = {
            "use_sim_time": graph.is_sim,
            "task": graph.task,
            "device": device,
            "takes_over": bool(graph.policy),
        }
        self._node = TeleopNode(
            opened,
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
        )
        try:
            self._node.begin()
        except Exception:
            self.end()
            raise

    @property
    def node(self) -> Node:
        """The teleoperation node."""
        return self._node

    @property
    def _device(self) -> Device:
        assert self._node.device is not None, "configure() opens it"
        return self._node.device

    @property
    def help(self) -> str:
        """The device's."""
        return self._device.help

    def commands(self) -> list[str]:
        """The device's keys."""
        return self._device.commands()

    def begin(self, episode: int) -> None:
        """Nothing to prepare."""

    def end(self) -> None:
        """Gives device and terminal back."""
        self._node.end()
        self._node.destroy_node()
