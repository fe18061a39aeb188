# SPDX-License-Identifier: Apache-2.0
"""The scripted operator of threaded pairs: grasp, insert, start the thread, screw in strokes.

A task lists its pairs as jobs, done one after the other. A lying part is picked with a hand that
leans back and inserted with a hand that leans forward, so that half of the reorientation is on
either side of the vertical; a standing one is held along its axis. The hand that picked the part
turns it until the thread holds, lets go, grips it from above and turns it by half a turn a
stroke. The wrist's free range, not the thread, decides at which yaw a turn begins and ends.
Angles in rad, lengths in m, base frame; D is the task's observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resip_ros.core.geometry import Array, matrix_to_rotvec, rotation_z, rotvec_to_matrix
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import AssembledPair, TaskSpec, pair_assembled
from resip_ros.sim.parts import Thread
from training.demonstrators.motion import PickingOperator

_LEAD_M = Thread().lead
_STROKE = np.pi
_HALFWAY_YAW = np.radians(60.0)
_RELEASED_DEPTH_M = 0.006
_PATIENCE = 90
_TIGHT_STEPS = 4
_CAUGHT_DEPTH_M = 0.011
_DRAGGED_RAD = np.radians(15.0)
_EASED_DEPTH_M = 0.004
_ASIDE_M = 0.001
_FREE_PHASES = ("retreat", "reach", "surround", "clamp", "open", "unwind", "leave")


@dataclass(frozen=True)
class Job:
    """One pair and how it is handled."""

    pair: AssembledPair
    mouth: tuple[float, float, float]
    """Middle of the bore's mouth in the parent's frame, m."""
    end: float
    """Height of the child's free end in its frame."""
    sides: int
    """Faces of the child around its axis: the hand holds two that are opposite."""
    grasped_width: float
    """The fingers hold the child when they are closer than this."""
    lost_width: float
    """They have lost it when they are closer than this."""
    open_width: float
    """The hand is open when they are further apart than this."""
    tilt: float = np.radians(45.0)
    """Angle between the approach of the hand and the child's faces: pi/2 is along its axis."""
    face_towards: tuple[float, float, float] = (0.0, 0.0, -1.0)
    """Direction of the face (x of the hand, upright) that is chosen for the first grasp."""
    lift: float = 0.0
    """Added to the height of transport."""
    start_yaw: float = np.radians(145.0)
    """Yaw of the hand when the thread is started, from the parent's yaw or the base's."""
    engaged_yaw: float = np.radians(55.0)
    """The same when the thread holds."""
    with_parent: bool = False
    """Whether these yaws turn with the parent, whose four bores stand around its axis."""
    grasp_steps: int = 5
    """Shortest time to close the hand, steps."""
    hold_back_m: float = 0.0
    """How far the hand leads a light parent that slides away back to where it stood, at most."""

    @property
    def upright(self) -> bool:
        """Whether the child is picked standing, along its axis."""
        return self.tilt > np.radians(89.0)


