# SPDX-License-Identifier: Apache-2.0
"""Round table: sizes, goals, parts at rest; the foot tightens the leg (threads: test_threads)."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_quat_wxyz, rotation_z
from resip_ros.core.tasks import ROUND_TABLE, pair_assembled
from resip_ros.sim import round_table as scene
from resip_ros.sim.scene import set_physics_options

STEP = 0.002


def build_spec() -> mujoco.MjSpec:
    """The parts without an arm."""
    spec = mujoco.MjSpec()
    set_physics_options(spec, STEP)
    scene.add_round_table(spec, STEP)
    return spec


def test_screwing_the_foot_tightens_a_loose_leg():
    """The foot's torque goes through the leg: at the end both pairs count together."""
    spec = build_spec()
    spec.delete(spec.joint("top"))
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    loose = np.radians(60.0)
    leg = scene.TOP_NOMINAL + np.array(ROUND_TABLE.pairs[0].positions[0])
    foot = leg + np.array(ROUND_TABLE.pairs[1].positions[0])
    for name, pos in (("leg", leg), ("foot", foot)):
        quat = matrix_to_quat_wxyz(rotation_z(np.array(loose if name == "leg" else 2 * loose)))
        data.joint(name).qpos[:] = np.concatenate([pos, quat])
    for _ in range(1500):
        spin = data.body("foot").xmat.reshape(3, 3) @ data.joint("foot").qvel[3:]
        data.body("foot").xfrc_applied[:] = [0, 0, -2, 0, 0, -0.06 - 0.0015 * spin[2]]
        mujoco.mj_step(model, data)
    for pair in ROUND_TABLE.pairs:
        bodies = [data.body(name) for name in (pair.parent, pair.child)]
        poses = [value for b in bodies for value in (b.xpos, b.xmat.reshape(3, 3))]
        assert pair_assembled(pair, *poses), pair.child


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_spec().compile()


def test_masses_and_sizes(model):
    for name, mass in (("top", 0.123), ("leg", 0.033), ("foot", 0.044)):
        assert model.body(name).mass[0] == pytest.approx(mass)
        assert np.abs(model.body(name).ipos[:2]).max() < 1e-4
    across, leg = 2 * scene.LEG_RADIUS_M, scene.LEG_END_M - scene.LEG_TIP_M
    foot = scene.FOOT_END_M - scene.FOOT_TIP_M
    np.testing.assert_allclose([across, leg, foot], [0.0425, 0.0913, 0.040])
    assert across / np.cos(np.pi / scene.SIDES) < 0.065 - 0.02, "room for the fingers"
    np.testing.assert_allclose(model.body("top").inertia[2], 0.5 * 0.123 * 0.1**2)


def test_goals_fit_the_geometry():
    leg, foot = ROUND_TABLE.pairs
    assert leg.positions[0][2] + scene.LEG_SHOULDER_M == pytest.approx(scene.TOP_HALF_THICK_M)
    assert foot.positions[0][2] == pytest.approx(scene.LEG_END_M)
    assert leg.tip[2] == pytest.approx(scene.LEG_TIP_M)
    assert foot.tip[2] == pytest.approx(scene.FOOT_TIP_M)
    assert leg.depth == foot.depth == scene.THREAD.stud_length


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


@pytest.mark.parametrize("other", ["foot", "leg"])
def test_studs_do_not_pass_through_solid_parts(other):
    """A stud dropped on the foot's disc, or on a lying leg, stays on it."""
    spec = build_spec()
    falling = "leg" if other == "foot" else "foot"
    spec.delete(spec.joint(other))
    spec.body(other).pos, spec.body(other).quat = [0.5, 0.3, 0.1], [1, 0, 0, 0]
    over, tip = 0.040, scene.LEG_TIP_M
    if other == "leg":
        spec.body(other).quat = [0.5**0.5, 0.5**0.5, 0, 0]
        over, tip = 0.0, scene.FOOT_TIP_M
    model = spec.compile()
    data = mujoco.MjData(model)
    surface = scene.FOOT_DISC_M if other == "foot" else scene.LEG_RADIUS_M
    height = 0.1 + surface - tip + 0.001
    data.joint(falling).qpos[:] = [0.5 + over, 0.3, height, 1, 0, 0, 0]
    mujoco.mj_step(model, data, 40)
    assert data.joint(falling).qpos[2] > height - 0.003
