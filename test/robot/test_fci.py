# SPDX-License-Identifier: Apache-2.0
"""The live arm obeys the law of training: same torque, same motion."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import mujoco
import numpy as np

from resip_ros.core.config import ControlConfig
from resip_ros.core.interpolation import Segment
from resip_ros.core.limits import clip_reference
from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.arm_state import Phase
from resip_ros.robot.connection import FaultKind
from resip_ros.robot.world import SimulatedWorld, WorldSnapshot
from resip_ros.sim.arm import joint_control
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import TICK_S

STEP_S = 0.1
CLIP_SUBSTEPS = 5
"""As in training.env."""


def make_segments(q: np.ndarray, steps: int) -> list[Segment]:
    """A row of segments that swings all joints, smoothly enough that the clip does not act.

    Where it acts the two differ by a few mrad: the bridge clips every 5 ms, the env every 10.
    """
    at, speed, segments = q[None].copy(), np.zeros((1, 7)), []
    for k in range(steps):
        sides = np.where(np.arange(7) % 2, -1.0, 1.0)
        target = (q + 0.06 * sides * (1.0 - np.cos(0.5 * (k + 1))))[None]
        mean = (target - at) / STEP_S
        segments.append(Segment(at, speed, target, mean, STEP_S))
        at, speed = target, mean
    return segments


def run_training_law(
    config: ControlConfig, q: np.ndarray, segments: list[Segment], times: np.ndarray
) -> np.ndarray:
    """Joints (K, 7) at times under the position actuators of the training model."""
    model = build_scene("one_leg", config).compile()
    data = mujoco.MjData(model)
    data.qpos[:7] = q
    data.ctrl[7] = 0.5 * config.gripper_max_width_m
    mujoco.mj_forward(model, data)
    joints, now = [], []
    for segment in segments:
        for k in range(round(STEP_S / model.opt.timestep)):
            q_ref, dq_ref = (x[0, 0] for x in segment.sample(np.array([k * model.opt.timestep])))
            if k % CLIP_SUBSTEPS == 0:
                seen, seen_speed = data.qpos[:7].copy(), data.qvel[:7].copy()
            q_ref = clip_reference(config, q_ref, dq_ref, seen, seen_speed)
            data.ctrl[:7] = joint_control(config, q_ref, dq_ref)
            now.append(data.time)
            joints.append(data.qpos[:7].copy())
            mujoco.mj_step(model, data)
    return np.array([np.interp(times, now, column) for column in np.array(joints).T]).T


class Lockstep:
    """Physics waits every 5 ms for the arm's reference of that instant, and for its segments.

    On an idle machine both are there in time; on a busy one the test only takes longer.
    """

    def __init__(self) -> None:
        self.times: list[float] = []
        """Since the first segment, s."""
        self.live: list[np.ndarray] = []
        """Joints (7,) then, rad."""
        self._written = threading.Condition()
        self._written_s = 0.0
        self._arm: FrankaArm | None = None
        self._ended = threading.Event()

    def follow(self, arm: FrankaArm, segments: list[Segment]) -> None:
        """Has an arm follow segments, one after the other."""
        note = arm.timing.note

        def noting(command: tuple[float, float] | None, now_s: float, success: float) -> None:
            note(command, now_s, success)
            with self._written:
                self._written_s = now_s
                self._written.notify_all()

        arm.timing.note = noting
        arm.enable()
        self._segments, self._begin_s = iter(segments), None
        self._next_s = 0.0
        self._arm = arm
        assert self._ended.wait(60.0), arm.fault

    def __call__(self, snapshot: WorldSnapshot) -> None:
        """In the physics thread, with the state of this tick sent."""
        if self._arm is None or self._ended.is_set():
            return
        now_s = snapshot.sim_time_s
        with self._written:
            # shorter than libfranka's patience
            self._written.wait_for(lambda: self._written_s > now_s - 0.5 * TICK_S, 0.5)
        if self._begin_s is None:
            self._begin_s = self._next_s = now_s
        if now_s > self._next_s - 0.5 * TICK_S:
            segment = next(self._segments, None)
            if segment is None:
                self._ended.set()
                return
            self._arm.follow(segment)
            self._next_s += STEP_S
        self.times.append(now_s - self._begin_s)
        self.live.append(snapshot.qpos[:7])


def test_motion_equals_that_of_the_training_model(new_address: Callable[[], str]) -> None:
    lockstep = Lockstep()
    addresses = [new_address()]
    with SimulatedWorld("one_leg", seed=1, addresses=addresses, step_hook=lockstep) as world:
        arm = FrankaArm(world.config, world.hostname)
        arm.connect()
        arm.start_tracking()
        duration = arm.home()
        arm.wait_until_homed(10 * duration + 5.0)
        settled = arm.state().time_s + 0.5
        while arm.state().time_s < settled:
            time.sleep(0.01)
        q, _ = arm.reference()
        segments = make_segments(q, 12)
        lockstep.follow(arm, segments)
        arm.close()
    trained = run_training_law(world.config, q, segments, np.array(lockstep.times))
    error = np.abs(np.array(lockstep.live) - trained)
    assert len(error) == round(12 * STEP_S / 0.005)
    # 5 ms of reference hold and 1 ms of protocol at up to 0.3 rad/s
    assert np.sqrt((error**2).mean()) < 2e-3
    assert error.max() < 5e-3


CLIENT = """
import sys, time
from resip_ros.core.config import load_control_config
from resip_ros.robot.arm import FrankaArm
arm = FrankaArm(load_control_config(), sys.argv[1])
arm.connect()
arm.start_tracking()
print("tracking", flush=True)
time.sleep(60)
"""


def test_frozen_controller_stops_the_motion(world: SimulatedWorld) -> None:
    command = [sys.executable, "-c", CLIENT, world.hostname]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        try:
            assert client.stdout is not None
            assert client.stdout.readline().strip() == "tracking"
            time.sleep(0.2)
            before = world.statistics().missed_replies
            client.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            # 20 misses in a row end the motion; after that nothing is missed any more
            assert world.statistics().missed_replies - before == 20
            assert np.abs(world.snapshot().qvel[:7]).max() < 0.02
        finally:
            client.send_signal(signal.SIGKILL)
    arm = FrankaArm(world.config, world.hostname)
    arm.connect()
    assert arm.phase is Phase.FAULT
    assert arm.fault is not None
    assert "communication_constraints_violation" in arm.fault.message
    # the last 20 of 100 replies did not come
    assert arm.state().success_rate <= 0.8 + 1e-6  # a float32 of the protocol
    arm.recover()
    assert arm.phase is Phase.IDLE
    arm.close()


def test_pressing_on_the_bench_reflexes(arm: FrankaArm) -> None:
    arm.enable()
    q, dq = arm.reference()
    lean = np.zeros(7)
    lean[1] = 0.08
    while arm.phase is Phase.FOLLOWING:
        assert q[1] < 1.2
        begin = arm.state().time_s
        target = q + lean
        arm.follow(Segment(q[None], dq[None], target[None], lean[None] / STEP_S, STEP_S))
        q, dq = target, lean / STEP_S
        while arm.phase is Phase.FOLLOWING and arm.state().time_s < begin + STEP_S:
            time.sleep(0.002)
    assert arm.fault is not None
    assert arm.fault.kind is FaultKind.REFLEX
    assert "_reflex" in arm.fault.message
