# SPDX-License-Identifier: Apache-2.0
"""Waiting for the first picture of every camera, so that no episode begins without them."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from resip_ros.nodes import topics
from resip_ros.nodes.readiness import TookTooLong, Wait

TIMEOUT_S = 30.0


def wait_for_pictures(
    node: Node,
    cameras: tuple[str, ...],
    recorder: str,
    wait: Wait,
) -> None:
    """Waits until each camera has sent a picture, and the recorder listens to it.

    A camera that stays silent does not keep the arm from working: it is told in the log.

    Args:
        node: Listens meanwhile.
        cameras: Their names.
        recorder: Node that has to listen too; empty: none.
        wait: Raises ``TookTooLong`` on time-out.
    """
    silent = set(cameras)

    def listen(camera: str) -> Any:
        # sent beside every picture, and small
        return node.create_subscription(
            CameraInfo,
            topics.info(camera),
            lambda _: silent.discard(camera),
            topics.image_qos(),
        )

    def is_recorded(camera: str) -> bool:
        topic = node.resolve_topic_name(topics.image(camera))
        found = node.get_subscriptions_info_by_topic(topic)
        return not recorder or any(info.node_name == recorder for info in found)

    subscriptions = [listen(camera) for camera in cameras]
    try:
        wait(
            lambda: not silent and all(map(is_recorded, cameras)), TIMEOUT_S, "the first pictures"
        )
    except TookTooLong as error:
        missing = sorted(silent) or [c for c in cameras if not is_recorded(c)]
        node.get_logger().error(f"going on without pictures of {', '.join(missing)}: {error}")
    finally:
        for subscription in subscriptions:
            node.destroy_subscription(subscription)
