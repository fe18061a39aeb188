# SPDX-License-Identifier: Apache-2.0
"""Parameters of the graph's other nodes, asked for once each and kept up to date."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.msg import ParameterEvent
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_profile_parameter_events


class NodeParameters:
    """Node to parameters, for nodes in this node's namespace."""

    def __init__(self, node: Node) -> None:
        """Args: node: Owner of clients and subscription."""
        self._node = node
        self._namespace = node.get_namespace()
        self._asked: set[str] = {node.get_name()}
        self._waiting: dict[str, Client] = {}
        self.values: dict[str, dict[str, Any]] = {}
        node.create_subscription(
            ParameterEvent, "/parameter_events", self._on_event, qos_profile_parameter_events
        )

    def look(self) -> None:
        """Asks nodes that have appeared."""
        for name, namespace in self._node.get_node_names_and_namespaces():
            if namespace == self._namespace and name not in self._asked:
                self._asked.add(name)
                self._waiting[name] = self._node.create_client(
                    ListParameters, f"{name}/list_parameters"
                )
        for name, client in list(self._waiting.items()):
            # a node without parameter services is never ready, and that costs nothing
            if client.service_is_ready():
                del self._waiting[name]
                self._ask(name, client)

    def _ask(self, name: str, lister: Client) -> None:
        getter = self._node.create_client(GetParameters, f"{name}/get_parameters")

        def on_names(future: Any) -> None:
            names = [n for n in future.result().result.names if not n.startswith("qos_overrides")]
            request = GetParameters.Request(names=names)
            getter.call_async(request).add_done_callback(lambda f: on_values(names, f))

        def on_values(names: list[str], future: Any) -> None:
            values = [parameter_value_to_python(v) for v in future.result().values]
            self._store(name, dict(zip(names, values, strict=True)))

        lister.call_async(ListParameters.Request()).add_done_callback(on_names)

    def _on_event(self, event: ParameterEvent) -> None:
        namespace, _, name = event.node.rpartition("/")
        if namespace != self._namespace or name not in self.values:
            return
        changed = [*event.new_parameters, *event.changed_parameters]
        try:
            self._store(name, {p.name: parameter_value_to_python(p.value) for p in changed})
        except RuntimeError as error:
            # a type that this ROS does not know
            self._node.get_logger().error(f"{event.node}: {error}", throttle_duration_sec=1.0)

    def _store(self, name: str, values: dict[str, Any]) -> None:
        plain = {
            n: list(v) if hasattr(v, "__len__") and not isinstance(v, str) else v
            for n, v in values.items()
        }
        self.values.setdefault(name, {}).update(plain)
