# SPDX-License-Identifier: Apache-2.0
"""Names inside a recording, and what rosbag2 wants to know about a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2.metadata import dump_qos_v9
from rosbags.typesys import Stores, get_typestore

from resip_ros.core.errors import DataError

NAMESPACE = "/fr3"
JOINT_STATES = f"{NAMESPACE}/joint_states"
NET_ACTION = f"{NAMESPACE}/residual_policy/action"
BASE_ACTION = f"{NAMESPACE}/residual_policy/base_action"
EPISODE_EVENT = f"{NAMESPACE}/episode/event"
POLICY_ACTIVE = f"{NAMESPACE}/policy/active"
TELEOP_ACTIVE = f"{NAMESPACE}/teleop/active"

METADATA = "metadata.yaml"
SIDECAR = "episode.yaml"
TRASH = ".trash"
ORIGINALS = ".originals"
REVIEW = "review"
"""Folder of the bags' pictures."""

_ROSBAG2_VERSION = 9
_NEVER = QosTime(9223372036, 854775807)


def part_pose(part: str) -> str:
    """Topic of a part's pose."""
    return f"{NAMESPACE}/parts/{part}/pose"


def image(camera: str) -> str:
    """Topic of a camera's pictures."""
    return f"{NAMESPACE}/{camera}/color/image_raw"


def compressed_image(camera: str) -> str:
    """Topic of the same pictures as JPEG."""
    return f"{image(camera)}/compressed"


@dataclass(frozen=True)
class Topic:
    """One recorded topic."""

    name: str
    """With its namespace."""
    msgtype: str
    """For example ``sensor_msgs/msg/JointState``."""
    latched: bool = False
    """Offered to nodes that join later."""
    carried: bool = False
    """Its last messages from before an episode belong into the episode's bag."""


@cache
def type_store() -> Any:
    """Message types of ROS 2 Kilted."""
    return get_typestore(Stores.ROS2_KILTED)


def is_known(msgtype: str) -> bool:
    """Whether messages of a type can be recorded."""
    return msgtype in type_store().types


def definition_of(msgtype: str) -> str:
    """Text of a message definition, with everything it refers to.

    Raises:
        DataError: for an unknown type.
    """
    if not is_known(msgtype):
        raise DataError(f"message type {msgtype} is unknown; expected one of ROS 2's own types")
    return type_store().generate_msgdef(msgtype, ros_version=2)[0]


def offered_qos(latched: bool) -> list[dict[str, Any]]:
    """What rosbag2 offers when it plays the topic again: reliable, as the graph does."""
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    profile = Qos(
        history=QosHistory.KEEP_LAST,
        depth=8 if latched else 1,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_NEVER,
        lifespan=_NEVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_NEVER,
        avoid_ros_namespace_conventions=False,
    )
    return [dict(entry) for entry in dump_qos_v9([profile])]


def channel_metadata(topic: Topic) -> dict[str, str]:
    """What rosbag2 stores with each channel of an MCAP file."""
    return {
        "offered_qos_profiles": yaml.safe_dump(offered_qos(topic.latched)).strip(),
        "topic_type_hash": type_store().hash_rihs01(topic.msgtype),
    }


def metadata_document(
    file_name: str, topics: Sequence[tuple[Topic, int]], start_ns: int, end_ns: int
) -> dict[str, Any]:
    """``metadata.yaml`` of a bag of one MCAP file.

    Args:
        file_name: Of the MCAP file, beside it.
        topics: Each with its number of messages.
        start_ns: Receipt of the first message, ns.
        end_ns: Receipt of the last one, ns.
    """
    count = sum(number for _, number in topics)
    start = {"nanoseconds_since_epoch": start_ns if count else 0}
    duration = {"nanoseconds": end_ns - start_ns if count else 0}
    return {
        "rosbag2_bagfile_information": {
            "version": _ROSBAG2_VERSION,
            "storage_identifier": "mcap",
            "duration": duration,
            "starting_time": start,
            "message_count": count,
            "topics_with_message_count": [
                {
                    "topic_metadata": {
                        "name": topic.name,
                        "type": topic.msgtype,
                        "serialization_format": "cdr",
                        "offered_qos_profiles": offered_qos(topic.latched),
                        "type_description_hash": type_store().hash_rihs01(topic.msgtype),
                    },
                    "message_count": number,
                }
                for topic, number in topics
            ],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [file_name],
            "files": [
                {
                    "path": file_name,
                    "starting_time": dict(start),
                    "duration": dict(duration),
                    "message_count": count,
                }
            ],
            "custom_data": None,
            "ros_distro": "kilted",
        }
    }
