# SPDX-License-Identifier: Apache-2.0
"""Residual policy: the base's action of every step, corrected by the newest observation."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import messages
from resip_ros.core.action import action_names
from resip_ros.core.chunking import (
    ActionChunk,
    ChunkSequence,
    period_ns,
    tick_of,
    tick_start_ns,
)
from resip_ros.core.errors import CheckpointMismatch, DataError, ResipError, UnsafeCommand
from resip_ros.core.geometry import Array
from resip_ros.core.tasks import get_task
from resip_ros.nodes import latency, topics
from resip_ros.nodes.diagnostics import ERROR, Health
from resip_ros.nodes.episode import EpisodeSwitch
from resip_ros.nodes.lifecycle import ManagedParameters
from resip_ros.nodes.node_main import POLICY_NICE, run_node
from resip_ros.nodes.observation_input import Observation, ObservationInput
from resip_ros.nodes.pairing import BASE_NODE, Partner, why_residual_must_wait
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.nodes.policy_node import PolicyNode
from resip_ros.nodes.policy_slot import PolicySlot
from resip_ros.nodes.table import CHECKPOINT
from resip_ros.nodes.teleop.relay import TeleopRelay
from resip_ros.policy.runtime import AssemblyPolicy

LATE_WARN, LATE_ERROR = 0.02, 0.2
"""Share of an episode's steps without an action in time."""


@dataclass(frozen=True)
class ResidualPolicyParameters(ManagedParameters):
    """ROS parameters of the residual policy."""

    task: str = parameter("one_leg", "task that the policy was trained for")
    checkpoint: str = parameter(
        "",
        "policy folder (base and residual), or a base bundle to correct nothing; "
        "may be set while running",
        name=CHECKPOINT,
        live=True,
    )
    robot_max_age_s: float = parameter(
        0.05, "greatest age of joint states, s", low=0.005, high=1.0
    )
    parts_max_age_s: float = parameter(0.1, "greatest age of part poses, s", low=0.005, high=1.0)
    late_after_s: float = parameter(
        0.05, "an action this long after its step's observation is late, s", low=0.001, high=1.0
    )


def compute_net_action(
    policy: AssemblyPolicy, observation: Array, base_action: Array
) -> tuple[Array, Array]:
    """Net action and correction of one step, both (10,) SI.

    The base's action comes as float64 in SI units, from which its normalised float32 form is
    recovered exactly. Without a correction it passes bit for bit.

    Args:
        policy: Base and perhaps residual.
        observation: (D,) raw.
        base_action: (10,) SI.
    """
    base_norm = policy.normalizer.normalize_action(base_action)[None]
    correction = policy.correct(observation[None], base_norm)
    if not correction.any():
        return base_action, np.zeros_like(base_action)
    net = policy.compute_action(base_norm, correction)[0]
    return net, net - base_action


