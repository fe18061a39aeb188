# SPDX-License-Identifier: Apache-2.0
"""Round table: both threads by contact alone, goals that are tight, parts at rest."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_quat_wxyz, rotation_z
from resip_ros.core.tasks import ROUND_TABLE, goal_poses, pair_assembled
from resip_ros.sim import round_table as scene
from resip_ros.sim.scene import set_physics_options
from resip_ros.sim.task_scene import get_randomness

STEP = 0.002


def build_spec() -> mujoco.MjSpec:
    """The parts without an arm."""
    spec = mujoco.MjSpec()
    set_physics_options(spec, STEP)
    scene.add_round_table(spec, STEP)
    return spec


class Vice:
    """A pair's parent clamped in the air, and a springy hand that turns and pushes the child.

    Sideways the hand is a spring; along the vertical and about it, force and torque are bounded.
    """

    def __init__(self, number: int) -> None:
        self.pair = ROUND_TABLE.pairs[number]
        spec = build_spec()
        spec.delete(spec.joint(self.pair.parent))
        clamped = spec.body(self.pair.parent)
        clamped.pos, clamped.quat = [0.5, 0.0, 0.3], [1, 0, 0, 0]
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.child = self.model.body(self.pair.child).id
        self.joint = self.data.joint(self.pair.child)

    def place(self, height: float, yaw: float, off=(0.0, 0.0)) -> None:
        """Child upright over the bore, tip at a height over the mouth, at rest."""
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)
        goal = goal_poses(self.pair)[0][0]
        origin = self.data.body(self.pair.parent).xpos + goal
        self.mouth = float(origin[2] + self.pair.tip[2] + self.pair.depth)
        self.hold = np.array([*(origin[:2] + off), self.mouth + height - self.pair.tip[2]])
        quat = matrix_to_quat_wxyz(rotation_z(np.array(yaw)))
        self.joint.qpos[:] = np.concatenate([self.hold, quat])
        self.goal = self.turned = self.last = yaw
        self.height = float(self.hold[2])
        mujoco.mj_forward(self.model, self.data)

    @property
    def rot(self) -> np.ndarray:
        return self.data.xmat[self.child].reshape(3, 3)

    @property
    def yaw(self) -> float:
        return float(np.arctan2(self.rot[1, 0], self.rot[0, 0]))

    @property
    def depth(self) -> float:
        tip = self.data.xpos[self.child] + self.pair.tip[2] * self.rot[:, 2]
        return float(self.mouth - tip[2])

    @property
    def assembled(self) -> bool:
        bodies = [self.data.body(name) for name in (self.pair.parent, self.pair.child)]
        poses = [value for b in bodies for value in (b.xpos, b.xmat.reshape(3, 3))]
        return bool(pair_assembled(self.pair, *poses))

    def _press(self, push: float, torque: float) -> None:
        spin, speed = self.rot @ self.joint.qvel[3:], self.joint.qvel[:3]
        force = 2000.0 * (self.hold - self.data.xpos[self.child]) - 12.0 * speed
        # the hand moves down (or up) at 3 cm/s until something carries the whole push
        height = self.data.xpos[self.child][2]
        if np.sign(push) * (height - self.height) < abs(push) / 2000.0:
            self.height -= np.sign(push) * 0.03 * self.model.opt.timestep
        force[2] = 2000.0 * (self.height - height) - 12.0 * speed[2]
        force[2] = np.clip(force[2], -abs(push), abs(push))
        moment = 0.3 * np.cross(self.rot[:, 2], [0.0, 0.0, 1.0]) - 0.004 * spin
        moment[2] = torque - 0.0015 * spin[2]
        self.data.xfrc_applied[self.child] = np.concatenate([force, moment])
        mujoco.mj_step(self.model, self.data)
        self.turned += (self.yaw - self.last + np.pi) % (2 * np.pi) - np.pi
        self.last = self.yaw

    def work(self, seconds: float, push: float = 0.0, rate: float = 0.0) -> np.ndarray:
        """Turn at ``rate`` rad/s, pushing at most ``push`` N; (steps, 2): yaw rad, depth m."""
        trace = []
        for _ in range(round(seconds / STEP)):
            self.goal += rate * STEP
            self._press(push, float(np.clip(0.1 * (self.goal - self.turned), -0.3, 0.3)))
            trace.append((self.turned, self.depth))
        return np.array(trace)

    def tighten(self, torque: float, seconds: float = 0.5) -> None:
        for _ in range(round(seconds / STEP)):
            self._press(3.0, -torque)


@pytest.fixture(scope="module", params=[0, 1], ids=["leg_in_top", "foot_on_leg"])
def vice(request: pytest.FixtureRequest) -> Vice:
    return Vice(request.param)


@pytest.mark.parametrize("yaw", [1.0, 3.0, 5.0])
def test_a_turn_advances_one_lead(vice, yaw):
    vice.place(0.001, yaw)
    trace = vice.work(4.0, push=3.0, rate=-4.0)
    assert (trace[:, 1] > 0.0245).any(), trace[::100].tolist()
    turning = trace[: np.argmax(trace[:, 1] > 0.0245)]
    turning = turning[(turning[:, 1] > 0.015) & (turning[:, 1] < 0.022)]
    # a slope: the backlash of 3 mm enters the difference of two points
    advance = -2 * np.pi * np.polyfit(turning[:, 0], turning[:, 1], 1)[0]
    assert 0.0091 < advance < 0.0096


def test_turning_the_other_way_does_not_advance(vice):
    vice.place(0.001, 1.0)
    trace = vice.work(3.0, push=3.0, rate=4.0)
    assert trace[-1, 0] > 10.0
    assert trace[:, 1].max() < 0.015


def test_one_turn_after_the_catch_holds_40_newton(vice):
    vice.place(0.001, 1.0)
    while vice.turned > 1.0 - 2 * np.pi:
        vice.work(0.05, push=3.0, rate=-4.0)
    before = vice.depth
    assert before < 0.020, "not seated yet"
    vice.goal = vice.turned
    held = vice.work(1.0, push=-40.0)
    # it slips by the backlash (3.0 mm of the leg, 3.6 mm of the foot), not by half a lead
    assert held[:, 1].min() > before - 0.004


def test_tight_counts_at_any_torque_and_loose_does_not(vice):
    """A thread just down on its shoulder is not assembled; snug to very tight is."""
    vice.place(0.001, 1.0)
    while vice.depth < 0.0248:
        vice.work(0.05, push=3.0, rate=-4.0)
    assert not vice.assembled, np.degrees(vice.yaw)
    for torque in (0.03, 0.1, 0.8):
        vice.tighten(torque)
        assert vice.assembled, (torque, np.degrees(vice.yaw), vice.depth)
    vice.data.xfrc_applied[:] = 0.0
    mujoco.mj_step(vice.model, vice.data, 500)
    assert vice.assembled, "and stays so when it is let go"


@pytest.mark.parametrize("angle", [0.0, 2.4])
def test_beside_the_bore_it_does_not_enter(vice, angle):
    direction = np.array([np.cos(angle), np.sin(angle)])
    vice.place(0.001, 1.0, off=0.005 * direction)
    assert vice.work(1.0, push=5.0)[:, 1].max() < 0.003
    vice.place(0.001, 1.0, off=0.001 * direction)
    assert vice.work(1.0, push=5.0)[-1, 1] > 0.004, "one millimetre off still enters"


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


def test_impulses_move_the_parts_by_the_stated_distances(model):
    """Low: a few millimetres to 2 cm for the top, and the round leg does not roll away."""
    low, moved = get_randomness("low"), {name: [] for name in ROUND_TABLE.parts}
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(12):
        mujoco.mj_resetData(model, data)
        mujoco.mj_forward(model, data)
        for name, (linear, angular) in scene.SCENE.sample_velocities(low, rng).items():
            rot = data.body(name).xmat.reshape(3, 3)
            data.joint(name).qvel[:] = np.concatenate([linear, rot.T @ angular])
        before = {name: data.joint(name).qpos[:2].copy() for name in moved}
        mujoco.mj_step(model, data, 400)
        for name, start in before.items():
            moved[name].append(np.linalg.norm(data.joint(name).qpos[:2] - start))
    largest = {name: max(sizes) for name, sizes in moved.items()}
    assert 0.008 < largest["top"] < 0.025
    assert 0.001 < largest["leg"] < 0.02
    assert 0.001 < largest["foot"] < 0.03
