# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for mug_rack: take the mug by its rim, hang it on one of the two pegs.

One finger inside the mug and one outside. The operator tilts the mug so that the handle points
up, puts the handle over the peg, lowers it until the peg carries it and lets go; the mug swings
to its rest.

It chooses once an episode how far it tilts the mug, on which peg it hangs it, and which way
round. With the opening away from the robot, as a mug with its handle towards the robot goes, it
takes the rim opposite the handle. To have the opening towards the robot it takes the rim beside
the handle and makes half a turn in the air: the likelier, the more of that turn the mug has made
already. Angles in rad, lengths in m, base frame.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array, matrix_to_rotvec, rotation_z, rotvec_to_matrix
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import MUG_RACK
from resip_ros.sim.mug_rack import (
    MUG_NOMINAL_ROT,
    OUR_MUG,
    PEG_RISE_M,
    PEG_Y_M,
    VALLEYS_M,
)
from training.demonstrators.motion import PickingOperator

# hand in the mug's frame: down along the mug's axis, fingers closing along the handle's direction
_OPPOSITE = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
# fingers closing across it; the hand leans away from the handle, or the elbow could not bend
# enough to put the mug onto the peg from the robot's side
_BESIDE = rotation_z(np.radians(-18.0)) @ np.array(
    [[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]]
)
_DOWN = np.diag([1.0, -1.0, -1.0])
_GRASPED_WIDTH = 0.008
_OPEN_WIDTH = 0.060
_PEG_M = PEG_Y_M[2] - PEG_Y_M[1]
_BESIDE_M = 0.030
_CARRIED_M = 0.004
_STOPPED_M = 0.0008
_LOWERED_M = 0.022
_FALLEN_M = 0.020
"""A mug is not on a peg when it is less than this above where it stands."""
_PATIENCE = 70
_WATCH_STEPS = 150
_STEP_ROUND_RAD = 1.0
_RELUCTANCE = 0.15
"""Share of a half turn; 35 % of operators turn a mug whose handle points at the robot."""
_HELD_PHASES = ("round", "carry", "align", "insert", "lower", "release", "retreat", "watch")


class Operator(PickingOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (37,)."""

    shape = OUR_MUG
    """The mug; a subclass for another one sets its own."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.peg = int(rng.integers(len(VALLEYS_M)))
        self.turned = False
        """Whether the mug's opening will point towards the robot."""
        self._inclination = rng.uniform(-0.5, 0.5)
        self._height = 0.0
        self._tilts = rng.uniform(np.radians((32.0, 15.0)), np.radians((48.0, 25.0)))
        self._phases |= {
            "lift": self._lift,
            "round": self._round,
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
        fallen = self.phase in _HELD_PHASES and self.mug[2] < self.shape.foot_m + _FALLEN_M
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
        self.hole = self.mug + self.shape.hole_m * self.mug_rot[:, 0]
        if self.phase == "approach" and self._steps == 0:
            self.turned = self._decide()

    def _decide(self) -> bool:
        """Whether the opening will point towards the robot: likelier if that is near."""
        to_handle = self.rack_rot.T @ self.mug_rot[:, 0]
        made = np.arctan2(-to_handle[1], -to_handle[0]) / np.pi
        return bool(self._inclination + made > _RELUCTANCE)

    # ---- poses

    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        """Hand on the rim opposite or beside the handle, ``above`` m over where it will close."""
        height = self.shape.rim_m - self.habits.grasp_along_m
        radius = self.shape.radius_m
        point = [0.0, height, -radius] if self.turned else [-radius, height, 0.0]
        at = self.mug + self.mug_rot @ np.array(point)
        rot = self.mug_rot @ (_BESIDE if self.turned else _OPPOSITE)
        return at + np.array([0.0, 0.0, above]), rot

    def _held_pose(self, hole: Array, rot: Array) -> tuple[Array, Array]:
        """Hand pose that puts the held mug's hole at ``hole``, the mug turned to ``rot``."""
        change = rot @ self.mug_rot.T
        mug = hole - self.shape.hole_m * rot[:, 0]
        return mug + change @ (self.pos - self.mug), change @ self.rot

    def _tilted(self) -> Array:
        """R of the mug as it goes onto the peg: across it, the handle raised."""
        yaw = np.arctan2(self.rack_rot[1, 0], self.rack_rot[0, 0])
        raised = rotvec_to_matrix(np.array([0.0, self._tilts[int(self.turned)], 0.0]))
        half_turn = rotation_z(np.array(np.pi if self.turned else 0.0))
        return rotation_z(np.array(yaw)) @ half_turn @ raised @ MUG_NOMINAL_ROT

    def _yaw(self) -> float:
        """Yaw of the hand in (-150, 210] degrees, where the wrist can turn."""
        yaw = float(np.arctan2(self.rot[1, 0], self.rot[0, 0]))
        return yaw + 2 * np.pi if yaw < -np.radians(150.0) else yaw

    def _yaw_to_go(self) -> float:
        """How far the hand must still turn about the vertical, not across the wrist's stop."""
        rack = np.arctan2(self.rack_rot[1, 0], self.rack_rot[0, 0])
        return float(rack + (np.pi if self.turned else np.pi / 2) - self._yaw())

    def _beside(self) -> tuple[Array, Array]:
        """Hand pose with the hole in front of the peg's end."""
        return self._held_pose(self.end + _BESIDE_M * self.rack_rot[:, 1], self._tilted())

    def _holds(self) -> bool:
        return bool(self.width < _GRASPED_WIDTH) and self._steps >= 8

    # ---- phases: each returns position, rotation and the next phase

    def _grasp(self) -> tuple[Array, Array, str]:
        self._close = True
        if self._steps == 0:
            self._start = self.pos.copy(), self.rot.copy(), self.hole[:2].copy()
        return *self._start[:2], "lift" if self._holds() else "grasp"

    def _lift(self) -> tuple[Array, Array, str]:
        """Straight up, to where the mug passes over the fixture."""
        goal = np.array([*self._start[2], self.habits.lift_m])
        pos, rot, _ = self._towards(*self._held_pose(goal, self.mug_rot))
        return pos, rot, "round" if self.hole[2] > self.habits.lift_m - 0.03 else "lift"

    def _round(self) -> tuple[Array, Array, str]:
        """Turn the mug in the air, until the rest of the turn can be made on the way.

        With an upright hand: a leaning one might turn its forearm instead, the wrong way round.
        """
        to_go = self._yaw_to_go()
        yaw = self._yaw() + np.clip(to_go, -_STEP_ROUND_RAD, _STEP_ROUND_RAD)
        pos, rot, _ = self._towards(self.pos, rotation_z(np.array(yaw)) @ _DOWN)
        return pos, rot, "carry" if abs(to_go) < _STEP_ROUND_RAD else "round"

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
