# SPDX-License-Identifier: Apache-2.0
"""Names and quality of service of every topic, once. Names are relative to the namespace.

Publishers offer RELIABLE everywhere: a best-effort subscriber still matches, while a reliable
subscriber of a best-effort publisher silently receives nothing.
"""

from __future__ import annotations

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

from resip_ros.core.arms import Arm

NAMESPACE = "fr3"

JOINT_STATES = "joint_states"
CURRENT_POSE = "current_pose"
CURRENT_TWIST = "current_twist"
EXTERNAL_WRENCH = "external_wrench"
GRIPPER_STATE = "gripper/state"
ACTION_CHUNK = "base_policy/action_chunk"
NET_ACTION = "residual_policy/action"
CORRECTION = "residual_policy/residual"
BASE_ACTION = "residual_policy/base_action"
TELEOP_ACTION = "teleop/action"
TELEOP_ACTIVE = "teleop/active"
EPISODE_EVENT = "episode/event"
EPISODE_REPORT = "episode/report"
POLICY_ACTIVE = "policy/active"
POLICY_READY = "policy/ready"
SIM_STATE = "sim/state"
CLOCK = "/clock"
DIAGNOSTICS = "/diagnostics"


def of_arm(arm: Arm, name: str) -> str:
    """Topic of one arm, such as ``joint_states``; below the arm's name where it has one."""
    return f"{arm.name}/{name}" if arm.name else name


def part_pose(part: str) -> str:
    """Topic of a part's pose."""
    return f"parts/{part}/pose"


def image(camera: str) -> str:
    """Topic of a camera's colour image, as realsense-ros names it."""
    return f"{camera}/color/image_raw"


def compressed(camera: str) -> str:
    """Topic of the same image as JPEG, as image_transport names it."""
    return f"{image(camera)}/compressed"


def info(camera: str) -> str:
    """Topic of a camera's calibration."""
    return f"{camera}/color/camera_info"


def stream_qos(depth: int = 1) -> QoSProfile:
    """Values that supersede each other."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE
    )


def latched_qos(depth: int = 8) -> QoSProfile:
    """Events that a node which joins later must still learn of."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def image_qos() -> QoSProfile:
    """What the cameras offer; a slow subscriber may lag by five pictures."""
    return stream_qos(5)
