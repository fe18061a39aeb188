# SPDX-License-Identifier: Apache-2.0
"""The one table of nodes that `resip up`, the launch file and the console commands share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resip_ros.core.paths import config_path

SIM = "sim"
LOOPBACK_PREFIX = "127.0"
# Transports with room for pictures. One BLAS thread a process: the nodes are many, the networks
# small.
ENVIRONMENT = {
    "FASTDDS_DEFAULT_PROFILES_FILE": str(config_path("fastdds.xml")),
    "OMP_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class NodeEntry:
    """One node: its command, and which graphs it is part of."""

    name: str
    """Node name, and console command."""
    purpose: str
    sim_only: bool = False
    """Only with the simulated robot; a real bench has the real thing."""
    needs_gl: bool = False
    """Draws pictures; the graph runs without it where there is no OpenGL."""
    records: bool = False
    """Only in graphs that are recorded."""
    without: str = ""
    """What the graph lacks when this node has ended; empty: it cannot go on."""
    parameters: tuple[str, ...] = field(default=())
    """Names in ``Graph.parameters`` that this node takes."""

    @property
    def module(self) -> str:
        """Python module with its ``main``."""
        return f"resip_ros.nodes.{self.name}_node"


NODES: tuple[NodeEntry, ...] = (
    # first, so that it sees everything and is ended last
    NodeEntry(
        "recorder",
        "episodes to bags",
        records=True,
        without="no recording",
        parameters=("task", "record.directory"),
    ),
    NodeEntry(
        "sim_world",
        "simulated robot, parts and clock",
        sim_only=True,
        parameters=("task", "robot.address"),
    ),
    NodeEntry(
        "camera",
        "pictures of the simulated bench",
        sim_only=True,
        needs_gl=True,
        without="no pictures",
        parameters=("task",),
    ),
    NodeEntry(
        "base_policy",
        "chunks of actions from the base policy",
        parameters=("task", "policy.checkpoint"),
    ),
    NodeEntry(
        "residual_policy",
        "correction of every step",
        parameters=("task", "policy.checkpoint"),
    ),
    NodeEntry(
        "franka_bridge",
        "the arm's state out, gated commands in",
        parameters=("robot.address", "shadow"),
    ),
)


@dataclass(frozen=True)
class Graph:
    """Which graph to start."""

    task: str
    robot: str
    """``sim`` or the address of the robot."""
    policy: str
    """Policy folder or bundle."""
    shadow: bool = False
    cameras: bool = True
    """Whether nodes that draw pictures are started."""
    record: str = ""
    """Folder for bags; empty: nothing is recorded."""

    @property
    def is_sim(self) -> bool:
        """Whether the robot is simulated."""
        return self.robot == SIM

    @property
    def parameters(self) -> dict[str, str | bool]:
        """Values that nodes take by name, see ``NodeEntry.parameters``."""
        return {
            "task": self.task,
            "robot.address": simulated_address() if self.is_sim else self.robot,
            "policy.checkpoint": self.policy,
            "shadow": self.shadow,
            "record.directory": self.record,
        }

    @property
    def params_file(self) -> Path:
        """The task's YAML file."""
        return config_path(f"{self.task}.yaml")

    def entries(self) -> tuple[NodeEntry, ...]:
        """Nodes of this graph, in the order they are started."""
        return tuple(
            entry
            for entry in NODES
            if (self.is_sim or not entry.sim_only)
            and (self.cameras or not entry.needs_gl)
            and (self.record or not entry.records)
        )

    def node_parameters(self, entry: NodeEntry) -> dict[str, str | bool]:
        """Parameters of one node beside its YAML section."""
        own: dict[str, str | bool] = {"use_sim_time": self.is_sim}
        return own | {name: self.parameters[name] for name in entry.parameters}


def simulated_address() -> str:
    """Loopback address of the simulated robot: one for each ROS domain, so domains do not meet."""
    return f"{LOOPBACK_PREFIX}.{int(os.environ.get('ROS_DOMAIN_ID') or 0)}.1"


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Environment of the nodes: ours under what the user has set."""
    return {**ENVIRONMENT, **base}
