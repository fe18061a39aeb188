# SPDX-License-Identifier: Apache-2.0
"""A mug hangs on a peg by its handle, comes to rest where the task says, and falls beside it."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import (
    Array,
    matrix_to_quat_wxyz,
    quat_wxyz_to_matrix,
    quat_xyzw_to_matrix,
    rotvec_to_matrix,
)
from resip_ros.core.tasks import MUG_RACK, goal_poses, pair_assembled
from resip_ros.sim.initial_states import InitialState, sample_initial_state
from resip_ros.sim.mug_rack import (
    HANDLE_RADIUS_M,
    HOLE_M,
    MUG_MASS_KG,
    MUG_NOMINAL,
    MUG_NOMINAL_ROT,
    MUG_RADIUS_M,
    OUR_MUG,
    PEG_RADIUS_M,
    PEG_RISE_M,
    PEG_Y_M,
    RACK_MASS_KG,
    RACK_NOMINAL,
    SCENE,
    VALLEYS_M,
    WALL_M,
    rack_scene,
    rough_goals,
)
from resip_ros.sim.scene import build_scene, set_physics_options

CONFIG = load_control_config()
PAIR = MUG_RACK.pairs[0]
GOALS = range(len(PAIR.positions))
HALF_TURN = np.diag([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def bench() -> mujoco.MjModel:
    """The task's bench without the arm."""
    spec = mujoco.MjSpec()
    set_physics_options(spec, SCENE.timestep_s)
    SCENE.add(spec, SCENE.timestep_s)
    return spec.compile()


def turned(tilt: float, away: bool) -> Array:
    """R of a mug whose handle is raised by ``tilt``, its opening away from the robot or not."""
    rot = rotvec_to_matrix(np.array([0.0, tilt, 0.0])) @ MUG_NOMINAL_ROT
    return rot if away else HALF_TURN @ rot


def place(data: mujoco.MjData, pos: Array, rot: Array) -> None:
    data.joint("mug").qpos[:] = np.concatenate([pos, matrix_to_quat_wxyz(rot)])


def put_on_peg(data: mujoco.MjData, goal: int, tilt: float, shift: Array | None = None) -> None:
    """Hole around the valley of the goal's peg, moved by ``shift`` (3,) m."""
    rot = turned(tilt, away=goal < 2)
    valley = RACK_NOMINAL + np.array([0.0, PEG_Y_M[1], VALLEYS_M[goal % 2]])
    offset = np.zeros(3) if shift is None else shift
    place(data, valley + offset - rot @ np.array([HOLE_M, 0.0, 0.0]), rot)


def poses(data: mujoco.MjData) -> list[Array]:
    found: list[Array] = []
    for name in ("rack", "mug"):
        qpos = data.joint(name).qpos
        found += [qpos[:3].copy(), quat_wxyz_to_matrix(qpos[3:])]
    return found


def hangs(data: mujoco.MjData) -> bool:
    return bool(pair_assembled(PAIR, *poses(data)))


def run(model: mujoco.MjModel, data: mujoco.MjData, seconds: float) -> None:
    mujoco.mj_step(model, data, round(seconds / model.opt.timestep))


@pytest.mark.parametrize("tilt", [0.0, 40.0, 80.0])
@pytest.mark.parametrize("goal", GOALS)
def test_a_mug_let_go_on_a_peg_stays_there_and_comes_to_rest_at_its_goal(bench, goal, tilt):
    """From upright it swings through a quarter turn and more."""
    data = mujoco.MjData(bench)
    put_on_peg(data, goal, np.radians(tilt))
    assert not hangs(data) or tilt == 80.0
    run(bench, data, 10.0)
    assert np.abs(data.joint("mug").qvel).max() < 0.05
    run(bench, data, 5.0)
    assert np.abs(data.joint("mug").qvel).max() < 1e-3
    rack, rack_rot, mug, mug_rot = poses(data)
    goal_pos, goal_rot = (values[goal] for values in goal_poses(PAIR))
    np.testing.assert_allclose(rack_rot.T @ (mug - rack), goal_pos, atol=1.5e-3)
    np.testing.assert_allclose(rack_rot.T @ mug_rot, goal_rot, atol=0.03)
    assert hangs(data)
    np.testing.assert_allclose(rack, RACK_NOMINAL, atol=1e-3)


