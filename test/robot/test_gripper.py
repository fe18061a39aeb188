# SPDX-License-Identifier: Apache-2.0
import gc
import time
from collections.abc import Callable, Iterator

import pytest

from resip_ros.core.config import ControlConfig
from resip_ros.robot.connection import RobotUnavailable
from resip_ros.robot.gripper import GripperGoal, GripperWorker
from resip_ros.robot.world import SimulatedWorld


@pytest.fixture
def gripper(world: SimulatedWorld) -> Iterator[GripperWorker]:
    gripper = GripperWorker(world.config, world.hostname)
    gripper.connect()
    yield gripper
    gripper.request(GripperGoal.OPEN)
    gripper.wait_until_idle(5.0)
    gripper.close()


def test_closes_and_opens_at_the_configured_speed(
    gripper: GripperWorker, world: SimulatedWorld
) -> None:
    config = world.config
    start = world.sim_time_s
    gripper.command(1.0)
    while gripper.state().width_m > 0.01:
        assert world.sim_time_s - start < 3.0
        time.sleep(0.002)
    speed = (config.gripper_max_width_m - 0.01) / (world.sim_time_s - start)
    assert 0.6 * config.gripper_speed_m_s < speed < 1.1 * config.gripper_speed_m_s
    assert gripper.wait_until_idle(3.0)
    assert gripper.state().width_m == pytest.approx(0.0, abs=2e-3)
    gripper.command(-1.0)
    assert gripper.wait_until_idle(3.0)
    assert gripper.state().width_m == pytest.approx(config.gripper_max_width_m, abs=2e-3)
    assert gripper.state().failures == 0


def test_width_stays_fresh_during_a_motion(gripper: GripperWorker) -> None:
    gripper.command(1.0)
    ages = []
    while gripper.state().is_moving or len(ages) < 10:
        ages.append(gripper.state().age_s)
        time.sleep(0.01)
    assert sorted(ages)[len(ages) // 2] < 0.1


def test_small_values_and_repeats_change_nothing(gripper: GripperWorker) -> None:
    gripper.command(1.0)
    assert gripper.wait_until_idle(3.0)
    for value in (1.0, 0.1, -0.1, 0.5):
        gripper.command(value)
        time.sleep(0.02)
        assert gripper.state().goal is GripperGoal.CLOSED
        assert not gripper.state().is_moving


def test_changed_mind_is_taken_up_after_the_motion(gripper: GripperWorker) -> None:
    gripper.command(1.0)
    time.sleep(0.1)
    gripper.command(-1.0)
    assert gripper.wait_until_idle(6.0)
    state = gripper.state()
    assert state.goal is GripperGoal.OPEN
    assert state.failures == 0


def test_a_gripper_whose_command_was_stranded_works_again(
    world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The robot forgets a command, as real ones do; then only a fresh connection helps."""
    gripper = GripperWorker(world.config, world.hostname)
    gripper.connect()
    server = world._servers[0]._FrankaRobotServer__gripper_server
    answers = type(server)._check_motion_state
    monkeypatch.setattr(type(server), "_check_motion_state", lambda self: None)
    gripper.command(1.0)
    deadline = time.monotonic() + 30
    while not gripper.state().failures:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    monkeypatch.setattr(type(server), "_check_motion_state", answers)
    assert "failed to become closed: no end of the motion" in gripper.problem()
    assert gripper.wait_until_idle(10.0)
    gripper.forgive()
    assert gripper.problem() == ""
    gripper.command(-1.0)
    assert gripper.wait_until_idle(20.0)
    state = gripper.state()
    assert state.failures == 1
    assert state.width_m == pytest.approx(world.config.gripper_max_width_m, abs=2e-3)
    gripper.close()
    # nothing waits for the old connection, whose command never ends
    begin_s = time.monotonic()
    del gripper
    gc.collect()
    assert time.monotonic() - begin_s < 5.0


def test_unreachable_gripper_is_a_clear_error(
    config: ControlConfig, new_address: Callable[[], str]
) -> None:
    with pytest.raises(RobotUnavailable, match="gripper at .* refused"):
        GripperWorker(config, new_address()).connect()


def test_silence_is_a_problem_until_it_ends(gripper: GripperWorker, world: SimulatedWorld) -> None:
    def wait_until(is_silent: bool) -> None:
        deadline = time.monotonic() + 30
        while bool(gripper.problem()) != is_silent:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    assert gripper.problem() == ""
    world.disturb(lambda robot: robot.silence_gripper(True))
    wait_until(True)
    assert "has been silent for" in gripper.problem()
    gripper.forgive()
    assert "has been silent for" in gripper.problem()
    # libfranka gives the connection up meanwhile
    time.sleep(2.5)
    world.disturb(lambda robot: robot.silence_gripper(False))
    wait_until(False)
    # one command in flight, as before, on the new connection
    gripper.command(1.0)
    assert gripper.wait_until_idle(20.0)
    assert gripper.state().failures == 0
    assert gripper.state().width_m == pytest.approx(0.0, abs=2e-3)
