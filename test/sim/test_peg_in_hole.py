# SPDX-License-Identifier: Apache-2.0
"""The peg fits its hole and no other way: drops in straight, jams aside or turned, stays hard."""

from dataclasses import dataclass

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import (
    matrix_to_quat_wxyz,
    quat_wxyz_to_matrix,
    rotation_z,
    rotvec_to_matrix,
)
from resip_ros.core.tasks import ONE_LEG, PEG_IN_HOLE, pair_assembled
from resip_ros.sim.initial_states import InitialState, sample_initial_state
from resip_ros.sim.peg_in_hole import (
    BLOCK_HALF_M,
    HOLE_HALF_M,
    HOLE_NOMINAL,
    PEG_HALF_M,
    PEG_MASS_KG,
    PEG_NOMINAL,
    SCENE,
)
from resip_ros.sim.scene import build_scene, set_physics_options
from resip_ros.sim.task_scene import get_scene

CONFIG = load_control_config()
PAIR = PEG_IN_HOLE.pairs[0]
TOUCH = 2e-6
MOUTH = HOLE_NOMINAL + np.array([0, 0, BLOCK_HALF_M[2]])


@dataclass
class Outcome:
    """Where a pressed peg ended and the deepest overlap of two bodies at the end, m."""

    depth: float
    penetration: float


def bench_spec() -> mujoco.MjSpec:
    """The task's bench without the arm."""
    spec = mujoco.MjSpec()
    set_physics_options(spec, SCENE.timestep_s)
    SCENE.add(spec, SCENE.timestep_s)
    return spec


def guided(offset: tuple[float, float], yaw: float, height: float) -> mujoco.MjSpec:
    """The bench with the peg over the hole in a guide along z: it can neither turn nor lean."""
    spec = bench_spec()
    spec.delete(spec.joint("peg"))
    peg = spec.body("peg")
    peg.add_joint(name="slide", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, 1])
    peg.pos = [*(MOUTH[:2] + offset), MOUTH[2] + height + PEG_HALF_M[2]]
    peg.quat = matrix_to_quat_wxyz(rotation_z(np.array(yaw))).tolist()
    return spec


def press(offset: tuple[float, float], yaw: float, force: float) -> Outcome:
    """Push a guided peg that touches the rim with its weight and ``force``, N."""
    model = guided(offset, yaw, -TOUCH).compile()
    data = mujoco.MjData(model)
    data.xfrc_applied[model.body("peg").id, 2] = -force
    mujoco.mj_step(model, data, 200)
    worst = -min(contact.dist for contact in data.contact)
    return Outcome(float(TOUCH - data.joint("slide").qpos[0]), worst)


def lower(offset: tuple[float, float], speed: float) -> float:
    """Depth, m, of a guided peg that comes down at ``speed``, m/s, with 1 kg of arm behind it."""
    height = 0.001
    spec = guided(offset, 0.0, height)
    spec.joint("slide").armature = 1.0
    model = spec.compile()
    data = mujoco.MjData(model)
    data.joint("slide").qvel[0] = -speed
    mujoco.mj_step(model, data, 250)
    return float(-data.joint("slide").qpos[0] - height)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (5e-5, 0.0), (0.0, 5e-5), (-5e-5, -5e-5)])
def test_a_peg_nearly_over_the_hole_drops_to_the_bench(offset):
    assert press(offset, 0.0, 5.0).depth == pytest.approx(PAIR.depth, abs=1e-4)


@pytest.mark.parametrize("offset", [(5e-4, 0.0), (-5e-4, 0.0), (0.0, 5e-4), (0.0, -5e-4)])
def test_a_peg_half_a_millimetre_off_stays_on_the_rim(offset):
    assert abs(press(offset, 0.0, 5.0).depth) < 1e-4


def test_a_peg_that_comes_down_at_a_careful_speed_is_stopped_by_the_rim():
    """5 cm/s is 0.1 mm in a time step: the wall's edge must not be jumped."""
    for offset in ((3e-4, 0.0), (0.0, 3e-4), (-3e-4, 0.0)):
        assert abs(lower(offset, 0.05)) < 1e-3
    assert lower((5e-5, 5e-5), 0.05) > 0.9 * PAIR.depth


def test_a_turned_peg_stays_on_the_rim():
    for degrees in (3.0, -3.0, 90.0):
        assert abs(press((0.0, 0.0), np.radians(degrees), 5.0).depth) < 1e-4
    for degrees in (0.3, -0.3, 180.0):
        assert press((0.0, 0.0), np.radians(degrees), 5.0).depth > PAIR.depth - 1e-4


@pytest.mark.parametrize("offset", [(5e-4, 0.0), (0.0, 5e-4), (0.0, 0.0)])
def test_contacts_are_hard_when_pressed(offset):
    """On the rim and, straight over the hole, on the bench."""
    assert 0.0 < press(offset, 0.0, 10.0).penetration < 60e-6


def place(data: mujoco.MjData, name: str, pos: np.ndarray, rot: np.ndarray) -> None:
    data.joint(name).qpos[:] = np.concatenate([pos, matrix_to_quat_wxyz(rot)])


def assembled(data: mujoco.MjData) -> bool:
    poses = []
    for name in ("hole", "peg"):
        qpos = data.joint(name).qpos
        poses += [qpos[:3], quat_wxyz_to_matrix(qpos[3:])]
    return bool(pair_assembled(PAIR, *poses))


@pytest.fixture(scope="module")
def bench() -> mujoco.MjModel:
    return bench_spec().compile()