def test_wherever_in_the_hole_the_peg_is_the_mug_ends_in_its_one_place(bench, rng):
    """The valley and the handle's corner are steeper than friction holds."""
    for i in range(24):
        data = mujoco.MjData(bench)
        shift = rng.uniform([-0.004, -0.02, -0.010], [0.004, 0.02, 0.004])
        put_on_peg(data, i % 4, np.radians(rng.uniform(20.0, 130.0)), shift)
        run(bench, data, 15.0)
        rack, rack_rot, mug, _ = poses(data)
        goal = goal_poses(PAIR)[0][i % 4]
        np.testing.assert_allclose(rack_rot.T @ (mug - rack), goal, atol=2e-3)
        assert hangs(data)


@pytest.mark.parametrize("goal", GOALS)
def test_a_hung_mug_is_still_there_after_five_seconds(bench, goal):
    data = mujoco.MjData(bench)
    position, rotation = (values[goal] for values in goal_poses(PAIR))
    place(data, RACK_NOMINAL + position, rotation)
    for _ in range(50):
        run(bench, data, 0.1)
        assert hangs(data)
    assert np.abs(data.joint("mug").qvel).max() < 1e-3


PAST_THE_END = PEG_Y_M[2] - PEG_Y_M[1] + PEG_RADIUS_M + HANDLE_RADIUS_M + 0.010


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(
    "shift", [(0.0, PAST_THE_END, PEG_RISE_M[2]), (0.0, 0.0, 0.048), (0.0, PAST_THE_END, 0.0)]
)
def test_a_mug_let_go_beside_the_peg_falls(bench, goal, shift):
    """10 mm past the peg's end, and with the whole handle 10 mm above the peg."""
    data = mujoco.MjData(bench)
    put_on_peg(data, goal, 0.0, np.array(shift))
    run(bench, data, 2.0)
    assert not hangs(data)
    assert data.joint("mug").qpos[2] < VALLEYS_M[goal % 2] - 0.09


def test_the_valley_holds_a_mug_against_a_gentle_pull_only(bench):
    """Along the peg: 20 degrees and friction 0.15 make 1.5 N for the mug's weight."""
    for force, stays in ((0.8, True), (3.0, False)):
        data = mujoco.MjData(bench)
        place(data, RACK_NOMINAL + goal_poses(PAIR)[0][1], goal_poses(PAIR)[1][1])
        data.xfrc_applied[bench.body("mug").id, 1] = force
        run(bench, data, 1.5)
        data.xfrc_applied[:] = 0.0
        run(bench, data, 8.0)
        assert hangs(data) == stays


def test_contacts_are_hard_when_the_mug_is_pulled_down(bench):
    data = mujoco.MjData(bench)
    place(data, RACK_NOMINAL + goal_poses(PAIR)[0][0], goal_poses(PAIR)[1][0])
    data.xfrc_applied[bench.body("mug").id, 2] = -5.0
    run(bench, data, 1.0)
    assert 0.0 < -min(contact.dist for contact in data.contact) < 1e-4


def test_success_means_hanging_at_rest_and_not_held_over_the_peg(bench):
    data = mujoco.MjData(bench)
    for goal in GOALS:
        position, rotation = (values[goal] for values in goal_poses(PAIR))
        goal_pos, goal_rot = RACK_NOMINAL + position, rotation

        def counts(shift: tuple[float, float, float], swing: float) -> bool:
            rot = rotvec_to_matrix(np.array([0.0, np.radians(swing), 0.0])) @ goal_rot  # noqa: B023
            moved = goal_pos + np.array(shift)  # noqa: B023
            return bool(pair_assembled(PAIR, RACK_NOMINAL, np.eye(3), moved, rot))

        assert counts((0.0, 0.0, 0.0), 0.0)
        assert counts((0.0025, 0.0, 0.0), 5.0)
        assert not counts((0.0, 0.0, 0.004), 0.0)
        assert not counts((0.0, 0.0, 0.0), 15.0)
        for tilt in np.radians(np.arange(0.0, 60.0, 5.0)):
            for lower in (0.0, 0.005, 0.010):
                put_on_peg(data, goal, float(tilt), np.array([0.0, 0.0, -lower]))
                assert not hangs(data)


def test_the_rack_slides_when_pushed_hard_and_does_not_topple(bench):
    """At the upper peg, 3 kg on a bench with friction 0.125: 3.7 N."""
    for force, slides in ((3.0, False), (4.5, True)):
        for axis in (0, 1):
            data = mujoco.MjData(bench)
            place(data, MUG_NOMINAL, MUG_NOMINAL_ROT)
            body = bench.body("rack").id
            data.xfrc_applied[body, axis] = force
            # a force at the peg's height is one at the centre of mass and a torque
            lever = VALLEYS_M[1] - bench.body("rack").ipos[2]
            data.xfrc_applied[body, 4 - axis] = (1, -1)[axis] * force * lever
            mujoco.mj_step(bench, data, 100)
            moved = data.joint("rack").qpos[axis] - RACK_NOMINAL[axis]
            assert (moved > 2e-3) == slides
            assert data.body("rack").xmat[8] > 0.9999


