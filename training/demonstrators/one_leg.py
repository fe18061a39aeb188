# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for one_leg: grasp, reorient, insert, regrasp, screw in strokes.

It sees what an operator would (part poses, hand pose, gripper width) and acts at 10 Hz with
human imperfections: own pace, waypoints that differ each time, unsteady hand, hesitation.
Angles in rad, lengths in m, base frame. Tilt: the hand leans back to pick the lying leg and
forward to insert it, so that half of the reorientation is on either side of the vertical.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import (
    Array,
    matrix_to_rotvec,
    rotation_z,
    rotvec_to_matrix,
)
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim.one_leg import (
    HOLE_M,
    LEG_END_M,
    LEG_TIP_M,
    THREAD,
    TOP_HALF_THICK_M,
)
from training.demonstrators.motion import ScriptedOperator

_TILT = np.radians(45.0)
_HOLE = np.array([-HOLE_M, HOLE_M, TOP_HALF_THICK_M])
_GRASPED_WIDTH = 0.0335
_OPEN_WIDTH = 0.055
_STROKE = np.pi
_START_YAW = np.radians(145.0)
_ENGAGED_YAW = np.radians(55.0)
_HALFWAY_YAW = np.radians(60.0)
_FREE_PHASES = ("retreat", "reach", "surround", "clamp", "open", "unwind")
_RELEASED_DEPTH = 0.006
_PATIENCE = 90


