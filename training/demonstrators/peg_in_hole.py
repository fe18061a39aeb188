# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for peg_in_hole: grasp, carry, feel for the hole, push down.

It sees what an operator would (part poses, hand pose, gripper width) and acts at 10 Hz with
human imperfections: own pace, unsteady hand, hesitation, and an eye that is a little off until
the peg stands on the rim. There it nudges the peg towards the hole while it pushes gently, and
lifts it for another try when that takes too long. Angles in rad, lengths in m, base frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resip_ros.core.action import encode_action
from resip_ros.core.geometry import (
    Array,
    matrix_to_rotvec,
    rot6d_to_matrix,
    rotation_z,
    rotvec_to_matrix,
)
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.sim.peg_in_hole import BLOCK_HALF_M, PEG_HALF_M

_DOWN = np.diag([1.0, -1.0, -1.0])
_GRASPED_WIDTH = 2 * PEG_HALF_M[1] + 0.002
_LOST_WIDTH = 2 * PEG_HALF_M[1] - 0.003
_IN_HOLE_M = 0.002
_NUDGE_GAIN = 0.4
_NUDGE_MAX_M = 0.006
_NUDGE_MAX_RAD = 0.08
_TRY_STEPS = 25
_PATIENCE = 60


@dataclass(frozen=True)
class Habits:
    """How one operator works in one episode."""

    step_m: float
    """Largest free translation per step."""
    step_rad: float
    """Largest free rotation per step."""
    tremor_m: float
    """Standard deviation of the hand's unsteadiness."""
    tremor_rad: float
    """The same for the rotation."""
    grasp_above_m: float
    """Where the peg is held, above its centre."""
    lift_m: float
    """Gap between tip and block for the transport."""
    hover_m: float
    """Gap between tip and block before insertion."""
    push_m: float
    """How far below the hand the target is while pushing; sets the force."""
    misjudged_m: float
    """Standard deviation of where the hole is believed, per axis, at each try."""
    misjudged_rad: float
    """The same for its yaw."""
    pause_chance: float
    """Chance to hesitate after a phase."""
    tremor_memory: float = 0.7
    """Share of the unsteadiness that persists to the next step."""

    @staticmethod
    def sample(rng: np.random.Generator) -> Habits:
        """Draw an operator's habits for an episode."""
        pace = rng.uniform(0.8, 1.1)
        return Habits(
            step_m=0.018 * pace,
            step_rad=0.20 * pace,
            tremor_m=rng.uniform(0.0001, 0.0003),
            tremor_rad=rng.uniform(0.001, 0.004),
            grasp_above_m=rng.uniform(0.010, 0.016),
            lift_m=rng.uniform(0.03, 0.05),
            hover_m=rng.uniform(0.004, 0.010),
            push_m=rng.uniform(0.0012, 0.0020),
            misjudged_m=rng.uniform(0.0002, 0.0006),
            misjudged_rad=rng.uniform(0.005, 0.02),
            pause_chance=0.15,
        )


