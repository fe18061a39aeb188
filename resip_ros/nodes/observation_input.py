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
from resip_ros.core.live_observation import (
    build_live_observation,
    build_live_proprioception,
    decode_joints,
    patience_ns,
)
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import STALE, WARN, Health, Rate

SILENCE_S = 3.0
STALE_S = 1.0
"""A stream that was silent for so long is told as stale."""


@dataclass(frozen=True)
class Observation:
    """Raw observation at one instant."""

    stamp_ns: int
    """Instant that all streams were sampled at, ns of the ROS clock."""
    values: Array
    """(D,) SI, as ``core.observation`` defines; its first entries where parts are not observed."""


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
        with_parts: bool = True,
    ) -> None:
        """Opens the subscriptions.

        Args:
            node: Owner of the subscriptions and the log.
            task: Says which parts are observed.
            on_step: Called with number and observation of each policy step, at its first
                complete instant; never for a step whose streams are stale.
            robot_max_age_s: Greatest age of joint states, s.
            parts_max_age_s: Greatest age of a part's pose, s.
            with_parts: False for a policy that sees pictures: proprioception alone is observed.
        """
        self._node = node
        self._task = task
        self._parts = task.observed if with_parts else ()
        self._on_step = on_step
        self._last_tick = -1
        self._refused = ""
        self._joints = tuple(topics.of_arm(arm, topics.JOINT_STATES) for arm in task.arms)
        self._patience_ns = patience_ns(task.rate_hz)
        ages = dict.fromkeys(self._joints, robot_max_age_s)
        ages |= {topics.part_pose(name): parts_max_age_s for name in self._parts}
        self._streams = AlignedStreams(ages)
        self._newest_ns = self._sampled_ns = 0
        self._subscriptions: dict[str, Subscription] = {}
        self._heard_s: dict[str, float] = {}
        self._max_age_s = ages
        self._rates = {stream: Rate() for stream in ages}
        for stream in ages:
            self._subscribe(stream)

    def _subscribe(self, stream: str) -> None:
        """Subscribes to a stream, or does so anew."""
        old = self._subscriptions.pop(stream, None)
        if old is not None:
            self._node.destroy_subscription(old)
        kind, decode = (
            (JointState, decode_joints)
            if stream in self._joints
            else (PoseStamped, messages.decode_pose)
        )
        self._subscriptions[stream] = self._node.create_subscription(
            kind, stream, lambda message: self._take(stream, message, decode), topics.stream_qos(5)
        )
        self._heard_s[stream] = time.monotonic()

    def diagnose(self, health: Health) -> None:
        """Rate and silence of every stream.

        Two messages within the greatest age are the least with which one may be lost.
        """
        for stream, rate in self._rates.items():
            silence_s = rate.silence_s
            if silence_s is None or silence_s > STALE_S:
                what = "nothing yet" if silence_s is None else f"silent for {silence_s:.0f} s"
                source = "franka_bridge" if stream in self._joints else "the tracker"
                health.tell(STALE, f"{stream}: {what}; does {source} run, and is it active?")
                continue
            health.value(f"{stream} age, s", silence_s)
            health.at_least(
                f"{stream} rate, Hz",
                rate.hz or 0.0,
                warn=2.0 / self._max_age_s[stream],
                advice="a lost message makes an observation stale; see how loaded its source is",
            )
        if self._refused:
            health.tell(WARN, f"refused: {self._refused}")

    def latest(self) -> Observation:
        """Observation at the newest instant that all streams have reached, never an earlier one.

        Where a stream came late, an observation without it was given out already; going back from
        there would stamp an action before its predecessor, which the bridge refuses.

        Raises:
            StaleStreamError: when a stream is missing or too old.
        """
        common = self._streams.common_ns()
        at_ns = self._newest_ns if common is None else common
        if self._newest_ns - at_ns > self._patience_ns:
            at_ns = self._newest_ns
        return self._build(max(at_ns, self._sampled_ns))

    def _build(self, at_ns: int) -> Observation:
        sample = self._streams.sample(at_ns)
        self._sampled_ns = at_ns
        joints = [sample[stream] for stream in self._joints]
        if not self._parts:
            return Observation(at_ns, build_live_proprioception(self._task, joints))
        poses = {name: sample[topics.part_pose(name)] for name in self._parts}
        return Observation(at_ns, build_live_observation(self._task, joints, poses))

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
            self._refused = f"{stream}: {error}"
            self._node.get_logger().error(self._refused, throttle_duration_sec=1.0)
            return
        self._rates[stream].add(stamp_ns)
        if stamp_ns < self._newest_ns - NS_PER_S:
            # the clock was reset: steps count anew
            self._last_tick, self._newest_ns, self._sampled_ns = -1, stamp_ns, 0
            self._streams.clear()
        self._newest_ns = max(self._newest_ns, stamp_ns)
        self._heard_s[stream] = time.monotonic()
        self._refused = ""
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
        elif self._newest_ns - start_ns >= self._patience_ns:
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