def test_masses_and_that_the_hand_fits(bench):
    assert bench.body("mug").mass[0] == pytest.approx(MUG_MASS_KG)
    assert bench.body("rack").mass[0] == pytest.approx(RACK_MASS_KG)
    # 20 mm of finger between an open hand's pad and the far wall
    inner = 2 * MUG_RADIUS_M - WALL_M
    assert CONFIG.gripper_max_width_m / 2 + 0.020 < inner
    assert not (bench.geom_type == mujoco.mjtGeom.mjGEOM_CYLINDER).any()
    np.testing.assert_allclose(bench.body("mug").ipos, [0.004, -0.0084, 0.0], atol=2e-4)


@pytest.fixture(scope="module")
def states() -> dict[str, list[InitialState]]:
    model = build_scene("mug_rack", CONFIG).compile()
    return {
        level: [sample_initial_state(model, MUG_RACK, CONFIG, level, 3, i) for i in range(24)]
        for level in ("low", "med")
    }


def test_parts_start_standing_where_the_impulses_slid_them(states):
    means = {}
    for level in ("low", "med"):
        for name, nominal, rot in (
            ("rack", RACK_NOMINAL, np.eye(3)),
            ("mug", MUG_NOMINAL, MUG_NOMINAL_ROT),
        ):
            qpos = np.array([state.part_qpos[name] for state in states[level]])
            turn = quat_wxyz_to_matrix(qpos[:, 3:]) @ rot.T
            assert turn[:, 2, 2].min() > 0.99999
            assert np.abs(qpos[:, 2] - nominal[2]).max() < 1e-4
            yaw = np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
            away = np.linalg.norm(qpos[:, :2] - nominal[:2], axis=1)
            means[level, name] = away.mean(), np.abs(yaw).mean()
            assert np.ptp(yaw) > 3.0
    for name in ("rack", "mug"):
        low, med = means["low", name], means["med", name]
        assert 0.0005 < low[0] < 0.008
        assert med[0] > 2 * low[0]
        assert med[1] > 1.5 * low[1]


def test_the_hand_starts_clear_of_the_rack(states):
    """The home pose looks down on the bench from 6 cm above the upper peg."""
    model = build_scene("mug_rack", CONFIG).compile()
    data = mujoco.MjData(model)
    rack = model.body("rack").id
    for level in ("low", "med"):
        for state in states[level]:
            for i, angle in enumerate(state.joints, start=1):
                data.joint(f"fr3_joint{i}").qpos[0] = angle
            for name, qpos in state.part_qpos.items():
                data.joint(name).qpos[:] = qpos
            mujoco.mj_forward(model, data)
            touched = model.geom_bodyid[data.contact.geom]
            at_rack = touched[(touched == rack).any(1)]
            assert np.isin(at_rack, (rack, 0)).all()


def test_a_mug_of_another_name_is_refused():
    def add(spec: mujoco.MjSpec, timestep: float) -> None:
        spec.worldbody.add_body(name="cup").add_freejoint(name="cup")

    with pytest.raises(ConfigError, match='expected a body "mug"'):
        rack_scene(OUR_MUG, add).add(mujoco.MjSpec(), SCENE.timestep_s)


def test_rough_goals_put_the_valleys_into_the_middle_of_another_mugs_hole():
    """Each peg twice, the opening away from the robot first, the handle raised."""
    mug = replace(OUR_MUG, hole_m=0.060)
    positions, rotations = (np.array(values) for values in rough_goals(mug).values())
    rot = quat_xyzw_to_matrix(rotations)
    holes = positions + rot @ np.array([0.060, 0.0, 0.0])
    valleys = [[0.0, PEG_Y_M[1], height] for height in (*VALLEYS_M, *VALLEYS_M)]
    np.testing.assert_allclose(holes, valleys, atol=1e-12)
    # opening, the mug's y, away from the robot
    assert (rot[:2, 0, 1] > 0.5).all()
    np.testing.assert_allclose(rot[2:], np.diag([-1.0, -1.0, 1.0]) @ rot[:2], atol=1e-12)
    assert (rot[:, 2, 0] > 0.5).all()