class ResidualPolicyNode(PolicyNode):
    """Acts once a step: at once when a chunk covers the step, else when the chunk arrives.

    A chunk that was planned ahead is followed from the step it is meant for.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__("residual_policy", **kwargs)
        self.parameters = declare_parameters(self, ResidualPolicyParameters)

    def configure(self) -> None:
        """Loads the policy, then subscribes.

        Raises:
            CheckpointMismatch: for a bundle that cannot be run.
            ConfigError: for an unknown task.
        """
        self._task = get_task(self.parameters.task)
        self._partner = Partner(self, BASE_NODE)
        self._chunks = ChunkSequence()
        self._followed: ActionChunk | None = None
        self._waiting: tuple[int, float] | None = None
        self.open_figures("tick", "ticks", "late")
        self._slot = PolicySlot(
            self, self._task, lambda policy: why_residual_must_wait(policy, self._partner)
        )
        qos = topics.stream_qos()
        create = self.create_lifecycle_publisher
        self._net = create(JointTrajectory, topics.NET_ACTION, qos)
        self._correction = create(JointTrajectory, topics.CORRECTION, qos)
        self._base = create(JointTrajectory, topics.BASE_ACTION, qos)
        self.create_subscription(JointTrajectory, topics.ACTION_CHUNK, self._on_chunk, qos)
        self._switch = EpisodeSwitch(self, on_start=self._start, on_stop=self.report)
        self._relay = TeleopRelay(self, self._task, self._pass_on, lambda: self._switch.is_running)
        self._input = ObservationInput(
            self,
            self._task,
            self._on_step,
            robot_max_age_s=self.parameters.robot_max_age_s,
            parts_max_age_s=self.parameters.parts_max_age_s,
            # a student has no residual: its actions pass as they are
            with_parts=not self._slot.policy.base.images,
        )

    def diagnose(self, health: Health) -> None:
        """Policy and its pairing with the base, inputs, and how late actions are."""
        super().diagnose(health)
        assert self._slot is not None
        try:
            self._check_base(self._slot.policy)
        except CheckpointMismatch as error:
            health.tell(ERROR, str(error))
        late = self._counts["late"] / max(1, self._counts["ticks"])
        health.at_most(
            "late share", late, warn=LATE_WARN, error=LATE_ERROR, advice="free the machine's cores"
        )
        health.latencies(
            "action",
            self._latencies_ms,
            1e3 * self.parameters.late_after_s,
            "see which node is slow",
        )

    def _start(self, stamp_ns: int) -> None:
        # the first chunk may overtake the event that asked for it; others are of the past, or
        # of a clock that was reset
        step_ns = period_ns(self._task.rate_hz)
        newest = self._chunks.newest()
        if newest is not None and abs(newest.stamp_ns - stamp_ns) > 2 * step_ns:
            self._chunks.clear()
        self._followed = None
        self._relay.reset(stamp_ns)
        self._waiting = None
        self.clear_figures()

    def _check_base(self, policy: AssemblyPolicy) -> None:
        """Refuses a residual for another base than the one that runs.

        Raises:
            CheckpointMismatch: on a difference.
        """
        reason = why_residual_must_wait(policy, self._partner)
        if reason:
            raise CheckpointMismatch(reason)

    # ---- steps ----

    def _on_chunk(self, message: JointTrajectory) -> None:
        received_s = time.monotonic()
        try:
            chunk = messages.decode_chunk(message, self._task.rate_hz, action_names(self._task))
            self._chunks.add(chunk)
        except (UnsafeCommand, DataError) as error:
            self.get_logger().error(f"chunk dropped: {error}", throttle_duration_sec=1.0)
            return
        self._trace.mark(
            latency.CHUNK_RECEIVED, tick_of(chunk.stamp_ns, self._task.rate_hz), received_s
        )
        if chunk.begin_step == 0:
            self._relay.chunk(chunk.stamp_ns)
        self._try_act()

    def _on_step(self, tick: int, observation: Observation) -> None:
        if not self._switch.is_running:
            return
        begun = self._chunks.covering(tick_start_ns(tick, self._task.rate_hz))
        if begun is not None:
            # one that was planned ahead gives the lead back when it begins
            self._relay.chunk(begun.stamp_ns)
        if not self._relay.step(observation.stamp_ns):
            self._waiting = None
            return
        if self._waiting is not None:
            self._counts["late"] += 1
        self._counts["ticks"] += 1
        self._waiting = (tick, time.monotonic())
        self._try_act()

    def _try_act(self) -> None:
        """Acts for the waiting step if a chunk covers it."""
        if self._waiting is None:
            return
        tick, since_s = self._waiting
        start_ns = tick_start_ns(tick, self._task.rate_hz)
        chunk = self._chunks.covering(start_ns)
        if chunk is None:
            return
        self._waiting = None
        ready_s = time.monotonic()
        assert self._slot is not None
        try:
            self._follow(chunk, self._slot)
            observation = self._input.latest()
            if not self._relay.policy_acts(observation.stamp_ns):
                return
            _, base_action = chunk.at(start_ns)
            net, correction = compute_net_action(
                self._slot.policy, observation.values, base_action
            )
            self._publish(observation.stamp_ns, net, correction, base_action)
        except ResipError as error:
            self._counts["late"] += 1
            self.get_logger().error(f"no action: {error}", throttle_duration_sec=1.0)
            return
        sent_s = time.monotonic()
        self._trace.mark(latency.OBSERVED, tick, since_s)
        self._trace.mark(latency.CHUNK_READY, tick, ready_s)
        self._trace.mark(latency.ACTION_SENT, tick, sent_s)
        elapsed_s = sent_s - since_s
        self._latencies_ms.append(elapsed_s * 1e3)
        self._counts["late"] += elapsed_s > self.parameters.late_after_s

    def _follow(self, chunk: ActionChunk, slot: PolicySlot) -> None:
        """Changes policies between two chunks, not when one arrives that was planned ahead.

        Raises:
            CheckpointMismatch: when the residual was trained on another base.
        """
        if chunk is not self._followed:
            slot.take_pending()
            self._check_base(slot.policy)
            self._followed = chunk

    def _publish(self, stamp_ns: int, net: Array, correction: Array, base: Array) -> None:
        self._net.publish(self._message(stamp_ns, net))
        self._correction.publish(self._message(stamp_ns, correction))
        self._base.publish(self._message(stamp_ns, base))

    def _pass_on(self, stamp_ns: int, action: Array) -> None:
        """An operator's action (10,) instead of the policy's."""
        self._net.publish(self._message(stamp_ns, action))

    def _message(self, stamp_ns: int, action: Array) -> JointTrajectory:
        message = JointTrajectory()
        chunk = ActionChunk(stamp_ns, action[None], self._task.rate_hz)
        messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint, action_names(self._task))
        return message


def main() -> int:
    """Entry point of the `residual_policy` command."""
    return run_node(ResidualPolicyNode, nice=POLICY_NICE)


if __name__ == "__main__":
    sys.exit(main())
