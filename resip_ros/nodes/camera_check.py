# SPDX-License-Identifier: Apache-2.0
"""How the pictures of cameras arrive: ``resip cameras front wrist`` beside a running graph."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from resip_ros.core import messages
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import ConfigError, DataError, StaleStreamError
from resip_ros.core.results import write_bytes_atomically
from resip_ros.nodes import topics
from resip_ros.nodes.camera_node import DIAGNOSTIC, NEWEST, PUBLISHED


@dataclass(frozen=True)
class Delivery:
    """What came on one topic."""

    topic: str
    received: int
    lost: int | None
    """Published and not received; None where the publisher does not count on /diagnostics."""
    skipped: int
    """Pictures that the stamps leave room for and that did not come: lost, or never taken."""
    rate_hz: float
    """By the stamps."""
    longest_gap_ms: float
    """Between two stamps."""
    age_p50_ms: float
    """From stamp to receipt."""
    age_p99_ms: float
    megabytes_per_s: float


def count_lost(stamps_ns: Collection[int], counts: Sequence[tuple[int, int]]) -> int | None:
    """Pictures that were published and not received.

    Args:
        stamps_ns: What was received, ns.
        counts: (number published so far, newest stamp in ns), as the publisher told it from time
            to time.
    """
    # before the first picture came, the connection was not yet made
    told = [one for one in counts if stamps_ns and min(stamps_ns) <= one[1] <= max(stamps_ns)]
    if len(told) < 2:
        return None
    (first, after_ns), (last, until_ns) = told[0], told[-1]
    return last - first - sum(after_ns < stamp <= until_ns for stamp in stamps_ns)


def delivery(
    topic: str,
    stamps_ns: Sequence[int],
    ages_ns: Sequence[int],
    size: int,
    counts: Sequence[tuple[int, int]] = (),
) -> Delivery:
    """Sums up what was received.

    Args:
        topic: Where it came from.
        stamps_ns: (n,) stamps in order of receipt, ns.
        ages_ns: (n,) age at receipt, ns.
        size: Bytes in all.
        counts: See ``count_lost``.

    Raises:
        StaleStreamError: with fewer than 3 pictures, or stamps that stand still.
    """
    if len(stamps_ns) < 3:
        raise StaleStreamError(
            f"{topic}: {len(stamps_ns)} pictures; expected a stream: is the camera node running "
            "in this ROS domain, and what does /diagnostics say?"
        )
    steps = np.diff(np.sort(np.array(stamps_ns)))
    period = float(np.median(steps))
    span_s = float(steps.sum()) / NS_PER_S
    if not period > 0.0:
        raise StaleStreamError(
            f"{topic}: most of {len(stamps_ns)} pictures have the same stamp; expected stamps of "
            "when they were taken: is the clock standing still?"
        )
    ages_ms = np.array(ages_ns) / 1e6
    return Delivery(
        topic,
        len(stamps_ns),
        count_lost(stamps_ns, counts),
        int(np.maximum(np.rint(steps / period) - 1, 0).sum()),
        round(len(steps) / span_s, 2),
        round(float(steps.max()) / 1e6, 1),
        round(float(np.percentile(ages_ms, 50)), 2),
        round(float(np.percentile(ages_ms, 99)), 2),
        round(size / span_s / 1e6, 2),
    )


class Listener:
    """Takes the pictures of one topic."""

    def __init__(self, node: Node, camera: str, jpeg: bool) -> None:
        """Args: owner of the subscription; camera; JPEG instead of raw."""
        self.topic = topics.compressed(camera) if jpeg else topics.image(camera)
        self._node = node
        self.stamps_ns: list[int] = []
        self.ages_ns: list[int] = []
        self.size = 0
        self.counts: list[tuple[int, int]] = []
        self._name = f"{DIAGNOSTIC}{camera}"
        kind = CompressedImage if jpeg else Image
        node.create_subscription(kind, self.topic, self._take, topics.image_qos())
        node.create_subscription(DiagnosticArray, "/diagnostics", self._take_counts, 10)

    def _take(self, message: Any) -> None:
        stamp_ns = messages.stamp_to_ns(message.header.stamp)
        self.stamps_ns.append(stamp_ns)
        self.ages_ns.append(self._node.get_clock().now().nanoseconds - stamp_ns)
        self.size += len(message.data)

    def _take_counts(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == self._name:
                values = {pair.key: pair.value for pair in status.values}
                # somebody else's report under this name tells nothing
                with contextlib.suppress(KeyError, ValueError):
                    self.counts.append((int(values[PUBLISHED]), int(values[NEWEST])))


def check(node: Node, cameras: Sequence[str], seconds: float, jpeg: bool) -> list[Delivery]:
    """Listens for a while.

    Raises:
        StaleStreamError: for a camera whose pictures do not come.
    """
    listeners = [Listener(node, camera, jpeg) for camera in cameras]
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end_s = time.monotonic() + seconds
    try:
        while time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
    return [delivery(x.topic, x.stamps_ns, x.ages_ns, x.size, x.counts) for x in listeners]


def run(arguments: argparse.Namespace) -> int:
    """`resip cameras`; exit status 1 when a picture was lost."""
    if not arguments.seconds > 0.0:
        raise ConfigError(f"--seconds is {arguments.seconds}; expected above 0")
    rclpy.init()
    try:
        clock = rclpy.parameter.Parameter("use_sim_time", value=arguments.sim)
        node = Node("camera_check", namespace=topics.NAMESPACE, parameter_overrides=[clock])
        found = check(node, arguments.cameras, arguments.seconds, arguments.compressed)
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
    rows = [asdict(one) for one in found]
    for row in rows:
        sys.stdout.write("  ".join(f"{key} {value}" for key, value in row.items()) + "\n")
    if arguments.json is not None:
        try:
            write_bytes_atomically(arguments.json, json.dumps(rows, indent=1).encode())
        except OSError as error:
            raise DataError(f"cannot write {arguments.json}: {error}") from error
    return int(any(one.lost for one in found))
