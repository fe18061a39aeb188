# SPDX-License-Identifier: Apache-2.0
"""Observations from recorded or live messages: what is sampled when, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resip_ros.core import messages
from resip_ros.core.alignment import AlignedStreams
from resip_ros.core.arms import to_task_frame
from resip_ros.core.chunking import period_ns, tick_of, tick_start_ns
from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import forward, tcp_velocity
from resip_ros.core.observation import build_proprioception, build_state_observation
from resip_ros.core.tasks import TaskSpec

ROBOT_MAX_AGE_S = 0.05
PARTS_MAX_AGE_S = 0.1
PATIENCE_NS = 25_000_000
"""This long after a step began a stream that lags is not waited for any more; at most half of a
step, see ``patience_ns``."""
GIVE_UP_NS = 200_000_000
"""Twice the greatest age: what comes later was too late for any policy."""


def patience_ns(rate_hz: float) -> int:
    """How long after a step began a stream that lags is waited for, ns."""
    return min(PATIENCE_NS, period_ns(rate_hz) // 2)


@dataclass(frozen=True)
class JointReading:
    """Joint state of arm and gripper."""

    q: Array
    """(7,) rad."""
    dq: Array
    """(7,) rad/s."""
    width_m: Array
    """() gripper opening, m."""


def decode_joints(message: Any) -> tuple[int, JointReading]:
    """Joint state message to stamp (ns) and reading; the fingers' sum is the width.

    Raises:
        DataError: when joints are missing or values are not finite.
    """
    names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
    stamp_ns, position, velocity = messages.decode_joint_state(message, names)
    arm = len(messages.ARM_JOINTS)
    return stamp_ns, JointReading(position[:arm], velocity[:arm], position[arm:].sum())


def build_live_proprioception(task: TaskSpec, joints: Sequence[JointReading]) -> Array:
    """Proprioception (16 A,) of all arms, task frame: what a student observes beside pictures.

    Pose and velocity of the TCP come from the joints, so that all of it is of one instant and
    equal to what the training env computes.
    """
    # a batch of arms, as the env computes it, so that even the last bit agrees
    q, dq = np.stack([arm.q for arm in joints]), np.stack([arm.dq for arm in joints])
    width_m = np.stack([arm.width_m for arm in joints])
    blocks = build_proprioception(*forward(q), *tcp_velocity(q, dq), width_m)
    return to_task_frame(task.arms, blocks)


def build_live_observation(
    task: TaskSpec, joints: Sequence[JointReading], poses: Mapping[str, Any]
) -> Array:
    """Decoded streams to the observation (D,), with the functions that training uses.

    Args:
        task: Its arms and parts.
        joints: Measured joints and gripper width of each arm, in the task's order.
        poses: Part name to pose (7,) [x y z qx qy qz qw], base frame.
    """
    return build_state_observation(task, build_live_proprioception(task, joints), poses)


class RecordedStreams:
    """Joint states and part poses in order of receipt, sampled at the instants of actions.

    An action is stamped with the instant that its policy's observation was sampled at. Once every
    stream has reached that instant, the values nearest to it no longer change, in whatever order
    messages arrived; so what is sampled here is what the policy saw.
    """

    def __init__(self, task: TaskSpec, joints: str, part_topic: Callable[[str], str]) -> None:
        """Takes the names of the streams.

        Args:
            task: Says which parts are observed, and the policy's rate.
            joints: Topic of the joint states.
            part_topic: Part name to the topic of its pose.
        """
        self._task, self._joints = task, joints
        self._parts = {name: part_topic(name) for name in task.observed}
        ages = {joints: ROBOT_MAX_AGE_S} | dict.fromkeys(self._parts.values(), PARTS_MAX_AGE_S)
        self.topics = tuple(ages)
        self._streams = AlignedStreams(ages)
        self._newest_ns = self._asked_ns = -1
        self._at_newest = False

    def push(self, topic: str, message: Any) -> int:
        """Adds a message.

        Returns:
            Its stamp, ns.

        Raises:
            DataError: when it is malformed.
        """
        decode = decode_joints if topic == self._joints else messages.decode_pose
        stamp_ns, value = decode(message)
        self._streams.push(topic, stamp_ns, value)
        self._newest_ns = max(self._newest_ns, stamp_ns)
        return stamp_ns

    def observe(self, time_ns: int, is_last_chance: bool = False) -> Array | None:
        """Observation (D,) at an instant, as soon as it is what the policy saw.

        A policy samples at the instant that all its streams have reached, if that comes soon
        after its step began; else at the newest instant, with what has arrived by then.

        Args:
            time_ns: The instant; ask after each message until there is an answer.
            is_last_chance: Nothing more will come.

        Returns:
            None while something is to be waited for.

        Raises:
            StaleStreamError: naming the first stream without a fresh value.
        """
        if self._newest_ns < time_ns and not is_last_chance:
            return None
        common_ns = self._streams.common_ns()
        if self._asked_ns != time_ns:
            # the message that reaches the instant decides how the policy sampled there
            self._asked_ns = time_ns
            rate = self._task.rate_hz
            patience = patience_ns(rate)
            is_late = time_ns - tick_start_ns(tick_of(time_ns, rate), rate) >= patience
            lags = common_ns is None or self._newest_ns - common_ns > patience
            self._at_newest = is_late and lags
        has_all = common_ns is not None and common_ns >= time_ns
        is_over = is_last_chance or self._newest_ns - time_ns > GIVE_UP_NS
        if not (has_all or self._at_newest or is_over):
            return None
        values = self._streams.sample(time_ns)
        poses = {name: values[topic] for name, topic in self._parts.items()}
        return build_live_observation(self._task, (values[self._joints],), poses)