class Operator(ScriptedOperator):
    """Closed-loop demonstrator of one episode."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._quarter = 0
        self._thread_yaw: float | None = None
        self._face_yaw = np.pi / 2
        self._phases = {
            "approach": self._approach,
            "descend": self._descend,
            "grasp": self._grasp,
            "lift": self._lift,
            "carry": self._carry,
            "align": self._align,
            "insert": self._insert,
            "start": self._start,
            "level": self._level,
            "release": self._release,
            "retreat": self._retreat,
            "reach": self._reach,
            "surround": self._surround,
            "clamp": self._clamp,
            "turn": self._turn,
            "open": self._open,
            "unwind": self._unwind,
        }

    @property
    def gave_up(self) -> bool:
        """Whether this operator stops: the leg fell over after it was let go, or nothing moves."""
        fallen = self.phase in _FREE_PHASES and self.leg_rot[2, 2] < 0.7
        return fallen or self._steps > _PATIENCE

    def _see(self, obs: Array) -> None:
        self._see_hand(obs)
        self.leg, self.leg_rot = body_pose(ONE_LEG, obs, "leg4")
        self.top, self.top_rot = body_pose(ONE_LEG, obs, "top")
        self.hole = self.top + self.top_rot @ _HOLE
        self.tip = self.leg + LEG_TIP_M * self.leg_rot[:, 2]
        self.depth = float(-(self.top_rot.T @ (self.tip - self.hole))[2])

    # ---- motions

    def _grasp_rot(self, leg_rot: Array) -> Array:
        """Hand rotation that holds the leg with the chosen pair of faces."""
        c, s = np.cos(_TILT), np.sin(_TILT)
        in_leg = np.array([[s, 0.0, c], [0.0, -1.0, 0.0], [c, 0.0, -s]])
        return leg_rot @ rotation_z(np.array(self._quarter * np.pi / 2)) @ in_leg

    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        """Pick pose on the lying leg, ``above`` m before contact along the approach."""
        self._quarter = max(range(4), key=self._downwardness)
        rot = self._grasp_rot(self.leg_rot)
        pos = self.leg + self.habits.grasp_along_m * self.leg_rot[:, 2]
        return pos + np.array([0, 0, 0.002]) - above * rot[:, 2], rot

    def _downwardness(self, quarter: int) -> float:
        face = self.leg_rot @ rotation_z(np.array(quarter * np.pi / 2))
        return -face[2, 0]

    def _carry_pose(self, tip: Array) -> tuple[Array, Array]:
        """Hand pose that puts the held leg upright with its tip at ``tip``."""
        yaw = np.arctan2(self.top_rot[1, 0], self.top_rot[0, 0]) - self._quarter * np.pi / 2
        if self._thread_yaw is not None:
            yaw += self._thread_yaw
        else:
            # by way of a half turn's middle, or the wrist might turn into its stop
            yaw += _START_YAW if self.leg_rot[2, 2] > 0.8 else _HALFWAY_YAW
        upright = rotation_z(np.array(yaw))
        in_leg = self.leg_rot.T @ (self.pos - self.leg)
        hand_in_leg = self.leg_rot.T @ self.rot
        leg = tip - LEG_TIP_M * upright[:, 2]
        return leg + upright @ in_leg, upright @ hand_in_leg

    # ---- phases: each returns position, rotation and the next phase

    def _approach(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(above=0.07))
        return pos, rot, "descend" if there else "approach"

    def _descend(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(above=0.0), slow=0.6)
        return pos, rot, "grasp" if there else "descend"

    def _grasp(self) -> tuple[Array, Array, str]:
        self._close = True
        held = self.width < _GRASPED_WIDTH and self._steps >= 6
        return self.pos, self.rot, "lift" if held else "grasp"

    def _lift(self) -> tuple[Array, Array, str]:
        goal = np.array([self.pos[0] + 0.02, self.pos[1] - 0.02, self.habits.lift_m])
        pos, rot, _ = self._towards(goal, self.rot)
        done = self.pos[2] > self.habits.lift_m - 0.03
        return pos, rot, "carry" if done else "lift"

    def _carry(self) -> tuple[Array, Array, str]:
        goal, goal_rot = self._carry_pose(self.hole + np.array([0, 0, self.habits.hover_m + 0.03]))
        # stay up until the leg is upright and over the hole: its tip hangs below the hand
        away = np.linalg.norm((self.tip - self.hole)[:2]) > 0.03 or self.leg_rot[2, 2] < 0.9
        if away:
            goal[2] = max(goal[2], self.habits.lift_m)
        pos, rot, there = self._towards(goal, goal_rot)
        return pos, rot, "align" if there and not away else "carry"

    def _align(self) -> tuple[Array, Array, str]:
        goal, goal_rot = self._carry_pose(self.hole + np.array([0, 0, self.habits.hover_m]))
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.4)
        off = np.linalg.norm((self.tip - self.hole)[:2])
        tilt = np.arccos(np.clip(self.leg_rot[2, 2], -1, 1))
        good = off < 0.0012 and tilt < 0.03 and abs(self.pos[2] - goal[2]) < 0.004
        return pos, rot, "insert" if good else "align"

    def _insert(self) -> tuple[Array, Array, str]:
        tip = np.array([*self.hole[:2], self.tip[2] - self.habits.push_m])
        goal, goal_rot = self._carry_pose(tip)
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.5)
        if self.depth > _RELEASED_DEPTH and self._steps > 8:
            return pos, rot, "start"
        return pos, rot, "align" if self._steps > 45 else "insert"

    def _start(self) -> tuple[Array, Array, str]:
        """Turn the leg with the tilted hand until the thread holds it upright."""
        self._thread_yaw = self._held_yaw() - 0.7 * self.habits.turn_rad
        tip = np.array([*self.hole[:2], self.tip[2] - self.habits.push_m])
        pos, rot, _ = self._towards(*self._carry_pose(tip))
        turned = self._held_yaw() < _ENGAGED_YAW or self._steps > 60
        return pos, rot, "level" if turned else "start"

    def _held_yaw(self) -> float:
        """Yaw of the leg's chosen face relative to the top, in (-pi, pi]."""
        rel = self.top_rot.T @ self.leg_rot @ rotation_z(np.array(self._quarter * np.pi / 2))
        return float(np.arctan2(rel[1, 0], rel[0, 0]))

    def _level(self) -> tuple[Array, Array, str]:
        """Stop pushing and put the leg upright before letting go."""
        goal, goal_rot = self._carry_pose(np.array([*self.hole[:2], self.tip[2] - 0.001]))
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.3)
        return pos, rot, "release" if self._steps >= 5 else "level"

    def _release(self) -> tuple[Array, Array, str]:
        self._close = False
        opened = self.width > _OPEN_WIDTH
        return self.pos, self.rot, "retreat" if opened else "release"

    def _retreat(self) -> tuple[Array, Array, str]:
        goal = self.leg + np.array([0, 0, LEG_END_M]) - 0.075 * self.rot[:, 2]
        pos, rot, there = self._towards(goal, self.rot)
        return pos, rot, "reach" if there else "retreat"

    def _screw_rot(self, yaw: float) -> Array:
        down = np.diag([1.0, -1.0, -1.0])
        return rotation_z(np.array(yaw)) @ down

    def _lean(self) -> Array:
        """Rotation that tips an upright hand onto the axis of a leaning leg."""
        axis = np.cross([0.0, 0.0, 1.0], self.leg_rot[:, 2])
        sine = np.linalg.norm(axis)
        return rotvec_to_matrix(axis * (np.arcsin(min(sine, 1.0)) / max(sine, 1e-9)))

    def _start_yaw(self) -> float:
        """Hand yaw near +90 degrees with the fingers on a pair of faces.

        The face is chosen once per stroke, or the hand could hesitate between two for ever.
        """
        leg = np.arctan2(self.leg_rot[1, 0], self.leg_rot[0, 0])
        faces = leg + np.pi / 2 * np.arange(-8, 9)
        self._face_yaw = float(faces[np.argmin(np.abs(faces - self._face_yaw))])
        return self._face_yaw

    def _hand_yaw(self) -> float:
        """Yaw of the hand in (-150, 210] degrees, where the wrist can turn."""
        yaw = np.arctan2(self.rot[1, 0], self.rot[0, 0])
        return float(yaw + 2 * np.pi if yaw < -np.radians(150) else yaw)

    def _toward_yaw(self, pos: Array, yaw: float, slow: float) -> tuple[Array, Array, bool]:
        """As _towards, but turning through the wrist's free range, never across its stop."""
        now = self._hand_yaw()
        step = np.clip(yaw - now, -1.0, 1.0)
        target, rot, there = self._towards(pos, self._lean() @ self._screw_rot(now + step), slow)
        return target, rot, there and abs(yaw - now) < 0.06

    def _reach(self) -> tuple[Array, Array, str]:
        goal = self.leg + (LEG_END_M + 0.045) * self.leg_rot[:, 2]
        pos, rot, there = self._toward_yaw(goal, self._start_yaw(), 1.0)
        return pos, rot, "surround" if there else "reach"

    def _surround(self) -> tuple[Array, Array, str]:
        goal = self.leg + self.habits.regrasp_m * self.leg_rot[:, 2]
        pos, rot, there = self._toward_yaw(goal, self._start_yaw(), 0.6)
        return pos, rot, "clamp" if there else "surround"

    def _clamp(self) -> tuple[Array, Array, str]:
        self._close = True
        held = self.width < _GRASPED_WIDTH and self._steps >= 5
        if self._steps > 12 and not held:
            self._close = False
            return self.pos, self.rot, "reach"
        return self.pos, self.rot, "turn" if held else "clamp"

    def _turn(self) -> tuple[Array, Array, str]:
        yaw = self._hand_yaw() - self.habits.turn_rad
        goal = self.pos + np.array([0.0, 0.0, -self.habits.push_m])
        centre = self.hole[:2] + (self.pos - self.leg)[:2]
        goal[:2] += np.clip(centre - goal[:2], -0.001, 0.001)
        goal[2] -= THREAD.lead * self.habits.turn_rad / (2 * np.pi)
        end = self._hand_yaw() < np.pi / 2 - _STROKE + 0.03
        stalled = self._steps > int(1.6 * _STROKE / self.habits.turn_rad)
        lost = self.width < 0.02
        done = end or stalled or lost
        upright = self._screw_rot(yaw)
        bend = matrix_to_rotvec(self._screw_rot(self._hand_yaw()) @ self.rot.T)
        size = np.linalg.norm(bend)
        # straighten a leaning leg little by little
        keep = rotvec_to_matrix(-bend * max(0.0, 1.0 - 0.03 / max(size, 1e-9)))
        return goal, keep @ upright, "open" if done else "turn"

    def _open(self) -> tuple[Array, Array, str]:
        self._close = False
        self._face_yaw = np.pi / 2
        opened = self.width > _OPEN_WIDTH
        return self.pos, self.rot, "unwind" if opened else "open"

    def _unwind(self) -> tuple[Array, Array, str]:
        # keep clear of the leg's height while turning back
        goal = self.leg + self.habits.regrasp_m * self.leg_rot[:, 2]
        pos, rot, there = self._toward_yaw(goal, self._start_yaw(), 1.2)
        return pos, rot, "clamp" if there else "unwind"
