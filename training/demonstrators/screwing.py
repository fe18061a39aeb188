# SPDX-License-Identifier: Apache-2.0
"""The scripted operator of threaded pairs: start the thread, then screw in strokes from above.

A task lists its pairs as jobs, done one after the other. When the thread holds (thread_start) the
hand grips the part from above and turns it by half a turn a stroke, the wrist's free range. Angles
in rad, lengths in m, base frame; D is the task's observation.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array, matrix_to_rotvec, rotation_z, rotvec_to_matrix
from resip_ros.sim.parts import Thread
from training.demonstrators.thread_start import ThreadStarter

_LEAD_M = Thread().lead
_STROKE = np.pi
_PATIENCE = 90
_TIGHT_STEPS = 4
_ASIDE_M = 0.001
_FREE_PHASES = ("retreat", "reach", "surround", "clamp", "open", "unwind", "leave")


class ScrewOperator(ThreadStarter):
    """Closed-loop demonstrator of one episode; takes the task's state observation (D,)."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._face_yaw = np.pi / 2
        self._tight = 0
        self._phases |= {
            "retreat": self._retreat,
            "reach": self._reach,
            "surround": self._surround,
            "clamp": self._clamp,
            "turn": self._turn,
            "open": self._open,
            "unwind": self._unwind,
            "leave": self._leave,
        }

    @property
    def gave_up(self) -> bool:
        """Whether this operator stops: a released part fell over, or nothing moves."""
        fallen = self.phase in _FREE_PHASES and self.part_rot[2, 2] < 0.7
        return fallen or self._steps > _PATIENCE

    @property
    def _last(self) -> bool:
        """Whether no job comes after this one."""
        return self.job is self.jobs[-1]

    # ---- motions

    def _screw_rot(self, yaw: float) -> Array:
        down = np.diag([1.0, -1.0, -1.0])
        return rotation_z(np.array(yaw)) @ down

    def _lean(self) -> Array:
        """Rotation that tips an upright hand onto the axis of a leaning part."""
        axis = np.cross([0.0, 0.0, 1.0], self.part_rot[:, 2])
        sine = np.linalg.norm(axis)
        return rotvec_to_matrix(axis * (np.arcsin(min(sine, 1.0)) / max(sine, 1e-9)))

    def _start_yaw(self) -> float:
        """Hand yaw near +90 degrees with the fingers on a pair of faces.

        A face is kept while it is near, or the hand could hesitate between two for ever.
        """
        face = 2 * np.pi / self.job.sides
        part = np.arctan2(self.part_rot[1, 0], self.part_rot[0, 0])
        faces = part + face * np.arange(-2 * self.job.sides, 2 * self.job.sides + 1)
        near = faces[np.argmin(np.abs(faces - self._face_yaw))]
        if abs(near - np.pi / 2) > 0.75 * face:
            # open fingers rub and turn the part: do not follow its face into the wrist's stop
            near = faces[np.argmin(np.abs(faces - np.pi / 2))]
        self._face_yaw = float(near)
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

    # ---- phases: each returns position, rotation and the next phase

    def _retreat(self) -> tuple[Array, Array, str]:
        goal = self.part + np.array([0, 0, self.job.end]) - 0.075 * self.rot[:, 2]
        pos, rot, there = self._towards(goal, self.rot)
        return pos, rot, "reach" if there else "retreat"

    def _reach(self) -> tuple[Array, Array, str]:
        goal = self.part + (self.job.end + 0.045) * self.part_rot[:, 2]
        pos, rot, there = self._toward_yaw(goal, self._start_yaw(), 1.0)
        return pos, rot, "surround" if there else "reach"

    def _surround(self) -> tuple[Array, Array, str]:
        goal = self.part + self._hold_m * self.part_rot[:, 2]
        pos, rot, there = self._toward_yaw(goal, self._start_yaw(), 0.6)
        return pos, rot, "clamp" if there else "surround"

    def _clamp(self) -> tuple[Array, Array, str]:
        self._close = True
        if self._holds():
            return self.pos, self.rot, "turn"
        if self._steps > 12:
            self._close = False
            return self.pos, self.rot, "reach"
        return self.pos, self.rot, "clamp"

    def _turn(self) -> tuple[Array, Array, str]:
        yaw = self._hand_yaw() - self.habits.turn_rad
        goal = self.pos + np.array([0.0, 0.0, -self.habits.push_m])
        centre = self._centre() + (self.pos - self.part)[:2]
        aside = max(self.job.hold_back_m, _ASIDE_M)
        goal[:2] += np.clip(centre - goal[:2], -aside, aside)
        goal[2] -= _LEAD_M * self.habits.turn_rad / (2 * np.pi)
        end = self._hand_yaw() < np.pi / 2 - _STROKE + 0.03
        stalled = self._steps > int(1.6 * _STROKE / self.habits.turn_rad)
        # on for a while once it counts: what is screwed onto it later must find it tight
        self._tight = self._tight + 1 if self.assembled else 0
        done = end or stalled or self._lost() or (not self._last and self._tight >= _TIGHT_STEPS)
        bend = matrix_to_rotvec(self._screw_rot(self._hand_yaw()) @ self.rot.T)
        size = np.linalg.norm(bend)
        # straighten a leaning part little by little
        keep = rotvec_to_matrix(-bend * max(0.0, 1.0 - 0.03 / max(size, 1e-9)))
        return goal, keep @ self._screw_rot(yaw), "open" if done else "turn"

    def _open(self) -> tuple[Array, Array, str]:
        self._close = False
        self._face_yaw = np.pi / 2
        if self.width < self.job.open_width:
            return self.pos, self.rot, "open"
        seated = self._tight >= _TIGHT_STEPS and not self._last
        return self.pos, self.rot, "leave" if seated else "unwind"

    def _unwind(self) -> tuple[Array, Array, str]:
        # keep clear of the part's height while turning back
        goal = self.part + self._hold_m * self.part_rot[:, 2]
        pos, rot, there = self._toward_yaw(goal, self._start_yaw(), 1.2)
        return pos, rot, "clamp" if there else "unwind"

    def _leave(self) -> tuple[Array, Array, str]:
        """Rise from the seated part, turn the wrist back and take up the next."""
        goal = self.part + np.array([0.0, 0.0, self.job.end + 0.06])
        pos, rot, there = self._toward_yaw(goal, np.pi / 2, 1.0)
        if not there:
            return pos, rot, "leave"
        self._take_up(self.jobs[self.jobs.index(self.job) + 1])
        return pos, rot, "approach"
