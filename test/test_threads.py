# SPDX-License-Identifier: Apache-2.0
"""Threads of round_table and lamp, by contact alone: they catch, advance, hold, and end tight."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_quat_wxyz, rotation_z
from resip_ros.core.tasks import get_task, goal_poses, pair_assembled
from resip_ros.sim.lamp import BASE_NOMINAL
from resip_ros.sim.parts import Thread
from resip_ros.sim.scene import set_physics_options
from resip_ros.sim.task_scene import get_scene

STEP = 0.002
PAIRS = {
    "leg_in_top": ("round_table", 0),
    "foot_on_leg": ("round_table", 1),
    "bulb_in_base": ("lamp", 0),
}


class Vice:
    """A threaded pair's parent, and a springy hand that turns and pushes the child.

    Sideways the hand is a spring; along the vertical and about it, force and torque are bounded.
    """

    def __init__(self, task_name: str, number: int, *, clamped: bool = True) -> None:
        """Clamp the parent of a task's pair in the air, or leave it where it stands."""
        self.pair = get_task(task_name).pairs[number]
        spec = mujoco.MjSpec()
        set_physics_options(spec, STEP)
        get_scene(task_name).add(spec, STEP)
        if clamped:
            spec.delete(spec.joint(self.pair.parent))
            parent = spec.body(self.pair.parent)
            parent.pos, parent.quat = [0.5, 0.0, 0.3], [1, 0, 0, 0]
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

    def let_go(self, seconds: float) -> None:
        self.data.xfrc_applied[:] = 0.0
        mujoco.mj_step(self.model, self.data, round(seconds / STEP))


@pytest.fixture(scope="module", params=PAIRS)
def vice(request: pytest.FixtureRequest) -> Vice:
    return Vice(*PAIRS[request.param])


@pytest.mark.parametrize("yaw", [1.0, 3.0, 5.0])
def test_a_turn_advances_one_lead(vice, yaw):
    vice.place(0.001, yaw)
    trace = vice.work(4.0, push=3.0, rate=-4.0)
    assert (trace[:, 1] > 0.0245).any(), trace[::100].tolist()
    turning = trace[: np.argmax(trace[:, 1] > 0.0245)]
    turning = turning[(turning[:, 1] > 0.015) & (turning[:, 1] < 0.022)]
    # a slope: the backlash of 3 mm enters the difference of two points
    advance = -2 * np.pi * np.polyfit(turning[:, 0], turning[:, 1], 1)[0]
    assert advance == pytest.approx(Thread().lead, abs=0.0002)


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
    # it slips by the backlash (3.6 mm of the foot), not by half a lead
    slip = 0.003 if vice.pair.child == "bulb" else 0.004
    assert held[:, 1].min() > before - slip


def test_tight_counts_at_any_torque_and_loose_does_not(vice):
    """A thread just down on its shoulder is not assembled; snug to very tight is."""
    vice.place(0.001, 1.0)
    while vice.depth < 0.0248:
        vice.work(0.05, push=3.0, rate=-4.0)
    assert not vice.assembled, np.degrees(vice.yaw)
    for torque in (0.03, 0.1, 0.8):
        vice.tighten(torque)
        assert vice.assembled, (torque, np.degrees(vice.yaw), vice.depth)
    vice.let_go(1.0)
    assert vice.assembled, "and stays so when it is let go"


@pytest.mark.parametrize("angle", [0.0, 2.4])
def test_beside_the_bore_it_does_not_enter(vice, angle):
    direction = np.array([np.cos(angle), np.sin(angle)])
    vice.place(0.001, 1.0, off=0.005 * direction)
    assert vice.work(1.0, push=5.0)[:, 1].max() < 0.003
    vice.place(0.001, 1.0, off=0.001 * direction)
    assert vice.work(1.0, push=5.0)[-1, 1] > 0.004, "one millimetre off still enters"


def test_a_base_held_by_friction_alone_takes_the_bulb():
    free = Vice("lamp", 0, clamped=False)
    free.place(0.001, 1.0)
    free.work(4.0, push=5.0, rate=-4.0)
    assert free.assembled, (free.depth, np.degrees(free.yaw))
    moved = free.data.body("lamp_base").xpos[:2] - BASE_NOMINAL[:2]
    assert np.linalg.norm(moved) < 0.005
