# SPDX-License-Identifier: Apache-2.0
"""Base policy: an observation every few steps, a chunk of actions out."""

from __future__ import annotations

import queue
import sys
import threading
import time
from dataclasses import dataclass

from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import messages
from resip_ros.core.action import action_names
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.errors import DataError, StaleStreamError
from resip_ros.core.plan_delay import AUTOMATIC
from resip_ros.core.planner import Planner, PlanRequest
from resip_ros.core.tasks import get_task
from resip_ros.nodes import latency, topics
from resip_ros.nodes.diagnostics import Health
from resip_ros.nodes.episode import EpisodeSwitch
from resip_ros.nodes.lifecycle import ManagedParameters
from resip_ros.nodes.node_main import POLICY_NICE, run_node
from resip_ros.nodes.observation_input import Observation, ObservationInput
from resip_ros.nodes.pairing import RESIDUAL_NODE, Partner, why_base_must_wait
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.nodes.picture_input import Messages, PictureInput, decode_pictures
from resip_ros.nodes.policy_node import PolicyNode
from resip_ros.nodes.policy_slot import PolicySlot
from resip_ros.nodes.table import CHECKPOINT
from resip_ros.policy.golden import plausible_input
from resip_ros.policy.runtime import AssemblyPolicy, BasePolicy

REHEARSALS = 3


@dataclass(frozen=True)
class BasePolicyParameters(ManagedParameters):
    """ROS parameters of the base policy."""

    task: str = parameter("one_leg", "task that the policy was trained for")
    checkpoint: str = parameter(
        "", "policy folder or base bundle; may be set while running", name=CHECKPOINT, live=True
    )
    robot_max_age_s: float = parameter(
        0.05, "greatest age of joint states, s", low=0.005, high=1.0
    )
    parts_max_age_s: float = parameter(0.1, "greatest age of part poses, s", low=0.005, high=1.0)
    seed: int = parameter(
        0, "seed of the policy's noise from the next start on", low=0, high=2**31, live=True
    )
    plan_delay: int = parameter(
        AUTOMATIC,
        "steps that a chunk is planned before its first action; -1: none while inference takes up "
        "to half a step (95th percentile), else as many as it takes",
        low=AUTOMATIC,
        high=32,
    )


@dataclass(frozen=True)
class Job:
    """What the inference thread is asked for."""

    request: PlanRequest
    reset_seed: int | None
    pictures: Messages | None
    """What a student's cameras showed at the observation's instant."""


