# SPDX-License-Identifier: Apache-2.0
"""Arms led together: by stand-ins, and two real clients on one simulated world."""

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from resip_ros.core.action import ACTION_DIM, encode_action
from resip_ros.core.arms import to_task_frame
from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ConfigError, UnsafeCommand
from resip_ros.core.interpolation import Segment
from resip_ros.core.kinematics import forward
from resip_ros.core.tasks import get_task, split_addresses
from resip_ros.nodes.command_gate import CommandGate
from resip_ros.robot.arm_state import Fault, Phase
from resip_ros.robot.connection import FaultKind, RobotUnavailable
from resip_ros.robot.fci_state import ERROR_CARTESIAN_REFLEX
from resip_ros.robot.group import RobotGroup
from resip_ros.robot.world import SimulatedWorld

TASK = get_task("biman_insert")
MS = 1_000_000


class StandIn:
    """Link, arm and gripper of one robot at once."""

    def __init__(self, _: ControlConfig, address: str, __: float) -> None:
        if address == "silent":
            raise RobotUnavailable("no answer")
        self.address, self.phase, self.fault, self.timed_out = address, Phase.HOLDING, None, False
        self.arm = self.gripper = self
        self.calls: list[str] = []
        self.refuses = False
        self.failure = ""
        self.is_silent = False

    def enable(self) -> None:
        if self.phase is not Phase.HOLDING:
            raise UnsafeCommand(f"arm is {self.phase.value}")
        self.phase = Phase.FOLLOWING

    def start_tracking(self) -> None:
        self.phase = Phase.HOLDING

    def follow(self, segment: Segment) -> None:
        if self.phase is not Phase.FOLLOWING or self.refuses:
            raise UnsafeCommand(f"{self.address} does not follow")
        assert segment.q_start.shape == (1, 7)
        self.calls.append("follow")

    def command(self, value: float) -> None:
        self.calls.append(f"gripper {value:g}")

    def problem(self) -> str:
        return "silent" if self.is_silent else self.failure

    def forgive(self) -> None:
        self.failure = ""

    def home(self, on_end: Callable[[str], None]) -> None:
        self.on_homed = on_end

    def require_no_homing(self) -> None:
        pass

    def hold(self) -> None:
        if self.phase is Phase.FOLLOWING:
            self.phase = Phase.HOLDING

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def group(config: ControlConfig) -> RobotGroup:
    return RobotGroup(config, ["left", "right"], connect=cast("Any", StandIn))


def resting_segment() -> Segment:
    zero = np.zeros((2, 7))
    return Segment(zero, zero, zero, zero, 0.02)


def test_the_arm_that_is_led_least_speaks_for_all(group: RobotGroup) -> None:
    left, right = group.links
    group.enable()
    assert group.phase is Phase.FOLLOWING
    right.arm.phase = Phase.HOLDING
    assert group.phase is Phase.HOLDING
    right.arm.phase, right.arm.fault = Phase.FAULT, Fault(FaultKind.REFLEX, "pushed")
    assert group.phase is Phase.FAULT
    assert group.fault == "arm at right: pushed"
    group.hold_others()
    assert left.arm.phase is Phase.HOLDING


def test_either_all_arms_follow_or_none(group: RobotGroup) -> None:
    left, right = group.links
    right.arm.phase = Phase.FAULT
    with pytest.raises(UnsafeCommand, match="fault"):
        group.enable()
    assert left.arm.phase is Phase.HOLDING
    right.arm.phase = Phase.IDLE
    group.enable()
    group.follow(resting_segment(), np.array([1.0, -1.0]))
    assert left.calls == ["follow", "gripper 1"]
    assert right.calls == ["follow", "gripper -1"]
    right.arm.phase = Phase.HOLDING
    with pytest.raises(UnsafeCommand, match="right does not follow"):
        group.follow(resting_segment(), np.zeros(2))
    assert left.calls == ["follow", "gripper 1"]


def test_an_arm_that_refuses_its_part_makes_all_hold(group: RobotGroup) -> None:
    group.enable()
    group.links[1].refuses = True
    with pytest.raises(UnsafeCommand):
        group.follow(resting_segment(), np.zeros(2))
    assert group.phase is Phase.HOLDING
    assert "right does not follow" in group.ended
    group.links[1].refuses = False
    group.enable()
    assert group.ended == ""


def test_homed_is_told_once_and_with_every_reason(group: RobotGroup) -> None:
    told: list[str] = []
    group.home(told.append)
    group.links[0].on_homed("")
    assert told == []
    group.links[1].on_homed("stuck")
    assert told == ["stuck"]


