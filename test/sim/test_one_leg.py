# SPDX-License-Identifier: Apache-2.0
"""Parts of one_leg: masses, nominal poses, and impulses of the stated size."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import matrix_to_quat_wxyz
from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim import one_leg
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import IMPULSE_S, get_randomness


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_scene("one_leg", load_control_config()).compile()


def test_masses_and_inertia(model):
    assert model.body("top").mass[0] == pytest.approx(0.151)
    planar = 0.151 / 12 * (0.1625**2 + 0.03125**2)
    np.testing.assert_allclose(model.body("top").inertia, [planar, planar, 0.151 / 6 * 0.1625**2])
    for name in one_leg.LEGS:
        assert model.body(name).mass[0] == pytest.approx(0.0231)
        # the centre of mass is in the square body, not out in the stud
        assert np.abs(model.body(name).ipos[:2]).max() < 1e-4
        assert -0.02 < model.body(name).ipos[2] < 0.0


def test_goal_of_the_task_fits_the_geometry():
    """A seated leg's shoulder is on the face, over a hole of the top."""
    for x, y, z in ONE_LEG.pairs[0].positions:
        assert (abs(x), abs(y)) == (one_leg.HOLE_M, one_leg.HOLE_M)
        assert z + one_leg.LEG_SHOULDER_M == pytest.approx(one_leg.TOP_HALF_THICK_M)
    stud = one_leg.LEG_SHOULDER_M - one_leg.LEG_TIP_M
    assert stud == pytest.approx(one_leg.THREAD.stud_length)


def test_nominal_parts_rest_on_the_bench_apart(model):
    data = mujoco.MjData(model)
    for name, (pos, rot) in one_leg.nominal_poses().items():
        quat = matrix_to_quat_wxyz(rot)
        data.joint(name).qpos[:] = np.concatenate([pos, quat])
    mujoco.mj_forward(model, data)
    assert set(one_leg.nominal_poses()) == set(ONE_LEG.parts)
    touching = [{model.geom(c.geom1).name, model.geom(c.geom2).name} for c in data.contact]
    assert all("bench" in pair for pair in touching), touching
    assert max(-c.dist for c in data.contact) < 2e-4


def test_impulses_are_bounded_and_planar(rng):
    low = get_randomness("low")
    speeds, spins = [], []
    for _ in range(300):
        velocities = one_leg.SCENE.sample_velocities(low, rng)
        assert set(velocities) == set(ONE_LEG.parts)
        for linear, angular in velocities.values():
            assert linear[2] == angular[0] == angular[1] == 0.0
        speeds.append(np.linalg.norm(velocities["leg2"][0]))
        spins.append(velocities["leg2"][1][2])
    largest = low.impulse_force_n * IMPULSE_S / one_leg.LEG_MASS_KG
    assert 0.95 * largest < max(speeds) <= largest
    assert np.mean(speeds) == pytest.approx(largest / 2, rel=0.1)
    assert min(spins) < 0 < max(spins)


def test_med_is_wider_than_low():
    low, med = get_randomness("low"), get_randomness("med")
    assert low.fixture_m < med.fixture_m
    assert low.joint_rad < med.joint_rad
    assert low.impulse_force_n < med.impulse_force_n
    with pytest.raises(ConfigError, match="unknown randomness 'huge'.*low, med, high"):
        get_randomness("huge")
