# SPDX-License-Identifier: Apache-2.0
"""Live pictures of a student's cameras, at the instants of its observations.

A picture arrives tens of ms after it was taken, by exposure, drawing and transport; the joint
state of the same instant is there before. So a plan waits for its pictures.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image

from resip_ros.cameras.pictures import decode_picture
from resip_ros.core import messages
from resip_ros.core.alignment import StreamBuffer
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import DataError, StaleStreamError
from resip_ros.core.images import IMAGE_MAX_AGE_S
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import STALE, WINDOW, Health, Rate
from resip_ros.nodes.observation_input import STALE_S

PATIENCE_S = 0.08
"""Pictures are waited for so long, s of the ROS clock. The bridge holds the arm when no action
came for 0.25 s. At 10 Hz a chunk is wanted 0.1 s after the last action before it, and planning may
take 0.05 s without being done ahead: this is what is left, less 0.02 s for the way to the bridge.
"""
MISSED_SHARE = 0.1
"""More plans than this that saw an older picture than they should have are worth a warning."""
Messages = dict[str, Any]
"""Camera to its image message."""
Answer = Callable[[Messages | StaleStreamError], None]
"""Takes the pictures, or why there are none."""


@dataclass(frozen=True)
class Wanted:
    """Pictures that are waited for."""

    stamp_ns: int
    """Instant that they are to show, ns of the ROS clock."""
    began_ns: int
    """When they were asked for, ns of the ROS clock."""
    answer: Answer


class Use:
    """One camera's pictures as the last plans saw them."""

    def __init__(self) -> None:
        self.ages_ms: deque[float] = deque(maxlen=WINDOW)
        """Ages at the plans' instants, ms."""
        self._missed: deque[bool] = deque(maxlen=WINDOW)
        self._seen_ns, self._until_ns = 0, -1

    def add(self, at_ns: int, stamp_ns: int) -> None:
        """A picture of one instant was used for another, both ns."""
        self.ages_ms.append((at_ns - stamp_ns) * 1e3 / NS_PER_S)
        self._missed.append(False)
        self._seen_ns, self._until_ns = stamp_ns, at_ns

    def arrived(self, stamp_ns: int) -> None:
        """A picture came; had it come before the last plan, that would have seen it."""
        if self._seen_ns < stamp_ns <= self._until_ns:
            self._missed[-1] = True

    @property
    def missed_share(self) -> float:
        """Part of the last plans that saw an older picture than a recording of them would show."""
        return sum(self._missed) / max(len(self._missed), 1)


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
        self._uses = {name: Use() for name in cameras}
        self._waits_ms: deque[float] = deque(maxlen=WINDOW)
        self._wanted: Wanted | None = None
        # by the ROS clock, as the steps: a simulation may be slower than the wall
        self._timer = node.create_timer(PATIENCE_S, self._answer)
        self._timer.cancel()
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
        self._uses[camera].arrived(stamp_ns)
        self._answer_if_settled()

    def ask(self, stamp_ns: int, answer: Answer) -> None:
        """Has ``answer`` called once, with what each camera showed at an instant or just before.

        It is called on the executor: at once where every camera has delivered, else when the last
        one has, or after ``PATIENCE_S`` with what there is by then, if that is recent enough.

        Args:
            stamp_ns: The instant, ns of the ROS clock.
            answer: Gets a StaleStreamError that names the first camera without a recent picture.
        """
        self._wanted = Wanted(stamp_ns, self._node.get_clock().now().nanoseconds, answer)
        self._timer.reset()
        self._answer_if_settled()

    def cancel(self) -> None:
        """Waits no more; what was asked for is not answered."""
        self._wanted = None
        self._timer.cancel()

    def _answer_if_settled(self) -> None:
        wanted = self._wanted
        if wanted is not None and all(
            stream.is_settled(wanted.stamp_ns) for stream in self._streams.values()
        ):
            self._answer()

    def _answer(self) -> None:
        wanted = self._wanted
        self.cancel()
        if wanted is None:
            return
        try:
            found = {n: stream.newest_at(wanted.stamp_ns) for n, stream in self._streams.items()}
        except StaleStreamError as error:
            wanted.answer(error)
            return
        waited_ns = self._node.get_clock().now().nanoseconds - wanted.began_ns
        self._waits_ms.append(waited_ns * 1e3 / NS_PER_S)
        for name, (stamp_ns, _) in found.items():
            self._uses[name].add(wanted.stamp_ns, stamp_ns)
        wanted.answer({name: message for name, (_, message) in found.items()})

    def diagnose(self, health: Health) -> None:
        """Rate and silence of every camera, age of what was used, and how long it took to come."""
        health.latencies(
            "wait for pictures",
            list(self._waits_ms),
            1e3 * PATIENCE_S,
            "plans are late, of old pictures; see what delays the cameras (`resip cameras`)",
        )
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
            use = self._uses[name]
            health.latencies(
                f"{topics.image(name)} age at use",
                list(use.ages_ms),
                1e3 * IMAGE_MAX_AGE_S / 2,
                "plans see the past; raise the camera's rate, or see what delays it",
            )
            health.at_most(
                f"{topics.image(name)} came too late, share",
                use.missed_share,
                warn=MISSED_SHARE,
                advice=f"pictures take over {1e3 * PATIENCE_S:.0f} ms; see what delays the camera",
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
