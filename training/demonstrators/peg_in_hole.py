# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for peg_in_hole: grasp, carry, feel for the hole, push down.

It sees what an operator would (part poses, hand pose, gripper width) and acts at 10 Hz with
human imperfections: own pace, unsteady hand, hesitation, and an eye that is a little off until
the peg stands on the rim. There it nudges the peg towards the hole while it pushes gently, and
lifts it for another try when that takes too long. Angles in rad, lengths in m, base frame.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from resip_ros.core.geometry import Array, matrix_to_rotvec, rotation_z
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.sim.peg_in_hole import BLOCK_HALF_M, PEG_HALF_M
from training.demonstrators.motion import Habits, PickingOperator

_DOWN = np.diag([1.0, -1.0, -1.0])
_GRASPED_WIDTH = 2 * PEG_HALF_M[1] + 0.002
_TOUCHING_M = 0.001
_IN_HOLE_M = 0.002
_NUDGE_GAIN = 0.4
_NUDGE_MAX_M = 0.006
_NUDGE_MAX_RAD = 0.08
_TRY_STEPS = 25
_PATIENCE = 60


class Operator(PickingOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (37,)."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.habits = _for_fine_work(self.habits, rng)
        self._misjudged_m = rng.uniform(0.0002, 0.0006)
        self._misjudged_rad = rng.uniform(0.005, 0.02)
        self._misjudge()
        self._phases |= {
            "lift": self._lift,
            "carry": self._carry,
            "align": self._align,
            "insert": self._insert,
            "push": self._push,
            "raise": self._raise,
        }

    @property
    def gave_up(self) -> bool:
        """Whether this operator stops: the peg fell over, or nothing moves."""
        return self.peg_rot[2, 2] < 0.7 or self._steps > _PATIENCE

    def _see(self, obs: Array) -> None:
        self._see_hand(obs)
        self.peg, self.peg_rot = body_pose(PEG_IN_HOLE, obs, "peg")
        self.block, self.block_rot = body_pose(PEG_IN_HOLE, obs, "hole")
        self.mouth = self.block + BLOCK_HALF_M[2] * self.block_rot[:, 2]
        self.tip = self.peg - PEG_HALF_M[2] * self.peg_rot[:, 2]
        self.depth = float(-(self.block_rot.T @ (self.tip - self.mouth))[2])

    def _misjudge(self) -> None:
        """Believe the hole a little beside where it is; felt corrections start anew."""
        self._aside = self._rng.normal(size=2) * self._misjudged_m
        self._turned = float(self._rng.normal() * self._misjudged_rad)

    # ---- motions

    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        """Hand on the two wide faces, ``above`` m over where it will close."""
        yaw = _half_turn(np.arctan2(self.peg_rot[1, 0], self.peg_rot[0, 0]))
        pos = self.peg + np.array([0.0, 0.0, self.habits.grasp_along_m + above])
        return pos, rotation_z(np.array(yaw)) @ _DOWN

    def yaw_error(self) -> float:
        """Turn that brings the peg into the hole's yaw, the shorter way round."""
        rel = self.block_rot.T @ self.peg_rot
        return -_half_turn(np.arctan2(rel[1, 0], rel[0, 0]))

    def _held_pose(self, tip: Array, turn: float) -> tuple[Array, Array]:
        """Hand pose that puts the held peg upright, turned by ``turn``, its tip at ``tip``."""
        yaw = np.arctan2(self.peg_rot[1, 0], self.peg_rot[0, 0]) + turn
        upright = rotation_z(np.array(yaw))
        change = upright @ self.peg_rot.T
        peg = tip + np.array([0.0, 0.0, PEG_HALF_M[2]])
        return peg + change @ (self.pos - self.peg), change @ self.rot

    def _over_hole(self, gap: float) -> tuple[Array, Array]:
        """Hand pose with the tip ``gap`` m over where the hole is believed."""
        tip = self.mouth + np.array([*self._aside, gap])
        return self._held_pose(tip, self.yaw_error() + self._turned)

    def _holds(self) -> bool:
        return bool(self.width < _GRASPED_WIDTH) and self._steps >= 6

    # ---- phases: each returns position, rotation and the next phase

    def _lift(self) -> tuple[Array, Array, str]:
        height = self.mouth[2] + self.habits.lift_m
        goal = self._held_pose(np.array([*self.tip[:2], height]), 0.0)
        pos, rot, _ = self._towards(*goal)
        return pos, rot, "carry" if self.tip[2] > height - 0.01 else "lift"

    def _carry(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._over_hole(self.habits.lift_m))
        return pos, rot, "align" if there else "carry"

    def _align(self) -> tuple[Array, Array, str]:
        goal, goal_rot = self._over_hole(self.habits.hover_m)
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.4)
        off = np.linalg.norm(goal - self.pos)
        turn = np.linalg.norm(matrix_to_rotvec(goal_rot @ self.rot.T))
        return pos, rot, "insert" if off < 0.001 and turn < 0.02 else "align"

    def _insert(self) -> tuple[Array, Array, str]:
        """Lower the peg onto the rim and nudge it, pushing gently, until it falls in."""
        if self.depth > -_TOUCHING_M:
            error = (self.mouth - self.tip)[:2]
            self._aside = self._aside + _NUDGE_GAIN * error
            self._aside = np.clip(self._aside, -_NUDGE_MAX_M, _NUDGE_MAX_M)
            turned = self._turned + _NUDGE_GAIN * self.yaw_error()
            self._turned = float(np.clip(turned, -_NUDGE_MAX_RAD, _NUDGE_MAX_RAD))
        goal, goal_rot = self._over_hole(-self.depth - self.habits.push_m)
        pos, rot, _ = self._towards(goal, goal_rot)
        if self.depth > _IN_HOLE_M:
            return pos, rot, "push"
        return pos, rot, "raise" if self._steps > _TRY_STEPS else "insert"

    def _push(self) -> tuple[Array, Array, str]:
        """Down to the bench: the walls guide the peg, the hand follows."""
        tip = np.array([*self.mouth[:2], self.tip[2] - 2 * self.habits.push_m])
        pos, rot, _ = self._towards(*self._held_pose(tip, self.yaw_error()))
        return pos, rot, "raise" if self._steps > _TRY_STEPS else "push"

    def _raise(self) -> tuple[Array, Array, str]:
        """Lift the peg off the rim and look again."""
        tip = np.array([*self.tip[:2], self.mouth[2] + self.habits.hover_m])
        pos, rot, _ = self._towards(*self._held_pose(tip, 0.0))
        clear = self.depth < -0.5 * self.habits.hover_m
        if clear:
            self._misjudge()
        return pos, rot, "align" if clear else "raise"


def _half_turn(angle: float) -> float:
    """Angle in [-pi/2, pi/2), rad: the peg looks the same after half a turn."""
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)


def _for_fine_work(habits: Habits, rng: np.random.Generator) -> Habits:
    """A person's habits for a small part and a tight fit: steadier and gentler, lower lifts."""
    return replace(
        habits,
        tremor_m=habits.tremor_m / 3,
        tremor_rad=habits.tremor_rad / 2,
        push_m=0.6 * habits.push_m,
        hover_m=0.45 * habits.hover_m,
        # of the tip above the block
        lift_m=rng.uniform(0.03, 0.05),
    )