def test_one_robot_that_does_not_answer_closes_the_others(config: ControlConfig) -> None:
    made: list[StandIn] = []

    def connect(*args: Any) -> StandIn:
        made.append(StandIn(*args))
        return made[-1]

    with pytest.raises(RobotUnavailable):
        RobotGroup(config, ["left", "silent"], connect=cast("Any", connect))
    assert made[0].calls == ["close"]


def test_addresses_are_one_for_each_arm() -> None:
    assert split_addresses("10.0.0.1, 10.0.0.2", TASK) == ("10.0.0.1", "10.0.0.2")
    for text in ("10.0.0.1", "10.0.0.1,10.0.0.1", "1,2,3", ""):
        with pytest.raises(ConfigError, match="2 arms.*left,right"):
            split_addresses(text, TASK)


@pytest.fixture(scope="module")
def live(
    config: ControlConfig, new_address: Callable[[], str]
) -> Iterator[tuple[SimulatedWorld, RobotGroup]]:
    """Two simulated arms and the clients that lead them."""
    addresses = [new_address(), new_address()]
    with SimulatedWorld("biman_insert", addresses=addresses) as world:
        group = RobotGroup(config.at_rate(TASK.rate_hz), addresses)
        yield world, group
        group.close()


def test_each_arm_reports_in_its_own_base(live: tuple[SimulatedWorld, RobotGroup]) -> None:
    world, group = live
    for state, simulated in zip(group.states(), world._arms, strict=True):
        at = np.array(simulated.message.O_T_EE).reshape(4, 4, order="F")
        pos, rot = forward(state.q)
        np.testing.assert_allclose(at[:3, 3], pos, atol=1e-3)
        np.testing.assert_allclose(at[:3, :3], rot, atol=5e-3)


def test_both_arms_follow_and_a_reflex_of_one_ends_both(
    live: tuple[SimulatedWorld, RobotGroup], config: ControlConfig
) -> None:
    world, group = live
    gate = CommandGate(config.at_rate(TASK.rate_hz), TASK.arms)
    group.enable()
    begin = forward(np.stack([state.q for state in group.states()]))
    up = np.array([0.0, 0.0, 0.02])

    def lead(until_s: float) -> None:
        """Both hands 2 cm up, a command every 20 ms of the robots' clock."""
        done_ms = 0
        while (now := group.states()[0].time_s) < until_s:
            now_ms = round(1000 * now)
            if now_ms - done_ms < 20:
                time.sleep(0.001)
                continue
            done_ms = now_ms
            q = np.stack([state.q for state in group.states()])
            blocks = encode_action(begin[0] + up, begin[1], np.full(2, -1.0))
            action = to_task_frame(TASK.arms, blocks)
            assert action.shape == (2 * ACTION_DIM,)
            segment = gate.plan(now_ms * MS, action, now_ms * MS, q, group.reference())
            gate.accept(now_ms * MS)
            group.follow(segment, np.full(2, -1.0))

    lead(group.states()[0].time_s + 0.6)
    now = forward(np.stack([state.q for state in group.states()]))
    np.testing.assert_allclose(now[0] - begin[0], np.tile(up, (2, 1)), atol=6e-3)
    world.inject_reflex(ERROR_CARTESIAN_REFLEX, arm=1)
    deadline = time.monotonic() + 10.0
    while group.phase is not Phase.FAULT and time.monotonic() < deadline:
        time.sleep(0.005)
    assert group.links[1].arm.phase is Phase.FAULT
    group.hold_others()
    assert group.links[0].arm.phase is Phase.HOLDING
    with pytest.raises(UnsafeCommand):
        group.follow(resting_segment(), np.zeros(2))
    group.recover()
    assert group.phase is Phase.IDLE
    assert group.links[0].arm.phase is Phase.HOLDING


def test_a_gripper_that_fails_ends_the_motion_of_all(group: RobotGroup) -> None:
    left, right = group.links
    group.enable()
    right.failure = "the gripper failed"
    with pytest.raises(UnsafeCommand, match="the gripper failed"):
        group.follow(resting_segment(), np.array([1.0, -1.0]))
    assert left.calls == right.calls == []
    assert left.phase is right.phase is Phase.HOLDING
    assert group.ended == "the gripper failed"
    # a person starts anew: the failure is over, but nobody is led with a gripper that is silent
    group.enable()
    assert group.ended == ""
    group.hold()
    left.is_silent = True
    with pytest.raises(RobotUnavailable, match="silent"):
        group.enable()
    assert group.phase is Phase.HOLDING
