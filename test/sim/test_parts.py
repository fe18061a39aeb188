# SPDX-License-Identifier: Apache-2.0
"""The thread of the one_leg scene by contact alone: catches, advances, seats, holds."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_quat_wxyz, rotation_z
from resip_ros.core.tasks import ONE_LEG, pair_assembled
from resip_ros.sim.one_leg import HOLE_M, LEG_TIP_M, THREAD, TOP_HALF_THICK_M, TOP_NOMINAL
from resip_ros.sim.parts import LYING, add_foot, add_part, contact_settings, prism_rings
from resip_ros.sim.scene import build_scene

CORNERS = [(-1, -1), (-1, 1), (1, -1), (1, 1)]


class Vice:
    """The top clamped to the bench and a springy hand that holds leg4 upright.

    The hand carries the leg sideways and turns it like a spring, and moves it along the
    vertical at a bounded force: what a compliant arm does, without the arm.
    """

    def __init__(self) -> None:
        spec = build_scene("one_leg", load_control_config())
        spec.delete(spec.joint("top"))
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.leg = self.model.body("leg4").id
        self.joint = self.data.joint("leg4")

    def place(self, height: float, yaw: float, corner=(-1, 1), off=(0.0, 0.0)) -> None:
        """Leg upright over a hole, tip at a height over the face, at rest."""
        mujoco.mj_resetData(self.model, self.data)
        self.mouth = TOP_NOMINAL + np.array([*(HOLE_M * np.array(corner)), TOP_HALF_THICK_M])
        self.hold = self.mouth + np.array([*off, height - LEG_TIP_M])
        quat = matrix_to_quat_wxyz(rotation_z(np.array(yaw)))
        self.joint.qpos[:] = np.concatenate([self.hold, quat])
        self.start = self.goal = self.yaw = self.last = yaw
        mujoco.mj_forward(self.model, self.data)

    @property
    def depth(self) -> float:
        """How far the tip is below the face, m."""
        tip = self.data.xpos[self.leg] + LEG_TIP_M * self.data.xmat[self.leg].reshape(3, 3)[:, 2]
        return float(self.mouth[2] - tip[2])

    @property
    def assembled(self) -> bool:
        top, leg = self.data.body("top"), self.data.body("leg4")
        poses = [top.xpos, top.xmat.reshape(3, 3), leg.xpos, leg.xmat.reshape(3, 3)]
        return bool(pair_assembled(ONE_LEG.pairs[0], *poses))

    def work(self, seconds: float, push: float = 0.0, rate: float = 0.0) -> np.ndarray:
        """Hold and turn the leg at ``rate`` rad/s while pushing down at most ``push`` N.

        Returns:
            (steps, 2): yaw since placing, rad, and depth, m.
        """
        trace = []
        for _ in range(round(seconds / self.model.opt.timestep)):
            rot = self.data.xmat[self.leg].reshape(3, 3)
            spin, speed = rot @ self.joint.qvel[3:], self.joint.qvel[:3]
            now = np.arctan2(rot[1, 0], rot[0, 0])
            self.yaw += (now - self.last + np.pi) % (2 * np.pi) - np.pi
            self.last = now
            self.goal += rate * self.model.opt.timestep
            force = 2000.0 * (self.hold - self.data.xpos[self.leg]) - 12.0 * speed
            # downwards (or upwards) at 3 cm/s until something carries the push
            wanted = -np.sign(push) * 0.03
            force[2] = np.clip(8.0 * (wanted - speed[2]), -abs(push), abs(push))
            torque = 0.3 * np.cross(rot[:, 2], [0.0, 0.0, 1.0]) - 0.004 * spin
            torque[2] = np.clip(0.1 * (self.goal - self.yaw), -0.3, 0.3) - 0.0015 * spin[2]
            self.data.xfrc_applied[self.leg] = np.concatenate([force, torque])
            mujoco.mj_step(self.model, self.data)
            trace.append((self.yaw - self.start, self.depth))
        return np.array(trace)

    def let_go(self, seconds: float) -> None:
        self.data.xfrc_applied[:] = 0.0
        mujoco.mj_step(self.model, self.data, round(seconds / self.model.opt.timestep))


@pytest.fixture(scope="module")
def vice() -> Vice:
    return Vice()


@pytest.mark.parametrize("yaw", [0.0, 1.0, 2.0, 4.0])
def test_leg_put_into_the_hole_does_not_fall_through(vice, yaw):
    vice.place(0.0005, yaw)
    vice.let_go(2.0)
    assert 0.002 < vice.depth < 0.016, "neither stopped at the rim nor fell past the thread"
    assert not vice.assembled


@pytest.mark.parametrize("corner", CORNERS)
def test_turning_clockwise_advances_one_lead_per_turn(vice, corner):
    vice.place(0.001, 1.0, corner)
    trace = vice.work(3.0, push=3.0, rate=-4.0)
    caught = trace[:, 1] > 0.012
    deep = trace[:, 1] > 0.022
    first, last = np.argmax(caught), np.argmax(deep)
    assert deep.any(), trace[::100].tolist()
    turns = (trace[first, 0] - trace[last, 0]) / (2 * np.pi)
    advance = (trace[last, 1] - trace[first, 1]) / turns
    assert advance == pytest.approx(0.0093, rel=0.06)


def test_turning_the_other_way_does_not_advance(vice):
    vice.place(0.001, 1.0)
    trace = vice.work(3.0, push=3.0, rate=4.0)
    assert trace[-1, 0] > 10.0
    assert trace[:, 1].max() < 0.015


def test_screwed_leg_seats_straight_holds_and_counts(vice):
    vice.place(0.001, 1.0)
    assert not vice.assembled
    for _ in range(80):
        vice.work(0.05, push=3.0, rate=-4.0)
        if vice.assembled:
            break
    assert vice.assembled
    assert vice.depth == pytest.approx(THREAD.stud_length, abs=1e-3)
    held = vice.work(1.0, push=-20.0)
    assert held[:, 1].min() > 0.020, "a seated thread carries 20 N"
    back = vice.work(3.0, push=-1.0, rate=4.0)
    assert back[-1, 1] < 0.016, "and unscrews"


def test_one_turn_after_the_catch_holds_40_newton(vice):
    vice.place(0.001, 1.0)
    while vice.yaw > 1.0 - 2 * np.pi:
        vice.work(0.05, push=3.0, rate=-4.0)
    before = vice.depth
    assert before < 0.020, "not seated yet"
    vice.goal = vice.yaw
    held = vice.work(1.0, push=-40.0)
    # it slips by the backlash, not by half a lead
    assert held[:, 1].min() > before - 0.004


@pytest.mark.parametrize("yaw", [1.0, 3.0, 5.0])
def test_the_advance_of_a_turn_is_the_lead(vice, yaw):
    vice.place(0.001, yaw)
    trace = vice.work(4.0, push=3.0, rate=-4.0)
    turning = trace[: np.argmax(trace[:, 1] > 0.0245)]
    turning = turning[(turning[:, 1] > 0.015) & (turning[:, 1] < 0.022)]
    advance = -2 * np.pi * np.polyfit(turning[:, 0], turning[:, 1], 1)[0]
    assert 0.0091 < advance < 0.0095


@pytest.mark.parametrize("angle", [0.0, 0.8, 2.4, 3.5])
def test_leg_beside_the_hole_does_not_enter(vice, angle):
    vice.place(0.001, 1.0, off=(0.005 * np.cos(angle), 0.005 * np.sin(angle)))
    assert vice.work(1.0, push=5.0)[:, 1].max() < 0.003
    vice.place(0.001, 1.0, off=(0.001 * np.cos(angle), 0.001 * np.sin(angle)))
    assert vice.work(1.0, push=5.0)[-1, 1] > 0.004, "one millimetre off still enters"


@pytest.mark.parametrize("corner", CORNERS)
def test_seated_pose_touches_without_force(vice, corner):
    """The goal of the task is a pose that the thread allows: yaw 0 and the tip at its depth."""
    vice.place(-THREAD.stud_length, 0.0, corner)
    assert vice.assembled
    before = vice.data.xpos[vice.leg].copy()
    vice.let_go(1.0)
    assert vice.assembled
    np.testing.assert_allclose(vice.data.xpos[vice.leg], before, atol=1e-3)
    assert abs(vice.data.xmat[vice.leg].reshape(3, 3)[1, 0]) < 0.1


def test_pin_phase_puts_the_ridge_half_a_lead_from_the_pins():
    """Seated, at the angle of the first pin, the ridge is in the middle between two pins."""
    turn = THREAD.pin_phase / (2 * np.pi)
    ridge = -THREAD.stud_length + THREAD.ridge_low + THREAD.lead * turn
    pin = THREAD.pin_top - THREAD.lead
    assert (ridge - pin) / THREAD.lead % 1.0 == pytest.approx(0.5)


def test_contact_time_constant_follows_the_step():
    assert contact_settings(0.002, 0.3)["solref"][0] == pytest.approx(0.004)
    assert contact_settings(0.002, 0.3)["friction"][0] == 0.3


def test_a_part_moves_freely_and_stands_on_its_foot():
    spec = mujoco.MjSpec()
    body = add_part(spec, "block", np.array([0.1, 0.2, 0.3]), LYING)
    body.add_geom(name="block", size=[0.02, 0.02, 0.01], type=mujoco.mjtGeom.mjGEOM_BOX, mass=0.1)
    add_foot(body, "foot", 0.015, 0.01, 0.002)
    model = spec.compile()
    assert model.joint("block").type == mujoco.mjtJoint.mjJNT_FREE
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.body("block").xmat.reshape(3, 3), LYING, atol=1e-12)
    foot = model.geom("foot")
    assert foot.pos[2] - foot.size[2] == pytest.approx(-0.01 - 5e-5), "it alone touches the bench"
    assert model.body("block").mass[0] == pytest.approx(0.1), "a foot weighs nothing"


def test_a_prism_has_a_face_towards_x():
    corners = prism_rings(6, ((0.02, -0.01), (0.01, 0.03)))
    assert corners.shape == (12, 3)
    assert corners[:6, 0].max() == pytest.approx(0.02)
    assert np.sum(np.isclose(corners[:6, 0], 0.02)) == 2
    np.testing.assert_allclose(corners[6:], [0.5, 0.5, 0] * corners[:6] + [0, 0, 0.03])
