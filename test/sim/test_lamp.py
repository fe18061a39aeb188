# SPDX-License-Identifier: Apache-2.0
"""Lamp: sizes, goals, parts at rest, a hood that stays put (the thread: test_threads)."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_quat_wxyz, rotation_z, rotvec_to_matrix
from resip_ros.core.tasks import LAMP, pair_assembled
from resip_ros.sim import lamp as scene
from resip_ros.sim.scene import set_physics_options

STEP = 0.002
BULB, HOOD = LAMP.pairs


def build_spec() -> mujoco.MjSpec:
    """The parts without an arm."""
    spec = mujoco.MjSpec()
    set_physics_options(spec, STEP)
    scene.add_lamp(spec, STEP)
    return spec


def is_assembled(data: mujoco.MjData, pair) -> bool:
    bodies = [data.body(name) for name in (pair.parent, pair.child)]
    poses = [value for b in bodies for value in (b.xpos, b.xmat.reshape(3, 3))]
    return bool(pair_assembled(pair, *poses))


class Lamp:
    """Base and seated bulb, free on the bench, and a hood put over the bulb."""

    def __init__(self) -> None:
        self.model = build_spec().compile()
        self.data = mujoco.MjData(self.model)

    def drop(self, above: float, off=(0.0, 0.0), rot=None, *, lit: bool = True) -> bool:
        """Hood let go so far above its goal, m; whether it counts when all is at rest."""
        mujoco.mj_resetData(self.model, self.data)
        upright = [1.0, 0.0, 0.0, 0.0]
        if lit:
            bulb = scene.BASE_NOMINAL + BULB.positions[0]
            self.data.joint("bulb").qpos[:] = [*bulb, *upright]
        hood = scene.BASE_NOMINAL + HOOD.positions[0] + [*off, above]
        quat = upright if rot is None else matrix_to_quat_wxyz(rot)
        self.data.joint("hood").qpos[:] = [*hood, *quat]
        mujoco.mj_step(self.model, self.data, 600)
        return is_assembled(self.data, HOOD)


@pytest.fixture(scope="module")
def lamp() -> Lamp:
    return Lamp()


@pytest.mark.parametrize("off", [(0.0, 0.0), (0.0015, 0.0), (-0.001, -0.001)])
@pytest.mark.parametrize("yaw", [0.0, 0.3, 2.0])
def test_a_hood_let_go_over_the_bulb_rests_on_the_base_and_stays(lamp, off, yaw):
    assert lamp.drop(0.02, off, rotation_z(np.array(yaw)))
    height = lamp.data.body("hood").xpos[2] - scene.HOOD_HALF_M
    assert height == pytest.approx(2 * scene.BASE_HALF_HEIGHT_M, abs=5e-4)
    assert np.abs(lamp.data.joint("hood").qvel).max() < 2e-3
    assert is_assembled(lamp.data, BULB), "the bulb is left tight"


def test_the_bulb_keeps_the_hood_in_place(lamp):
    """A sideways knock that throws a hood off a base without a bulb only shakes it here."""
    counts = {}
    for lit in (True, False):
        assert lamp.drop(0.001, lit=lit)
        lamp.data.joint("hood").qvel[0] = 0.8
        mujoco.mj_step(lamp.model, lamp.data, 600)
        counts[lit] = is_assembled(lamp.data, HOOD)
    assert counts == {True: True, False: False}


def test_a_hood_upside_down_or_beside_the_bulb_does_not_count(lamp):
    assert not lamp.drop(0.02, rot=rotvec_to_matrix(np.array([np.pi, 0.0, 0.0])))
    assert not lamp.drop(0.10, off=(0.06, 0.0))


def test_the_goals_fit_the_geometry():
    assert BULB.positions[0][2] + scene.BULB_SHOULDER_M == pytest.approx(scene.BASE_HALF_HEIGHT_M)
    assert BULB.tip[2] == pytest.approx(scene.BULB_TIP_M)
    assert BULB.depth == scene.THREAD.stud_length
    hood = HOOD.positions[0][2] - scene.HOOD_HALF_M
    assert hood == pytest.approx(scene.BASE_HALF_HEIGHT_M)
    assert HOOD.tip[2] == pytest.approx(-scene.HOOD_HALF_M)


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_spec().compile()


def test_masses_and_sizes(model):
    for name, mass in (("lamp_base", 0.0597), ("bulb", 0.0385), ("hood", 0.060)):
        assert model.body(name).mass[0] == pytest.approx(mass)
        assert np.abs(model.body(name).ipos[:2]).max() < 1e-4
    across = 2 * np.array([scene.BASE_RADIUS_M, scene.BASE_HALF_HEIGHT_M, scene.HOOD_HALF_M])
    np.testing.assert_allclose(across, [0.0847, 0.063, 0.100])
    length = scene.BULB_END_M - scene.BULB_TIP_M
    assert length == pytest.approx(0.121)
    for apothem, sides in (
        (scene.BULB_RADIUS_M, scene.BULB_SIDES),
        (scene.HOOD_COLLAR_M, scene.HOOD_SIDES),
    ):
        assert 2 * apothem / np.cos(np.pi / sides) < 0.065 - 0.01, "room for the fingers"


def test_nominal_parts_rest_on_the_bench_apart(model):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    touching = [{model.geom(c.geom1).name, model.geom(c.geom2).name} for c in data.contact]
    assert all("bench" in pair for pair in touching), touching
    assert max(-c.dist for c in data.contact) < 2e-4
    before = data.qpos.copy()
    mujoco.mj_step(model, data, 500)
    assert np.abs(data.qvel).max() < 2e-3
    np.testing.assert_allclose(data.qpos, before, atol=2e-3)


def test_a_nudged_bulb_does_not_roll_away(model):
    """It tips back on its face from 8 degrees, and slides rather than rolls when pushed."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    rot = data.body("bulb").xmat.reshape(3, 3).copy()
    tipped = rotvec_to_matrix(np.array([np.radians(8.0), 0.0, 0.0])) @ rot
    data.joint("bulb").qpos[2] += 0.0005
    data.joint("bulb").qpos[3:] = matrix_to_quat_wxyz(tipped)
    mujoco.mj_step(model, data, 500)
    settled = data.body("bulb").xmat.reshape(3, 3)
    assert np.abs(data.joint("bulb").qvel).max() < 2e-3
    assert np.arccos(np.clip((np.trace(settled.T @ rot) - 1) / 2, -1, 1)) < np.radians(1.0)
