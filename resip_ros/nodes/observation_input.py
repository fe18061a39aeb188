# SPDX-License-Identifier: Apache-2.0
"""Live observations: the streams of bridge and tracker, aligned by stamp, built as in training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState

from resip_ros.core import messages
from resip_ros.core.alignment import AlignedStreams
from resip_ros.core.chunking import NS_PER_S, tick_of, tick_start_ns
from resip_ros.core.errors import DataError, StaleStreamError
from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import forward, tcp_velocity
from resip_ros.core.observation import build_proprioception, build_state_observation
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes import topics

JOINTS = topics.JOINT_STATES
# Streams that publish on the steps' grid give every value of a step within a few ms. A slower
# tracker does not; after this long the newest value within its age limit is taken instead.
PATIENCE_NS = 25_000_000
SILENCE_S = 3.0


@dataclass(frozen=True)
class JointReading:
    """Joint state of arm and gripper."""

    q: Array
    """(7,) rad."""
    dq: Array
    """(7,) rad/s."""
    width_m: Array
    """() gripper opening, m."""


@dataclass(frozen=True)
class Observation:
    """Raw observation at one instant."""

    stamp_ns: int
    """Instant that all streams were sampled at, ns of the ROS clock."""
    values: Array
    """(D,) SI, as ``core.observation`` defines."""


def build_live_observation(task: TaskSpec, joints: JointReading, poses: dict[str, Any]) -> Array:
    """Decoded streams to the observation (D,), with the functions that training uses.

    Pose and velocity of the TCP come from the joints, so that all proprioception is of one
    instant and equal to what the training env computes.

    Args:
        task: Its parts.
        joints: Measured joints and gripper width.
        poses: Part name to pose (7,) [x y z qx qy qz qw], base frame.
    """
    # a batch of one, as the env computes it, so that even the last bit agrees
    q, dq = joints.q[None], joints.dq[None]
    pos, rot = forward(q)
    linear, angular = tcp_velocity(q, dq)
    proprioception = build_proprioception(pos[0], rot[0], linear[0], angular[0], joints.width_m)
    return build_state_observation(task, proprioception, poses)


class ObservationInput:
    """Subscribes to what a policy observes and calls back once in every policy step."""

    def __init__(
        self,
        node: Node,
        task: TaskSpec,
        on_step: Callable[[int, Observation], None],
        *,
        robot_max_age_s: float,
        parts_max_age_s: float,
    ) -> None:
        """Opens the subscriptions.

        Args:
            node: Owner of the subscriptions and the log.
            task: Says which parts are observed.
            on_step: Called with number and observation of each policy step, at its first
                complete instant; never for a step whose streams are stale.
            robot_max_age_s: Greatest age of joint states, s.
            parts_max_age_s: Greatest age of a part's pose, s.
        """
        self._node = node
        self._task = task
        self._on_step = on_step
        self._last_tick = -1
        ages = {JOINTS: robot_max_age_s}
        ages |= {topics.part_pose(name): parts_max_age_s for name in task.observed}
        self._streams = AlignedStreams(ages)
        self._newest_ns = 0
        self._subscriptions: dict[str, Subscription] = {}
        self._heard_s: dict[str, float] = {}
        for stream in ages:
            self._subscribe(stream)

    def _subscribe(self, stream: str) -> None:
        """Subscribes to a stream, or does so anew."""
        old = self._subscriptions.pop(stream, None)
        if old is not None:
            self._node.destroy_subscription(old)
        kind, decode = (
            (JointState, decode_joints)
            if stream == JOINTS
            else (PoseStamped, messages.decode_pose)
        )
        self._subscriptions[stream] = self._node.create_subscription(
            kind, stream, lambda message: self._take(stream, message, decode), topics.stream_qos(5)
        )
        self._heard_s[stream] = time.monotonic()

    def latest(self) -> Observation:
        """Observation at the newest instant that all streams have reached.

        Raises:
            StaleStreamError: when a stream is missing or too old.
        """
        common = self._streams.common_ns()
        at_ns = self._newest_ns if common is None else common
        if self._newest_ns - at_ns > PATIENCE_NS:
            at_ns = self._newest_ns
        return self._build(at_ns)

    def _build(self, at_ns: int) -> Observation:
        sample = self._streams.sample(at_ns)
        poses = {name: sample[topics.part_pose(name)] for name in self._task.observed}
        return Observation(at_ns, build_live_observation(self._task, sample[JOINTS], poses))

    def _renew_silent(self) -> None:
        """Subscribes anew to streams that have a publisher and yet are silent.

        Rarely, two processes that start at the same time stay unconnected for one topic.
        """
        now_s = time.monotonic()
        for stream, heard_s in self._heard_s.items():
            if now_s - heard_s > SILENCE_S and self._node.count_publishers(stream):
                self._node.get_logger().warning(f"{stream}: silent; subscribing anew")
                self._subscribe(stream)

    def _take(self, stream: str, message: Any, decode: Callable[[Any], tuple[int, Any]]) -> None:
        """Stores a message and starts a step when it completes one."""
        try:
            stamp_ns, value = decode(message)
        except DataError as error:
            self._node.get_logger().error(f"{stream}: {error}", throttle_duration_sec=1.0)
            return
        if stamp_ns < self._newest_ns - NS_PER_S:
            # the clock was reset: steps count anew
            self._last_tick, self._newest_ns = -1, stamp_ns
            self._streams.clear()
        self._newest_ns = max(self._newest_ns, stamp_ns)
        self._heard_s[stream] = time.monotonic()
        self._streams.push(stream, stamp_ns, value)
        self._try_step()

    def _try_step(self) -> None:
        tick = tick_of(self._newest_ns, self._task.rate_hz)
        if tick <= self._last_tick:
            return
        start_ns = tick_start_ns(tick, self._task.rate_hz)
        common = self._streams.common_ns()
        if common is not None and common >= start_ns:
            at_ns = common
        elif self._newest_ns - start_ns >= PATIENCE_NS:
            at_ns = self._newest_ns
        else:
            return
        self._last_tick = tick
        try:
            observation = self._build(at_ns)
        except StaleStreamError as error:
            self._node.get_logger().warning(f"no step: {error}", throttle_duration_sec=1.0)
            self._renew_silent()
            return
        self._on_step(tick, observation)


def decode_joints(message: JointState) -> tuple[int, JointReading]:
    """Joint state message to stamp (ns) and reading; the fingers' sum is the width.

    Raises:
        DataError: when joints are missing or values are not finite.
    """
    names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
    stamp_ns, position, velocity = messages.decode_joint_state(message, names)
    arm = len(messages.ARM_JOINTS)
    return stamp_ns, JointReading(position[:arm], velocity[:arm], position[arm:].sum())