class Operator:
    """Closed-loop demonstrator of one episode."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.habits = Habits.sample(rng)
        self.phase = "approach"
        self._steps = 0
        self._pause = 0
        self._tremor = np.zeros(6)
        self._close = False
        self._misjudge()
        self._phases: dict[str, Callable[[], tuple[Array, Array, str]]] = {
            "approach": self._approach,
            "descend": self._descend,
            "grasp": self._grasp,
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

    def act(self, obs: Array) -> Array:
        """Action (10,) for the state observation (37,), both SI."""
        self._see(obs)
        pos, rot, following = self._phases[self.phase]()
        self._steps += 1
        if self._pause > 0:
            self._pause -= 1
            pos, rot = self.pos, self.rot
        elif following != self.phase:
            self.phase, self._steps = following, 0
            if self._rng.random() < self.habits.pause_chance:
                self._pause = int(self._rng.integers(1, 4))
        return encode_action(*self._shake(pos, rot), np.array(1.0 if self._close else -1.0))

    def _see(self, obs: Array) -> None:
        self.pos, self.rot, self.width = obs[:3], rot6d_to_matrix(obs[3:9]), obs[15]
        self.peg, self.peg_rot = body_pose(PEG_IN_HOLE, obs, "peg")
        self.block, self.block_rot = body_pose(PEG_IN_HOLE, obs, "hole")
        self.mouth = self.block + BLOCK_HALF_M[2] * self.block_rot[:, 2]
        self.tip = self.peg - PEG_HALF_M[2] * self.peg_rot[:, 2]
        self.depth = float(-(self.block_rot.T @ (self.tip - self.mouth))[2])

    def _shake(self, pos: Array, rot: Array) -> tuple[Array, Array]:
        memory = self.habits.tremor_memory
        scale = np.repeat([self.habits.tremor_m, self.habits.tremor_rad], 3)
        fresh = self._rng.normal(size=6) * scale * np.sqrt(1 - memory**2)
        self._tremor = memory * self._tremor + fresh
        return pos + self._tremor[:3], rotvec_to_matrix(self._tremor[3:]) @ rot

    def _misjudge(self) -> None:
        """Believe the hole a little beside where it is; felt corrections start anew."""
        self._aside = self._rng.normal(size=2) * self.habits.misjudged_m
        self._turned = float(self._rng.normal() * self.habits.misjudged_rad)

    # ---- motions

    def _towards(self, pos: Array, rot: Array, slow: float = 1.0) -> tuple[Array, Array, bool]:
        """Next target on the way to a pose, and whether the hand is nearly there."""
        move, turn = pos - self.pos, matrix_to_rotvec(rot @ self.rot.T)
        distance, angle = np.linalg.norm(move), np.linalg.norm(turn)
        share = max(
            distance / (self.habits.step_m * slow), angle / (self.habits.step_rad * slow), 1.0
        )
        # ease in: an operator slows down near the goal
        share = max(share, 1.0 if share > 2.0 else 1.5)
        target = self.pos + move / share
        target_rot = rotvec_to_matrix(turn / share) @ self.rot
        return target, target_rot, bool(distance < 0.004 and angle < 0.05)

    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        """Hand on the two wide faces, ``above`` m over where it will close."""
        yaw = _half_turn(np.arctan2(self.peg_rot[1, 0], self.peg_rot[0, 0]))
        pos = self.peg + np.array([0.0, 0.0, self.habits.grasp_above_m + above])
        return pos, rotation_z(np.array(yaw)) @ _DOWN

    def _peg_yaw_error(self) -> float:
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
        return self._held_pose(tip, self._peg_yaw_error() + self._turned)

    # ---- phases: each returns position, rotation and the next phase

    def _approach(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(above=0.05))
        return pos, rot, "descend" if there else "approach"

    def _descend(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(above=0.0), slow=0.6)
        return pos, rot, "grasp" if there else "descend"

    def _grasp(self) -> tuple[Array, Array, str]:
        self._close = True
        held = self.width < _GRASPED_WIDTH and self._steps >= 6
        return self.pos, self.rot, "lift" if held else "grasp"

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
        on_rim = self.depth > -0.001
        if on_rim:
            error = (self.mouth - self.tip)[:2]
            self._aside = self._aside + _NUDGE_GAIN * error
            self._aside = np.clip(self._aside, -_NUDGE_MAX_M, _NUDGE_MAX_M)
            turned = self._turned + _NUDGE_GAIN * self._peg_yaw_error()
            self._turned = float(np.clip(turned, -_NUDGE_MAX_RAD, _NUDGE_MAX_RAD))
        goal, goal_rot = self._over_hole(-self.depth - self.habits.push_m)
        pos, rot, _ = self._towards(goal, goal_rot)
        if self.depth > _IN_HOLE_M:
            return pos, rot, "push"
        return pos, rot, "raise" if self._steps > _TRY_STEPS else "insert"

    def _push(self) -> tuple[Array, Array, str]:
        """Down to the bench: the walls guide the peg, the hand follows."""
        tip = np.array([*self.mouth[:2], self.tip[2] - 2 * self.habits.push_m])
        pos, rot, _ = self._towards(*self._held_pose(tip, self._peg_yaw_error()))
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
