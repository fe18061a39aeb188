# SPDX-License-Identifier: Apache-2.0
"""Everything that subscribes or has parameters, made as its process makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.node import Node
from rclpy.parameter import Parameter

from resip_ros.core.config import load_control_config
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.nodes.base_policy_node import BasePolicyNode
from resip_ros.nodes.camera_node import CameraNode
from resip_ros.nodes.franka_bridge_node import FrankaBridgeNode
from resip_ros.nodes.fuzz.good import CAMERA_MATRIX, GoodMessages
from resip_ros.nodes.fuzz.people import PEOPLE
from resip_ros.nodes.fuzz.policies import write_policy, write_student
from resip_ros.nodes.node_main import StackNode
from resip_ros.nodes.recorder_node import RecorderNode
from resip_ros.nodes.residual_policy_node import ResidualPolicyNode
from resip_ros.nodes.sim_world_node import SimWorldNode
from resip_ros.nodes.table import CHECKPOINT, simulated_address
from resip_ros.nodes.tag_poses_node import TagPosesNode
from resip_ros.nodes.teleop.gamepad import JoyDevice
from resip_ros.nodes.teleop_node import TeleopNode
from resip_ros.sim.scene import build_scene

TWO_ARMS = "biman_insert"
TWO, PICTURES, TAKE_OVER = " (two arms)", " (pictures)", " (take-over)"
"""Behind the name of a node that is made in another way."""
ENABLE = "enable"
"""A SetBool; the others are triggers."""
SERVICES = {
    "base_policy": (ENABLE,),
    "residual_policy": (ENABLE,),
    "recorder": ("start", "save", "discard"),
    "sim_world": ("place_parts", "undo"),
}
"""Services of nodes beside the bridge's."""


@dataclass
class Subject:
    """What is fuzzed."""

    node: Node
    begin: Callable[[], object]
    """What its process does before it spins."""
    end: Callable[[], object]
    good: GoodMessages
    use: Callable[[], object] = field(default=lambda: None)
    """Makes what its owner makes of what has come; at the end of each round of good messages."""
    services: tuple[str, ...] = ()
    """Called between messages and settings."""


def tag_picture() -> np.ndarray:
    """Tag 0, seen at a slant by a camera of ``CAMERA_MATRIX``, (240, 320, 3) RGB."""
    family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    marker = np.asarray(cv2.aruco.generateImageMarker(family, 0, 160))
    paper = np.pad(marker, 40, constant_values=255)
    turn, place = np.array([np.pi - 0.7, 0.2, 0.0]), np.array([0.0, 0.0, 0.09])
    half = 0.5 * 0.0195 * 240 / 160
    square = half * np.array([[-1.0, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
    seen = np.asarray(cv2.projectPoints(square, turn, place, CAMERA_MATRIX, np.zeros(5))[0])
    corners = np.array([[0, 0], [239, 0], [239, 239], [0, 239]], np.float32)
    way = cv2.getPerspectiveTransform(corners, seen.reshape(4, 2).astype(np.float32))
    grey = cv2.warpPerspective(paper, way, (320, 240), borderValue=110.0)
    return np.repeat(np.asarray(grey, dtype=np.uint8)[..., None], 3, axis=2)


def _state_size(task: TaskSpec) -> int:
    """Values on topic sim/state."""
    model = build_scene(task.name, load_control_config()).compile()
    return 1 + model.nq + 3 * model.nmocap


def good_values(name: str, policy: Path, folder: Path) -> tuple[str, dict[str, Any]]:
    """Task, and parameters beside it, with which a node begins, by the name of its subject."""
    task = TWO_ARMS if name.endswith(TWO) else "one_leg"
    plain = name.partition(" ")[0]
    if plain in ("base_policy", "residual_policy"):
        if name.endswith(TWO):
            policy = write_policy(folder / "two_arms", get_task(task))
        elif name.endswith(PICTURES):
            policy = write_student(folder / "student", get_task(task))
        return task, {CHECKPOINT: str(policy)}
    if plain == "recorder":
        return task, {"record.directory": str(folder / "bags")}
    if plain == "tag_poses":
        return "peg_in_hole", {}
    if plain == "teleop":
        return task, {"device": "joy", "takes_over": name.endswith(TAKE_OVER)}
    if plain == "franka_bridge":
        # refused, but after all other parameters were read
        return task, {"robot.address": ""}
    if plain == "sim_world":
        return task, {"robot.address": simulated_address()}
    return task, {}


NODES: dict[str, type[StackNode]] = {
    "franka_bridge": FrankaBridgeNode,
    "base_policy": BasePolicyNode,
    "residual_policy": ResidualPolicyNode,
    "recorder": RecorderNode,
    "teleop": TeleopNode,
    "camera": CameraNode,
    "tag_poses": TagPosesNode,
    "sim_world": SimWorldNode,
}
LISTENERS = (
    "base_policy",
    "base_policy" + PICTURES,
    "base_policy" + TWO,
    "residual_policy",
    "residual_policy" + TWO,
    "recorder",
    "recorder" + TWO,
    "teleop",
    "teleop" + TAKE_OVER,
    "camera",
    "tag_poses",
    *PEOPLE,
)
"""All that subscribe but the bridge; those of PEOPLE have no parameters."""


def make_node(name: str, overrides: dict[str, Any]) -> StackNode:
    """A node by its subject's name, not begun, quiet."""
    kind: Any = NODES[name.partition(" ")[0]]
    parameters = [Parameter(key, value=value) for key, value in overrides.items()]
    if kind is TeleopNode:
        # a terminal's keys are no part of this
        node = TeleopNode(parameter_overrides=parameters)
        node.device = JoyDevice(node, None)
    else:
        node = kind(parameter_overrides=parameters)
    # tens of thousands of refusals
    node.get_logger().set_level(LoggingSeverity.FATAL)
    return node


def make_subject(name: str, policy: Path, folder: Path) -> Subject:
    """Any subject by name, not begun."""
    if name in PEOPLE:
        task = get_task(TWO_ARMS if name.endswith(TWO) else "one_leg")
        person = PEOPLE[name](task, folder)
        person.node.get_logger().set_level(LoggingSeverity.FATAL)
        return Subject(
            person.node, person.begin, person.close, GoodMessages(task, tag_picture()), person.use
        )
    task, values = good_values(name, policy, folder)
    node, spec = make_node(name, {"task": task} | values), get_task(task)
    return Subject(
        node,
        node.begin,
        node.end,
        GoodMessages(spec, tag_picture(), _state_size(spec) if name == "camera" else 0),
        services=SERVICES.get(name.partition(" ")[0], ()),
    )
