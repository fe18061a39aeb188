# SPDX-License-Identifier: Apache-2.0
"""A scripted operator's way from a threaded part on the bench to a thread that holds it.

A lying part is picked with a hand that leans back and inserted with a hand that leans forward, so
that half of the reorientation is on either side of the vertical; a standing one is held along its
axis. The hand that picked the part turns it until the thread holds, and lets go. Where the ends of
the threads meet and the parent turns along, it lifts the part, turns it back and tries again. The
wrist's free range, not the thread, decides at which yaw a turn begins and ends. Angles in rad,
lengths in m, base frame; D is the task's observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resip_ros.core.geometry import Array, rotation_z
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import AssembledPair, TaskSpec, pair_assembled
from training.demonstrators.motion import PickingOperator

_HALFWAY_YAW = np.radians(60.0)
_RELEASED_DEPTH_M = 0.006
_CAUGHT_DEPTH_M = 0.011
_DRAGGED_RAD = np.radians(15.0)
_EASED_DEPTH_M = 0.004


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


class ThreadStarter(PickingOperator):
    """The first half of a ScrewOperator; "retreat" and "unwind" follow, of the subclass."""

    task: TaskSpec
    jobs: tuple[Job, ...]
    above_m = 0.07

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._face = 0
        self._take_up(self.jobs[0])
        self._stood = np.full(2, np.nan)
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
        }

    def _take_up(self, job: Job) -> None:
        self.job = job
        self._thread_yaw: float | None = None
        self._patience_rad = _DRAGGED_RAD

    def _see(self, obs: Array) -> None:
        self._see_hand(obs)
        pair = self.job.pair
        self.part, self.part_rot = body_pose(self.task, obs, pair.child)
        parent, rot = body_pose(self.task, obs, pair.parent)
        self.hole = parent + rot @ np.array(self.job.mouth)
        if np.isnan(self._stood).any():
            self._stood = self.hole[:2].copy()
        self.tip = self.part + pair.tip[2] * self.part_rot[:, 2]
        self.depth = float(-(rot.T @ (self.tip - self.hole))[2])
        self.assembled = bool(pair_assembled(pair, parent, rot, self.part, self.part_rot))
        self._parent_yaw = float(np.arctan2(rot[1, 0], rot[0, 0]))
        self._yaw_frame = rot if self.job.with_parent else np.eye(3)

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

    # ---- phases: each returns position, rotation and the next phase

    def _grasp(self) -> tuple[Array, Array, str]:
        return self._again() if self._lost() else super()._grasp()

    def _lost(self) -> bool:
        """Whether the part has slipped from the closed hand."""
        return bool(self.width < self.job.lost_width)

    def _again(self) -> tuple[Array, Array, str]:
        self._close, self._thread_yaw = False, None
        return self.pos, self.rot, "approach"

    def _lift(self) -> tuple[Array, Array, str]:
        if self._lost():
            return self._again()
        height = self.habits.lift_m + self.job.lift
        goal = np.array([self.pos[0] + 0.02, self.pos[1] - 0.02, height])
        pos, rot, _ = self._towards(goal, self.rot)
        return pos, rot, "carry" if self.pos[2] > height - 0.03 else "lift"

    def _carry(self) -> tuple[Array, Array, str]:
        if self._lost():
            return self._again()
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
            # next time it goes on for longer: a light parent turns a little in any case
            self._patience_rad *= 2
            return pos, rot, "ease"
        turned = self._held_yaw() < self.job.engaged_yaw or self._steps > 60
        return pos, rot, "level" if turned else "start"

    def _drags(self) -> bool:
        """Whether the parent turns with the part: the ends of the threads have met."""
        turned = self._parent_yaw - self._untouched_yaw
        return abs((turned + np.pi) % (2 * np.pi) - np.pi) > self._patience_rad

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
