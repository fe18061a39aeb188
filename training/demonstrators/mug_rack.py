# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for mug_rack: take the mug by its rim, hang it on one of the two pegs.

One finger inside the mug and one outside, opposite the handle. The operator tilts the mug so
that the handle points up, puts the handle over the peg, lowers it until the peg carries it and
lets go; the mug swings to its rest. Which peg, and how far it tilts the mug, it chooses once an
episode. The mug always ends with its opening away from the robot: for the other way round the
wrist would have to pass its singular pose. Angles in rad, lengths in m, base frame.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array, matrix_to_rotvec, rotation_z, rotvec_to_matrix
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import MUG_RACK
from resip_ros.sim.mug_rack import (
    HOLE_M,
    MUG_HALF_HEIGHT_M,
    MUG_NOMINAL_ROT,
    MUG_RADIUS_M,
    PEG_RISE_M,
    PEG_Y_M,
    VALLEYS_M,
)
from training.demonstrators.motion import ScriptedOperator

# hand in the mug's frame: down along the mug's axis, fingers closing along the handle's direction
_HAND_IN_MUG = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
_HOLE = np.array([HOLE_M, 0.0, 0.0])
_GRASPED_WIDTH = 0.008
_OPEN_WIDTH = 0.060
_PEG_M = PEG_Y_M[2] - PEG_Y_M[1]
_BESIDE_M = 0.030
_CARRIED_M = 0.004
_STOPPED_M = 0.0008
_LOWERED_M = 0.022
_FALLEN_M = 0.065
_PATIENCE = 70
_WATCH_STEPS = 150
_HELD_PHASES = ("carry", "align", "insert", "lower", "release", "retreat", "watch")