class ScrewOperator(PickingOperator):
    """Closed-loop demonstrator of one episode; takes the task's state observation (D,)."""

    task: TaskSpec
    jobs: tuple[Job, ...]
    above_m = 0.07

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.job = self.jobs[0]
        self._face = 0
        self._thread_yaw: float | None = None
        self._face_yaw = np.pi / 2
        self._tight = 0
        self._stood = np.zeros(2)
        self._parent_yaw = self._untouched_yaw = 0.0
        self._phases |= {
            "lift": self._lift,
            "carry": self._carry,
            "align": self._align,
            "insert": self._insert,
            "start": self._start,
            "ease": self._ease,
            "level": self._level,
            "release": self._release,
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

    def _see(self, obs: Array) -> None:
        self._see_hand(obs)
        pair = self.job.pair
        self.part, self.part_rot = body_pose(self.task, obs, pair.child)
        parent, rot = body_pose(self.task, obs, pair.parent)
        self.hole = parent + rot @ np.array(self.job.mouth)
        self.tip = self.part + pair.tip[2] * self.part_rot[:, 2]
        self.depth = float(-(rot.T @ (self.tip - self.hole))[2])
        self.assembled = bool(pair_assembled(pair, parent, rot, self.part, self.part_rot))
        self._parent_yaw = float(np.arctan2(rot[1, 0], rot[0, 0]))
        self._yaw_frame = rot if self.job.with_parent else np.eye(3)

    @property
    def _last(self) -> bool:
        """Whether no job comes after this one."""
        return self.job is self.jobs[-1]

    # ---- poses

    @property
    def _hold_m(self) -> float:
        """Height of the TCP in the part's frame when it is held from above."""
        return self.habits.regrasp_m

    @property
    def _pick_m(self) -> float:
        """Height of the TCP in the part's frame when it is picked."""
        return self._hold_m if self.job.upright else self.habits.grasp_along_m

    def _faced(self, rot: Array) -> Array:
        """R (3, 3) of the chosen face, x out of it, on a part turned to ``rot`` (3, 3)."""
        return rot @ rotation_z(np.array(self._face * 2 * np.pi / self.job.sides))

    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        """Pick pose on the resting part, ``above`` m before contact along the approach."""
        if self.phase == "approach":
            self._face = max(range(self.job.sides), key=self._suitability)
        c, s = np.cos(self.job.tilt), np.sin(self.job.tilt)
        in_part = np.array([[s, 0.0, c], [0.0, -1.0, 0.0], [c, 0.0, -s]])
        rot = self._faced(self.part_rot) @ in_part
        pos = self.part + self._pick_m * self.part_rot[:, 2]
        if not self.job.upright:
            pos = pos + np.array([0.0, 0.0, 0.002])
        return pos - above * rot[:, 2], rot

    def _suitability(self, face: int) -> float:
        turn = rotation_z(np.array(face * 2 * np.pi / self.job.sides))
        return float((self.part_rot @ turn)[:, 0] @ np.asarray(self.job.face_towards))

    def _carry_pose(self, tip: Array) -> tuple[Array, Array]:
        """Hand pose that puts the held part upright with its tip at ``tip``."""
        frame = self._yaw_frame
        yaw = np.arctan2(frame[1, 0], frame[0, 0]) - self._face * 2 * np.pi / self.job.sides
        if self._thread_yaw is not None:
            yaw += self._thread_yaw
        else:
            # by way of a half turn's middle, or the wrist might turn into its stop
            yaw += self.job.start_yaw if self.part_rot[2, 2] > 0.8 else _HALFWAY_YAW
        upright = rotation_z(np.array(yaw))
        in_part = self.part_rot.T @ (self.pos - self.part)
        hand_in_part = self.part_rot.T @ self.rot
        part = tip - self.job.pair.tip[2] * upright[:, 2]
        return part + upright @ in_part, upright @ hand_in_part

    def _held_yaw(self) -> float:
        """Yaw of the part's chosen face, in (-pi, pi]."""
        rot = self._faced(self._yaw_frame.T @ self.part_rot)
        return float(np.arctan2(rot[1, 0], rot[0, 0]))

    def _centre(self) -> Array:
        """Where the bore's middle is to be, (2,): there, or back to where it was."""
        back = self._stood - self.hole[:2]
        return self.hole[:2] + np.clip(back, -self.job.hold_back_m, self.job.hold_back_m)

    def _holds(self) -> bool:
        steps = self.job.grasp_steps - (self.phase == "clamp")
        return bool(self.width < self.job.grasped_width) and self._steps >= steps

    # ---- phases up to a thread that holds: each returns position, rotation and the next phase

    def _lift(self) -> tuple[Array, Array, str]:
        height = self.habits.lift_m + self.job.lift
        goal = np.array([self.pos[0] + 0.02, self.pos[1] - 0.02, height])
        pos, rot, _ = self._towards(goal, self.rot)
        return pos, rot, "carry" if self.pos[2] > height - 0.03 else "lift"

    def _carry(self) -> tuple[Array, Array, str]:
        goal, goal_rot = self._carry_pose(self.hole + np.array([0, 0, self.habits.hover_m + 0.03]))
        # stay up until the part is upright and over the hole: its tip hangs below the hand
        away = np.linalg.norm((self.tip - self.hole)[:2]) > 0.03 or self.part_rot[2, 2] < 0.9
        if away:
            goal[2] = max(goal[2], self.habits.lift_m + self.job.lift)
        pos, rot, there = self._towards(goal, goal_rot)
        return pos, rot, "align" if there and not away else "carry"

    def _align(self) -> tuple[Array, Array, str]:
        goal, goal_rot = self._carry_pose(self.hole + np.array([0, 0, self.habits.hover_m]))
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.4)
        off = np.linalg.norm((self.tip - self.hole)[:2])
        tilt = np.arccos(np.clip(self.part_rot[2, 2], -1, 1))
        good = off < 0.0012 and tilt < 0.03 and abs(self.pos[2] - goal[2]) < 0.004
        self._stood = self.hole[:2].copy()
        return pos, rot, "insert" if good else "align"

    def _insert(self) -> tuple[Array, Array, str]:
        tip = np.array([*self.hole[:2], self.tip[2] - self.habits.push_m])
        pos, rot, _ = self._towards(*self._carry_pose(tip), slow=0.5)
        if self.depth > _RELEASED_DEPTH_M and self._steps > 8:
            self._untouched_yaw = self._parent_yaw
            return pos, rot, "start"
        return pos, rot, "align" if self._steps > 45 else "insert"

    def _start(self) -> tuple[Array, Array, str]:
        """Turn the part with the hand that picked it until the thread holds it upright."""
        self._thread_yaw = self._held_yaw() - 0.7 * self.habits.turn_rad
        tip = np.array([*self._centre(), self.tip[2] - self.habits.push_m])
        pos, rot, _ = self._towards(*self._carry_pose(tip))
        if self.depth < _CAUGHT_DEPTH_M and self._drags():
            return pos, rot, "ease"
        turned = self._held_yaw() < self.job.engaged_yaw or self._steps > 60
        return pos, rot, "level" if turned else "start"

    def _drags(self) -> bool:
        """Whether the parent turns with the part: the ends of the threads have met."""
        turned = self._parent_yaw - self._untouched_yaw
        return abs((turned + np.pi) % (2 * np.pi) - np.pi) > _DRAGGED_RAD

    def _ease(self) -> tuple[Array, Array, str]:
        """Lift the stud off the jammed thread and turn it back for another try."""
        self._thread_yaw = None
        goal, goal_rot = self._carry_pose(self.hole - np.array([0.0, 0.0, 0.5 * _EASED_DEPTH_M]))
        pos, rot, there = self._towards(goal, goal_rot, slow=0.5)
        return pos, rot, "insert" if there and self.depth < _EASED_DEPTH_M else "ease"

    def _level(self) -> tuple[Array, Array, str]:
        """Stop pushing and put the part upright before letting go."""
        goal, goal_rot = self._carry_pose(np.array([*self.hole[:2], self.tip[2] - 0.001]))
        pos, rot, _ = self._towards(goal, goal_rot, slow=0.3)
        return pos, rot, "release" if self._steps >= 5 else "level"

    def _release(self) -> tuple[Array, Array, str]:
        self._close = False
        # a hand along the part's axis is in place for the first stroke already
        following = "unwind" if self.job.upright else "retreat"
        return self.pos, self.rot, following if self.width > self.job.open_width else "release"

    def _retreat(self) -> tuple[Array, Array, str]:
        goal = self.part + np.array([0, 0, self.job.end]) - 0.075 * self.rot[:, 2]
        pos, rot, there = self._towards(goal, self.rot)
        return pos, rot, "reach" if there else "retreat"

    # ---- strokes from above

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
        lost = self.width < self.job.lost_width
        # on for a while once it counts: what is screwed onto it later must find it tight
        self._tight = self._tight + 1 if self.assembled else 0
        done = end or stalled or lost or (not self._last and self._tight >= _TIGHT_STEPS)
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
        return self.pos, self.rot, "leave" if self.assembled and not self._last else "unwind"

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
        self.job, self._thread_yaw = self.jobs[self.jobs.index(self.job) + 1], None
        return pos, rot, "approach"
