# SPDX-License-Identifier: Apache-2.0
"""Live pictures of a student's cameras, at the instants of its observations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from resip_ros.cameras.pictures import decode_picture
from resip_ros.core import messages
from resip_ros.core.alignment import StreamBuffer
from resip_ros.core.errors import DataError
from resip_ros.core.images import IMAGE_MAX_AGE_S
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import STALE, Health, Rate
from resip_ros.nodes.observation_input import STALE_S

Messages = dict[str, Any]
"""Camera to its image message."""


class PictureInput:
    """Subscribes to cameras; pictures are decoded only where they are used."""

    def __init__(self, node: Node, cameras: tuple[str, ...]) -> None:
        """Opens the subscriptions.

        Args:
            node: Owner of the subscriptions and the log.
            cameras: Those that the policy needs.
        """
        self._node = node
        self._streams = {
            name: StreamBuffer(topics.image(name), IMAGE_MAX_AGE_S) for name in cameras
        }
        self._rates = {name: Rate() for name in cameras}
        for name in cameras:
            self._subscribe(name)

    def _subscribe(self, camera: str) -> None:
        self._node.create_subscription(
            Image,
            topics.image(camera),
            lambda message: self._take(camera, message),
            topics.image_qos(),
        )

    def _take(self, camera: str, message: Image) -> None:
        try:
            stamp_ns = messages.stamp_to_ns(message.header.stamp)
        except DataError as error:
            self._node.get_logger().error(
                f"{topics.image(camera)}: {error}", throttle_duration_sec=1.0
            )
            return
        self._rates[camera].add(stamp_ns)
        self._streams[camera].push(stamp_ns, message)

    def sample(self, stamp_ns: int) -> Messages:
        """Messages nearest to an instant (ns, ROS clock), of every camera.

        Raises:
            StaleStreamError: naming the first camera without one that is recent enough.
        """
        return {name: stream.sample(stamp_ns) for name, stream in self._streams.items()}

    def diagnose(self, health: Health) -> None:
        """Rate and silence of every camera."""
        for name, rate in self._rates.items():
            silence_s = rate.silence_s
            if silence_s is None or silence_s > STALE_S:
                what = "nothing yet" if silence_s is None else f"silent for {silence_s:.0f} s"
                health.tell(STALE, f"{topics.image(name)}: {what}; does the camera run?")
                continue
            health.at_least(
                f"{topics.image(name)} rate, Hz",
                rate.hz or 0.0,
                warn=1.0 / IMAGE_MAX_AGE_S,
                advice="pictures are older than the policy takes them; raise the camera's rate",
            )


def decode_pictures(found: Messages) -> dict[str, NDArray[np.uint8]]:
    """Camera to what a policy sees (1, 240, 320, 3), from its messages.

    Raises:
        DataError: with the camera, for another encoding, damaged bytes or too small a picture.
    """
    pictures = {}
    for name, message in found.items():
        try:
            pictures[name] = decode_picture(message)[1][None]
        except DataError as error:
            raise DataError(f"{topics.image(name)}: {error}") from error
    return pictures
