# SPDX-License-Identifier: Apache-2.0
"""The one table of nodes that `resip up`, the launch file and the console commands share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import config_path, models_dir, share_dir
from resip_ros.core.tasks import get_task, split_addresses
from resip_ros.nodes.bench_files import read_cameras, read_tags
from resip_ros.nodes.topics import NAMESPACE
from resip_ros.policy.bundle_folder import CARD_FILE

SIM = "sim"
LOOPBACK_PREFIX = "127.0"
CHECKPOINT = "policy.checkpoint"
AUTOSTART = "autostart"
CAMERA_FILE, TAG_FILE = "camera.config", "tag.config"
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
    needs_policy: bool = False
    """Only in graphs with a policy; a person may lead the arm without one."""
    file: str = ""
    """Parameter, in ``Graph.parameters``, that names a file of the real bench; with the file the
    node is in any graph, without it only where it has a simulation."""
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
        parameters=("task", "record.directory", AUTOSTART),
    ),
    NodeEntry(
        "sim_world",
        "simulated robot, parts and clock",
        sim_only=True,
        parameters=("task", "robot.address"),
    ),
    NodeEntry(
        "camera",
        "pictures of the cameras, or of the simulated bench",
        sim_only=True,
        needs_gl=True,
        file=CAMERA_FILE,
        without="no pictures",
        parameters=("task",),
    ),
    NodeEntry(
        "tag_poses",
        "poses of tagged parts, from cameras",
        file=TAG_FILE,
        parameters=("task",),
    ),
    NodeEntry(
        "base_policy",
        "chunks of actions from the base policy",
        needs_policy=True,
        parameters=("task", CHECKPOINT, AUTOSTART),
    ),
    NodeEntry(
        "residual_policy",
        "correction of every step",
        needs_policy=True,
        parameters=("task", CHECKPOINT, AUTOSTART),
    ),
    NodeEntry(
        "franka_bridge",
        "the arm's state out, gated commands in",
        parameters=("task", "robot.address", "shadow", AUTOSTART),
    ),
)


@dataclass(frozen=True)
class Graph:
    """Which graph to start."""

    task: str
    robot: str
    """``sim`` or the address of the robot; of each arm, with commas between."""
    policy: str
    """Policy folder or bundle; empty: a person leads the arm (`resip teleop`)."""
    shadow: bool = False
    cameras: bool = True
    """Whether nodes that draw pictures are started."""
    record: str = ""
    """Folder for bags; empty: nothing is recorded."""
    base_checkpoint: str = ""
    """Policy folder or base bundle of base_policy alone; empty: that of ``policy``."""
    residual_checkpoint: str = ""
    """Policy folder or base bundle of residual_policy alone; empty: that of ``policy``."""
    namespace: str = NAMESPACE
    use_sim_time: bool | None = None
    """Whether nodes follow /clock; None: with the simulated robot."""
    params_file: str = ""
    """YAML file whose values win over those of config/."""
    autostart: bool = True
    """Whether nodes with a lifecycle configure and activate themselves."""
    camera_config: str = ""
    """YAML file of real cameras, or its name in config/; empty: the simulated bench's, if any."""
    tag_config: str = ""
    """YAML file of tags on the parts, or its name in config/; empty: no tags are looked for."""

    def __post_init__(self) -> None:
        """Refuses what could not run.

        Raises:
            ConfigError: for a name or file that does not fit.
        """
        if self.is_sim and self.tag_config:
            raise ConfigError(
                "the simulated bench tells the parts' poses itself; tags are of a real one"
            )
        if not self.is_sim:
            split_addresses(self.robot, get_task(self.task))
        if self.record and self.namespace != NAMESPACE:
            raise ConfigError(
                f"recordings are read in namespace {NAMESPACE!r}, got {self.namespace!r}; "
                "record without another namespace, or use `ros2 bag record`"
            )
        if self.params_file and not Path(self.params_file).is_file():
            raise ConfigError(f"params_file {self.params_file} is not a file; give a YAML file")
        if self.camera_config:
            read_cameras(self.camera_config)
        if self.tag_config:
            read_tags(self.tag_config, self.task)

    @property
    def is_sim(self) -> bool:
        """Whether the robot is simulated."""
        return self.robot == SIM

    @property
    def parameters(self) -> dict[str, str | bool]:
        """Values that nodes take by name, see ``NodeEntry.parameters``."""
        return {
            "task": self.task,
            "robot.address": self.robot_addresses,
            CHECKPOINT: self.policy,
            "shadow": self.shadow,
            "record.directory": self.record,
            AUTOSTART: self.autostart,
            CAMERA_FILE: self.camera_config,
            TAG_FILE: self.tag_config,
        }

    @property
    def robot_addresses(self) -> str:
        """Addresses of the arms, with commas between."""
        if not self.is_sim:
            return self.robot
        return ",".join(simulated_address(i) for i in range(len(get_task(self.task).arms)))

    @property
    def params_files(self) -> tuple[Path, ...]:
        """YAML files of the nodes' parameters; values of a later one win."""
        own = share_dir() / "config" / f"{self.task}.yaml"
        given = (Path(self.params_file),) if self.params_file else ()
        return (config_path("graph.yaml"), *([own] if own.is_file() else []), *given)

    def entries(self) -> tuple[NodeEntry, ...]:
        """Nodes of this graph, in the order they are started."""
        return tuple(
            entry
            for entry in NODES
            if (self._has_file(entry) or self._is_simulated(entry))
            and (self.record or not entry.records)
            and (self.policy or not entry.needs_policy)
        )

    def _has_file(self, entry: NodeEntry) -> bool:
        return bool(entry.file and self.parameters[entry.file])

    def _is_simulated(self, entry: NodeEntry) -> bool:
        """Whether a node is in the graph without a file of the bench."""
        if entry.sim_only:
            return self.is_sim and (self.cameras or not entry.needs_gl)
        return not entry.file

    def node_parameters(self, entry: NodeEntry) -> dict[str, str | bool]:
        """Parameters of one node beside its YAML section."""
        is_simulated = self.is_sim if self.use_sim_time is None else self.use_sim_time
        own: dict[str, str | bool] = {"use_sim_time": is_simulated}
        own |= {name: self.parameters[name] for name in entry.parameters}
        if self._has_file(entry):
            own[entry.file] = self.parameters[entry.file]
        checkpoints = {
            "base_policy": self.base_checkpoint,
            "residual_policy": self.residual_checkpoint,
        }
        if checkpoints.get(entry.name):
            own[CHECKPOINT] = checkpoints[entry.name]
        return own

    def require_policy(self) -> None:
        """Looks whether there is a policy, before a process is started.

        Raises:
            ConfigError: saying which tasks come with one, and how to get one.
        """
        given = {self.policy, self.base_checkpoint, self.residual_checkpoint} - {""}
        for folder in map(Path, sorted(given)):
            if (folder / CARD_FILE).is_file() or (folder / "base" / CARD_FILE).is_file():
                continue
            shipped = sorted(
                path.parent.parent.name for path in models_dir().glob(f"*/base/{CARD_FILE}")
            )
            raise ConfigError(
                f"no policy for {self.task} in {folder}; tasks that come with one: "
                f"{', '.join(shipped)}. Train one (`python -m training.bc --help`) and give its "
                "folder: `resip up --policy DIR`, `ros2 launch ... policy:=DIR`"
            )


def simulated_address(arm: int = 0) -> str:
    """Loopback address of a simulated arm: others in each ROS domain, so domains do not meet."""
    return f"{LOOPBACK_PREFIX}.{int(os.environ.get('ROS_DOMAIN_ID') or 0)}.{arm + 1}"


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Environment of the nodes: ours under what the user has set."""
    return {**ENVIRONMENT, **base}