class BasePolicyNode(PolicyNode):
    """Predicts after ~/start, and then so that each chunk is there when the last one ends."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("base_policy", **kwargs)
        self.parameters = declare_parameters(self, BasePolicyParameters)
        self._worker: threading.Thread | None = None

    def configure(self) -> None:
        """Loads the policy, then subscribes.

        Raises:
            CheckpointMismatch: for a bundle that cannot be run.
            ConfigError: for an unknown task.
        """
        self._task = get_task(self.parameters.task)
        residual = Partner(self, RESIDUAL_NODE)
        self._slot = PolicySlot(
            self, self._task, lambda policy: why_base_must_wait(policy, residual)
        )
        self._jobs: queue.Queue[Job | None] = queue.Queue(maxsize=1)
        base = self._slot.policy.base
        self._planner = Planner(
            self._task.rate_hz, base.action_steps, base.horizon, self.parameters.plan_delay
        )
        self._reset_seed: int | None = None
        self.open_figures("chunk", "chunks", "ahead")
        self._chunks = self.create_lifecycle_publisher(
            JointTrajectory, topics.ACTION_CHUNK, topics.stream_qos()
        )
        self._worker = threading.Thread(target=self._infer, daemon=True, name="inference")
        self._worker.start()
        self._pictures = PictureInput(self, base.images) if base.images else None
        self._waiting: PlanRequest | None = None
        self._switch = EpisodeSwitch(self, self._start, self._stop)
        self._input = ObservationInput(
            self,
            self._task,
            self._on_step,
            robot_max_age_s=self.parameters.robot_max_age_s,
            parts_max_age_s=self.parameters.parts_max_age_s,
            with_parts=not base.images,
        )

    def diagnose(self, health: Health) -> None:
        """Policy, inputs, and how long a chunk takes: over a step, the residual waits for it."""
        super().diagnose(health)
        if self._pictures is not None:
            self._pictures.diagnose(health)
        health.latencies(
            "chunk",
            self._latencies_ms,
            1e3 / self._task.rate_hz,
            "inference does not fit in a step; free the machine's cores",
        )

    def close(self) -> None:
        """Ends the inference thread after the chunk in progress."""
        if self._worker is not None and self._worker.is_alive():
            self._jobs.put(None)
            self._worker.join()
        self._worker = None
        super().close()

    def _start(self, _: int) -> None:
        self._stop_waiting()
        self._planner.start()
        self._reset_seed = int(self.get_parameter("seed").value or 0)
        self.clear_figures()

    def _stop(self) -> None:
        self._stop_waiting()
        self.report(waits=self._planner.waits)

    def _stop_waiting(self) -> None:
        """Pictures of an episode that is over are of no use."""
        request, self._waiting = self._waiting, None
        if self._pictures is not None:
            self._pictures.cancel()
        if request is not None:
            self._planner.finish(request, None, time.monotonic())

    def _on_step(self, tick: int, observation: Observation) -> None:
        now_s = time.monotonic()
        self._planner.see(tick, now_s)
        if self._waiting is not None and tick < self._waiting.tick:
            # the clock was reset; what is waited for will not come
            self._stop_waiting()
        if not self._switch.is_running:
            return
        request = self._planner.ask(observation.values, now_s)
        if request is None:
            return
        if self._pictures is None:
            self._plan(request, None)
            return
        self._waiting = request
        self._pictures.ask(observation.stamp_ns, self._take_pictures)

    def _take_pictures(self, found: Messages | StaleStreamError) -> None:
        """Pictures for the request that waits for them, or why there is no chunk."""
        request, self._waiting = self._waiting, None
        assert request is not None
        if isinstance(found, StaleStreamError):
            self.get_logger().warning(f"no chunk: {found}", throttle_duration_sec=1.0)
            self._planner.finish(request, None, time.monotonic())
            return
        self._plan(request, found)

    def _plan(self, request: PlanRequest, pictures: Messages | None) -> None:
        self._jobs.put_nowait(Job(request, self._reset_seed, pictures))
        self._reset_seed = None

    def _infer(self) -> None:
        """Inference thread: one chunk a job; policies change only here, between two."""
        slot = self._slot
        assert slot is not None
        self._rehearse(slot.policy)
        while (job := self._jobs.get()) is not None:
            changed = slot.take_pending()
            policy = slot.policy.base
            if changed:
                self._planner.delay.restart()
            if job.reset_seed is not None or changed:
                policy.reset(job.reset_seed or 0)
            chunk = self._predict(policy, job)
            before = self._planner.delay.steps
            now_s = time.monotonic()
            if self._planner.finish(job.request, chunk, now_s) and chunk is not None:
                self._publish(job.request, chunk)
            if self._planner.delay.steps != before:
                self.get_logger().info(
                    f"95 % of the last chunks took up to {self._planner.delay.slow:.2f} steps: "
                    f"planned {self._planner.delay.steps} ahead from now on"
                )

    def _rehearse(self, policy: AssemblyPolicy) -> None:
        """Measures inference before the first chunk, whose successor may have to be early."""
        obs, images = plausible_input(policy.base)
        seconds: list[float] = []
        for _ in range(REHEARSALS):
            began_s = time.monotonic()
            policy.base.predict_chunk(obs, None, images)
            seconds.append(time.monotonic() - began_s)
        # other nodes are starting; the shortest is the nearest to what the policy needs
        self._planner.rehearse(min(seconds))

    def _predict(self, policy: BasePolicy, job: Job) -> ActionChunk | None:
        """The chunk that was asked for; None when there is none."""
        try:
            images = decode_pictures(job.pictures) if job.pictures is not None else None
            plan = policy.predict_chunk(job.request.observation[None], None, images)[0]
            actions = policy.normalizer.denormalize_action(plan)
            return self._planner.cut(job.request, actions, policy.action_steps)
        except DataError as error:
            self.get_logger().error(f"no chunk: {error}", throttle_duration_sec=1.0)
            return None

    def _publish(self, request: PlanRequest, chunk: ActionChunk) -> None:
        self._trace.mark(latency.BASE_OBSERVED, request.tick, request.asked_s)
        self._trace.mark(latency.PLANNED, request.tick)
        message = JointTrajectory()
        messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint, action_names(self._task))
        self._chunks.publish(message)
        self._trace.mark(latency.CHUNK_SENT, request.tick)
        self._latencies_ms.append((time.monotonic() - request.asked_s) * 1e3)
        self._counts["chunks"] += 1
        self._counts["ahead"] += request.is_ahead


def main() -> int:
    """Entry point of the `base_policy` command."""
    return run_node(BasePolicyNode, nice=POLICY_NICE)


if __name__ == "__main__":
    sys.exit(main())