class Operator(ScriptedOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (37,)."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.peg = int(rng.integers(len(VALLEYS_M)))
        self._height = 0.0
        self._tilt = rng.uniform(np.radians(32.0), np.radians(48.0))
        self._phases = {
            "approach": self._approach,
            "descend": self._descend,
            "grasp": self._grasp,
            "lift": self._lift,
            "carry": self._carry,
            "align": self._align,
            "insert": self._insert,
            "lower": self._lower,
            "release": self._release,
            "retreat": self._retreat,
            "watch": self._watch,
        }

    @property
    def gave_up(self) -> bool:
        """Whether this operator stops: the mug fell, or nothing moves."""
        fallen = self.phase in _HELD_PHASES and self.mug[2] < _FALLEN_M
        return fallen or self._steps > (_WATCH_STEPS if self.phase == "watch" else _PATIENCE)

    def _see(self, obs: Array) -> None:
        self._see_hand(obs)
        self.mug, self.mug_rot = body_pose(MUG_RACK, obs, "mug")
        rack, self.rack_rot = body_pose(MUG_RACK, obs, "rack")
        valley, end = (
            rack + self.rack_rot @ np.array([0.0, PEG_Y_M[k], VALLEYS_M[self.peg] + PEG_RISE_M[k]])
            for k in (1, 2)
        )
        self.valley, self.end = valley, end
        self.hole = self.mug + self.mug_rot @ _HOLE

    # ---- poses

    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        """Hand on the rim opposite the handle, ``above`` m over where it will close."""
        height = MUG_HALF_HEIGHT_M - self.habits.grasp_along_m
        at = self.mug + self.mug_rot @ np.array([-MUG_RADIUS_M, height, 0.0])
        return at + np.array([0.0, 0.0, above]), self.mug_rot @ _HAND_IN_MUG

    def _held_pose(self, hole: Array, rot: Array) -> tuple[Array, Array]:
        """Hand pose that puts the held mug's hole at ``hole``, the mug turned to ``rot``."""
        change = rot @ self.mug_rot.T
        mug = hole - rot @ _HOLE
        return mug + change @ (self.pos - self.mug), change @ self.rot

    def _tilted(self) -> Array:
        """R of the mug as it goes onto the peg: across it, the handle raised."""
        yaw = np.arctan2(self.rack_rot[1, 0], self.rack_rot[0, 0])
        raised = rotvec_to_matrix(np.array([0.0, self._tilt, 0.0]))
        return rotation_z(np.array(yaw)) @ raised @ MUG_NOMINAL_ROT

    def _beside(self) -> tuple[Array, Array]:
        """Hand pose with the hole in front of the peg's end."""
        return self._held_pose(self.end + _BESIDE_M * self.rack_rot[:, 1], self._tilted())

    # ---- phases: each returns position, rotation and the next phase

    def _approach(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(above=0.05))
        return pos, rot, "descend" if there else "approach"

    def _descend(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(above=0.0), slow=0.6)
        return pos, rot, "grasp" if there else "descend"

    def _grasp(self) -> tuple[Array, Array, str]:
        self._close = True
        if self._steps == 0:
            self._start = self.pos.copy(), self.rot.copy(), self.hole[:2].copy()
        held = self.width < _GRASPED_WIDTH and self._steps >= 8
        return *self._start[:2], "lift" if held else "grasp"

    def _lift(self) -> tuple[Array, Array, str]:
        """Straight up, to where the mug passes over the fixture."""
        goal = np.array([*self._start[2], self.habits.lift_m])
        pos, rot, _ = self._towards(*self._held_pose(goal, self.mug_rot))
        return pos, rot, "carry" if self.hole[2] > self.habits.lift_m - 0.03 else "lift"

    def _carry(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._beside())
        return pos, rot, "align" if there else "carry"

    def _align(self) -> tuple[Array, Array, str]:
        goal, goal_rot = self._beside()
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.4)
        off = np.linalg.norm(goal - self.pos)
        turn = np.linalg.norm(matrix_to_rotvec(goal_rot @ self.rot.T))
        return pos, rot, "insert" if off < 0.003 and turn < 0.04 else "align"

    def _insert(self) -> tuple[Array, Array, str]:
        """Along the peg to over its valley."""
        along = self.rack_rot[:, 1]
        share = float(np.clip((self.hole - self.valley) @ along / _PEG_M, 0.0, 1.0))
        # first level with the end, then down with the peg
        level = self.valley[2] + share * (self.end[2] - self.valley[2])
        goal, goal_rot = self._held_pose(np.array([*self.valley[:2], level]), self._tilted())
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.5)
        there = (self.hole - self.valley) @ along < 0.004
        return pos, rot, "lower" if there else "insert"

    def _lower(self) -> tuple[Array, Array, str]:
        """Down until the peg carries the mug."""
        low = self.valley - np.array([0.0, 0.0, _LOWERED_M])
        pos, rot, _ = self._towards(*self._held_pose(low, self._tilted()), slow=0.25)
        # no harder than a light push
        pos[2] = max(pos[2], self.pos[2] - 2 * self.habits.push_m)
        stopped = self._height - self.hole[2] < _STOPPED_M and self._steps >= 3
        self._height = self.hole[2]
        carried = stopped and self.hole[2] < self.valley[2] - _CARRIED_M
        return pos, rot, "release" if carried else "lower"

    def _release(self) -> tuple[Array, Array, str]:
        self._close = False
        return self.pos, self.rot, "retreat" if self.width > _OPEN_WIDTH else "release"

    def _retreat(self) -> tuple[Array, Array, str]:
        """Back, out of the mug's way."""
        pos, rot, _ = self._towards(self.pos - 0.05 * self.rot[:, 2], self.rot)
        return pos, rot, "watch" if self._steps >= 5 else "retreat"

    def _watch(self) -> tuple[Array, Array, str]:
        """Wait until the mug has swung to its rest."""
        if self._steps == 0:
            self._rest = self.pos.copy(), self.rot.copy()
        return *self._rest, "watch"
