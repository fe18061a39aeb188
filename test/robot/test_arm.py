# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable

import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.control import CommandPath
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.interpolation import Segment
from resip_ros.core.kinematics import forward
from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.arm_state import Phase
from resip_ros.robot.connection import FaultKind, RobotUnavailable
from resip_ros.robot.fci_state import ERROR_CARTESIAN_REFLEX
from resip_ros.robot.world import SimulatedWorld

AMPLITUDE = np.array([0.15, 0.1, 0.1, 0.1, 0.15, 0.15, 0.15])
RATE = 2 * np.pi * 0.4


def wait_for(arm: FrankaArm, phase: Phase, timeout_s: float = 3.0) -> None:
    deadline = time.monotonic() + timeout_s
    while arm.phase is not phase and time.monotonic() < deadline:
        time.sleep(0.005)
    assert arm.phase is phase


def wait_until(arm: FrankaArm, robot_time_s: float) -> None:
    while arm.state().time_s < robot_time_s:
        time.sleep(0.001)


def follow_wave(arm: FrankaArm, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Sends a wave as policy steps; measured and wanted joints (K, 7) meanwhile."""
    q, dq = arm.reference()
    start, begin = q.copy(), arm.state().time_s
    measured, wanted = [], []

    def wave(t: float) -> np.ndarray:
        return start + AMPLITUDE * (1 - np.cos(RATE * t))

    for k in range(steps):
        target = wave((k + 1) * 0.1)
        speed = (target - q) / 0.1
        arm.follow(Segment(q[None], dq[None], target[None], speed[None], 0.1))
        q, dq = target, speed
        while (state := arm.state()).time_s < begin + (k + 1) * 0.1:
            measured.append(state.q)
            wanted.append(wave(state.time_s - begin))
            time.sleep(0.005)
    return np.array(measured), np.array(wanted)


def test_start_holds_the_measured_joints(arm: FrankaArm) -> None:
    before = arm.state()
    time.sleep(0.3)
    after = arm.state()
    assert arm.phase is Phase.HOLDING
    assert after.mode == "Move"
    np.testing.assert_allclose(after.q, before.q, atol=2e-3)


def test_commands_are_refused_before_enable(arm: FrankaArm) -> None:
    q, dq = arm.reference()
    with pytest.raises(UnsafeCommand, match="arm is holding, expected following"):
        arm.follow(Segment(q[None], dq[None], q[None], dq[None], 0.1))


def test_wave_is_tracked_then_watchdog_holds_and_stays(arm: FrankaArm) -> None:
    arm.enable()
    measured, wanted = follow_wave(arm, steps=12)
    assert np.sqrt(np.mean((measured - wanted) ** 2)) < 6e-3
    last = arm.state().time_s
    config = arm.config
    wait_for(arm, Phase.HOLDING)
    assert arm.timed_out
    wait_until(arm, last + config.command_timeout_s + config.hold_duration_s)
    assert np.abs(arm.state().dq).max() < 0.02
    q, dq = arm.reference()
    with pytest.raises(UnsafeCommand, match="no command came in time"):
        arm.follow(Segment(q[None], dq[None], q[None], dq[None], 0.1))
    assert arm.phase is Phase.HOLDING


def follow_shaking(arm: FrankaArm, steps: int, late_s: float) -> np.ndarray:
    """Random targets about the TCP, every eighth late; tracking errors (K,) rad meanwhile."""
    rng = np.random.default_rng(0)
    path = CommandPath(arm.config, 1)
    begin = arm.state()
    pos, rot = forward(begin.q)
    centre = encode_action(pos, rot, np.array(-1.0))
    errors = []
    for k in range(steps):
        wait_until(arm, begin.time_s + 0.1 * k + (late_s if k % 8 == 7 else 0.0))
        target = centre + np.r_[rng.uniform(-0.03, 0.03, 9), 0.0]
        q_ref, dq_ref = arm.reference()
        path.reset(slice(None), q_ref, dq_ref)
        measured = arm.state().q
        arm.follow(path.step(target[None], measured[None]))
        errors.append(np.abs(q_ref - measured).max())
    return np.array(errors)


def test_violent_and_late_commands_are_tracked(arm: FrankaArm) -> None:
    """Without bounds on acceleration and torque the rate limit makes it swing up to a reflex."""
    arm.home()
    arm.wait_until_homed(20.0)
    arm.enable()
    errors = follow_shaking(arm, steps=40, late_s=0.08)
    assert arm.phase is Phase.FOLLOWING
    assert errors.max() < 0.2


def test_homing_reaches_home(arm: FrankaArm) -> None:
    duration = arm.home()
    arm.wait_until_homed(10 * duration + 5.0)
    wait_until(arm, arm.state().time_s + 0.3)
    np.testing.assert_allclose(arm.state().q, arm.config.home_joints, atol=5e-3)


def test_interrupted_homing_is_not_home(arm: FrankaArm) -> None:
    arm.home()
    arm.hold()
    with pytest.raises(RobotUnavailable, match="did not reach home"):
        arm.wait_until_homed(1.0)


def test_torque_control_begins_soft(world: SimulatedWorld) -> None:
    arm = FrankaArm(world.config, world.hostname)
    arm.connect()
    before = arm.state()
    arm.start_tracking()
    after = arm.state()
    assert after.time_s - before.time_s >= world.config.soft_start_s
    np.testing.assert_allclose(after.q, before.q, atol=5e-3)
    arm.close()


def test_error_in_the_reference_thread_ends_the_torque_motion(
    arm: FrankaArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """franky's own thread would track the last reference for ever."""

    def fail(*_: object) -> None:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("resip_ros.robot.arm.clip_reference", fail)
    wait_for(arm, Phase.FAULT)
    deadline = time.monotonic() + 5.0
    while arm.state().mode == "Move":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    monkeypatch.undo()
    arm.recover()
    arm.start_tracking()
    assert arm.phase is Phase.HOLDING


class Watcher:
    """Stands in for the supervisor; counts."""

    def __init__(self) -> None:
        self.beats = self.rests = 0

    def beat(self) -> None:
        self.beats += 1

    def rest(self) -> None:
        self.rests += 1


def test_signs_of_life_come_only_while_it_leads(world: SimulatedWorld) -> None:
    watcher = Watcher()
    arm = FrankaArm(world.config, world.hostname, watcher)  # type: ignore[arg-type]
    arm.connect()
    assert watcher.beats == 0
    arm.start_tracking()
    deadline = time.monotonic() + 5.0
    while watcher.beats < 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert watcher.rests == 0
    arm.close()
    assert watcher.rests == 1


def test_reflex_needs_recovery_and_recovery_does_not_move(
    arm: FrankaArm, world: SimulatedWorld
) -> None:
    world.inject_reflex(ERROR_CARTESIAN_REFLEX)
    wait_for(arm, Phase.FAULT)
    assert arm.fault is not None
    assert arm.fault.kind is FaultKind.REFLEX
    assert "cartesian_reflex" in arm.fault.message
    assert arm.state().errors == ("cartesian_reflex",)
    with pytest.raises(UnsafeCommand, match="arm is fault"):
        arm.start_tracking()
    arm.recover()
    assert arm.phase is Phase.IDLE
    state = arm.state()
    assert state.errors == ()
    assert np.abs(state.dq).max() < 0.05
    arm.start_tracking()
    assert arm.phase is Phase.HOLDING


def test_stop_gives_control_back_and_can_start_again(arm: FrankaArm) -> None:
    arm.stop()
    assert arm.phase is Phase.IDLE
    assert arm.state().mode == "Idle"
    arm.start_tracking()
    assert arm.phase is Phase.HOLDING


def test_lost_connection_is_a_network_fault_and_reconnects(
    new_address: Callable[[], str],
) -> None:
    address = new_address()
    world = SimulatedWorld("one_leg", addresses=[address])
    world.start()
    arm = FrankaArm(world.config, address)
    arm.connect()
    arm.start_tracking()
    world.stop()
    wait_for(arm, Phase.FAULT, timeout_s=5.0)
    assert arm.fault is not None
    assert arm.fault.kind is FaultKind.NETWORK
    with pytest.raises(RobotUnavailable):
        arm.recover()
    assert arm.phase is Phase.FAULT
    world.start()
    arm.recover()
    assert arm.phase is Phase.IDLE
    arm.close()
    world.stop()
