# SPDX-License-Identifier: Apache-2.0
import dataclasses
import time

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.arm_state import Phase
from resip_ros.robot.history import KEPT_S, PERIOD_S, History, Moment
from resip_ros.robot.world import SimulatedWorld


def moment(time_s):
    return Moment(time_s, np.zeros(3), np.zeros((1, 3)), np.zeros(1), ((0.0, 0.0),))


def test_the_last_moment_up_to_a_time_and_nothing_after_it():
    history = History()
    for tenth in range(10, 20):
        history.add(moment(tenth / 10))
    assert history.go_back(1.55).sim_time_s == 1.5
    assert history.go_back(9.0).sim_time_s == 1.5
    with pytest.raises(ConfigError, match="from 1.0 s on"):
        history.go_back(0.9)
    history.clear()
    with pytest.raises(ConfigError, match="nowhere"):
        history.go_back(9.0)


def test_old_moments_are_forgotten():
    history = History()
    for number in range(1000):
        history.add(moment(number * PERIOD_S))
    with pytest.raises(ConfigError):
        history.go_back(100 - KEPT_S - 1)


def wait_for(done):
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_bench_and_arm_go_back_and_rest_until_somebody_starts_again(
    world: SimulatedWorld, arm: FrankaArm
) -> None:
    world.place_parts(0)
    with pytest.raises(ConfigError, match="undo less"):
        world.undo(KEPT_S)
    away = np.array(world.config.home_joints)
    away[0] += 0.3
    begun_s = world.sim_time_s
    wait_for(lambda: world.sim_time_s > begun_s + 0.3)
    before = world.snapshot()

    def push() -> None:
        data, start = world._data, world._part_qpos["leg1"]
        data.qpos[start] += 0.05

    world.run_in_physics(push)
    config = arm.config
    arm.config = dataclasses.replace(config, home_joints=tuple(away))
    arm.home()
    arm.wait_until_homed(30.0)
    assert abs(world.snapshot().qpos[0] - away[0]) < 0.02
    arm.config = config
    world.undo(world.sim_time_s - before.sim_time_s)
    wait_for(lambda: arm.phase is Phase.FAULT)
    resting_s = world.sim_time_s
    wait_for(lambda: world.sim_time_s > resting_s + 0.3)
    after = world.snapshot()
    assert after.sim_time_s > before.sim_time_s, "the clock never goes back"
    np.testing.assert_allclose(after.qpos[:9], before.qpos[:9], atol=2e-3)
    leg = world._part_qpos["leg1"]
    np.testing.assert_allclose(after.qpos[leg : leg + 3], before.qpos[leg : leg + 3], atol=1e-3)
    assert np.abs(after.qvel[:7]).max() < 0.02
    arm.recover()
    assert arm.phase is Phase.IDLE
    arm.start_tracking()
    np.testing.assert_allclose(arm.state().q, before.qpos[:7], atol=5e-3)