@pytest.mark.parametrize("yaw", [0.0, np.pi])
def test_a_free_peg_let_go_over_the_hole_ends_inserted_either_way_round(bench, yaw):
    data = mujoco.MjData(bench)
    over = MOUTH + np.array([5e-5, -5e-5, PEG_HALF_M[2] - 0.001])
    place(data, "peg", over, rotation_z(np.array(yaw)))
    mujoco.mj_forward(bench, data)
    assert not assembled(data)
    mujoco.mj_step(bench, data, 250)
    assert assembled(data)
    height = data.joint("peg").qpos[2] - PEG_HALF_M[2]
    assert abs(height) < 2e-5


def test_walls_hold_an_inserted_peg_upright_and_are_hard_sideways(bench):
    """10 N on the middle of the peg, 5 mm above the block, from each side."""
    play = 2 * (HOLE_HALF_M - PEG_HALF_M[:2]) / PAIR.depth
    for axis in (0, 1):
        data = mujoco.MjData(bench)
        place(data, "peg", np.array([*HOLE_NOMINAL[:2], PEG_HALF_M[2]]), np.eye(3))
        data.xfrc_applied[bench.body("peg").id, axis] = 10.0
        mujoco.mj_step(bench, data, 250)
        tilt = np.arccos(data.body("peg").xmat[8])
        assert tilt < 1.3 * play[axis]
        assert 1e-6 < -min(c.dist for c in data.contact) < 60e-6
        assert assembled(data)


def test_success_means_down_to_the_bench_and_within_the_symmetry():
    hole, upright = HOLE_NOMINAL, np.eye(3)
    seat = hole + np.asarray(PAIR.positions[0])

    def inserted(lift: float, rot: np.ndarray) -> bool:
        lifted = seat + np.array([0, 0, lift])
        return bool(pair_assembled(PAIR, hole, upright, lifted, rot))

    assert seat[2] == pytest.approx(PEG_HALF_M[2]), "the hole goes through to the bench"
    assert PAIR.depth == 2 * BLOCK_HALF_M[2]
    assert inserted(0.0014, upright)
    assert inserted(0.0, rotation_z(np.array(np.pi)))
    assert not inserted(0.0016, upright)
    assert not inserted(0.0, rotation_z(np.array(np.pi / 2)))
    assert not inserted(0.0, rotvec_to_matrix(np.array([np.pi, 0.0, 0.0])))
    assert not pair_assembled(PAIR, hole, upright, PEG_NOMINAL, upright)


def test_the_block_stays_put_until_shoved_hard(bench):
    moved = {}
    for force in (10.0, 25.0):
        data = mujoco.MjData(bench)
        place(data, "peg", PEG_NOMINAL, np.eye(3))
        data.xfrc_applied[bench.body("hole").id, 0] = force
        mujoco.mj_step(bench, data, 250)
        moved[force] = data.joint("hole").qpos[0] - HOLE_NOMINAL[0]
    assert abs(moved[10.0]) < 5e-4
    assert moved[25.0] > 5e-3


def test_mass_and_cross_sections(bench):
    assert bench.body("peg").mass[0] == PEG_MASS_KG
    np.testing.assert_allclose(bench.geom("peg").size, [0.008, 0.005, 0.025])
    np.testing.assert_allclose(2 * HOLE_HALF_M, [0.01622, 0.01016])
    shapes = [mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE]
    assert np.isin(bench.geom_type, shapes).all(), "cylinders are unsafe in fine contact"


@pytest.fixture(scope="module")
def states() -> dict[str, list[InitialState]]:
    model = build_scene("peg_in_hole", CONFIG).compile()
    return {
        level: [sample_initial_state(model, PEG_IN_HOLE, CONFIG, level, 3, i) for i in range(30)]
        for level in ("low", "med")
    }


@pytest.mark.parametrize("level", ["low", "med"])
def test_parts_start_upright_within_their_spread(states, level):
    for name, nominal in (("peg", PEG_NOMINAL), ("hole", HOLE_NOMINAL)):
        qpos = np.array([state.part_qpos[name] for state in states[level]])
        rots = quat_wxyz_to_matrix(qpos[:, 3:])
        yaw = np.degrees(np.arctan2(rots[:, 1, 0], rots[:, 0, 0]))
        offset = qpos[:, :2] - nominal[:2]
        for value, bound in ((offset[:, 0], 0.01), (offset[:, 1], 0.01), (yaw, 45.0)):
            assert np.abs(value).max() <= 1.01 * bound
            assert value.min() < -0.7 * bound
            assert value.max() > 0.7 * bound
        assert rots[:, 2, 2].min() > 0.99999
        assert np.abs(qpos[:, 2] - nominal[2]).max() < 1e-4


def test_same_number_same_start(states):
    model = build_scene("peg_in_hole", CONFIG).compile()
    again = sample_initial_state(model, PEG_IN_HOLE, CONFIG, "low", 3, 4)
    for name, qpos in again.part_qpos.items():
        np.testing.assert_array_equal(qpos, states["low"][4].part_qpos[name])


def test_a_task_without_spread_draws_nothing(rng):
    """Or its initial states would change."""
    before = rng.bit_generator.state
    poses = get_scene(ONE_LEG.name).sample_poses(rng)
    assert rng.bit_generator.state == before
    for name, (pos, rot) in get_scene(ONE_LEG.name).nominal_poses().items():
        np.testing.assert_array_equal(poses[name][0], pos)
        np.testing.assert_array_equal(poses[name][1], rot)
    SCENE.sample_poses(rng)
    assert rng.bit_generator.state != before
