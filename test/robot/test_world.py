# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Callable

import numpy as np
import pytest

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.tasks import get_task
from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.world import SimulatedWorld
from resip_ros.sim.initial_states import sample_initial_state
from resip_ros.sim.scene import build_scene


def test_robot_clock_is_simulation_time(world: SimulatedWorld, arm: FrankaArm) -> None:
    earliest = world.sim_time_s
    robot_time = arm.state().time_s
    assert earliest - 0.002 <= robot_time <= world.sim_time_s


def test_placed_parts_are_the_initial_state_of_training(
    world: SimulatedWorld, config: ControlConfig
) -> None:
    world.place_parts(3, seed=5)
    task = get_task("one_leg")
    model = build_scene("one_leg", config).compile()
    state = sample_initial_state(model, task, config, "low", 5, 3)
    time.sleep(0.1)
    poses = world.part_poses()
    for name, pose in state.part_qpos.items():
        np.testing.assert_allclose(poses[name][:3], pose[:3], atol=1e-4)
    np.testing.assert_allclose(poses["fixture"][:3], state.mocap_pos[0])
    assert set(poses) == set(task.observed)


def test_placed_parts_rest(world: SimulatedWorld) -> None:
    world.place_parts(7)
    before = world.part_poses()
    time.sleep(0.5)
    after = world.part_poses()
    for name, pose in before.items():
        np.testing.assert_allclose(after[name][:3], pose[:3], atol=2e-4)


def test_success_is_seen_from_part_poses(world: SimulatedWorld) -> None:
    world.place_parts(0)
    assert not world.success()
    pair = world.task.pairs[0]
    top = world.part_poses()[pair.parent]

    def assemble() -> None:
        data, start = world._data, world._part_qpos  # there is no public way to cheat
        at = start[pair.child]
        data.qpos[at : at + 3] = top[:3] + np.array(pair.positions[0])
        data.qpos[at + 3 : at + 7] = [1.0, 0.0, 0.0, 0.0]
        at = start[pair.parent]
        data.qpos[at + 3 : at + 7] = [1.0, 0.0, 0.0, 0.0]

    world.run_in_physics(assemble)
    time.sleep(0.02)
    assert world.success()
    world.place_parts(0)


def test_blown_up_physics_goes_back_to_the_last_good_state(world: SimulatedWorld) -> None:
    world.place_parts(0)
    before = world.part_poses()

    def blow_up() -> None:
        data, start = world._data, world._part_qpos
        data.qvel[start["leg1"] : start["leg1"] + 6] = np.inf

    world.run_in_physics(blow_up)
    time.sleep(0.1)
    assert world.is_running
    snapshot = world.snapshot()
    assert np.isfinite(snapshot.qpos).all()
    np.testing.assert_allclose(snapshot.qpos[:7], world.config.home_joints, atol=0.02)
    np.testing.assert_allclose(world.part_poses()["leg4"], before["leg4"], atol=1e-3)


def test_taken_port_is_a_clear_error(world: SimulatedWorld) -> None:
    second = SimulatedWorld("one_leg", addresses=[world.hostname])
    with pytest.raises(ResipError, match=r"ports 1337 and 1338 are taken on 127\..*127\.0\.0\.2"):
        second.start()


def test_realtime_factor_paces_the_world(new_address: Callable[[], str]) -> None:
    world = SimulatedWorld("one_leg", realtime_factor=0.25, addresses=[new_address()])
    with world:
        start = world.sim_time_s
        time.sleep(1.0)
        assert 0.1 < world.sim_time_s - start < 0.3


def test_step_hook_gets_rising_times(new_address: Callable[[], str]) -> None:
    times: list[float] = []
    with SimulatedWorld(
        "one_leg", addresses=[new_address()], step_hook=lambda s: times.append(s.sim_time_s)
    ):
        time.sleep(0.3)
    assert len(times) > 10
    np.testing.assert_allclose(np.diff(times), 0.005)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="realtime_factor"):
        SimulatedWorld("one_leg", realtime_factor=0.0)
    with pytest.raises(ConfigError, match="unknown task"):
        SimulatedWorld("two_leg")
    with pytest.raises(ConfigError, match="2 arms, got 1 addresses"):
        SimulatedWorld("biman_insert", addresses=["127.0.0.1"])


def test_world_that_does_not_run_has_no_address() -> None:
    with pytest.raises(ResipError, match="not running"):
        _ = SimulatedWorld("one_leg").hostname
