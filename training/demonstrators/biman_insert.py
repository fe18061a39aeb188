# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for biman_insert: both hands pick up, meet in the air, one inserts.

It sees what an operator would (part poses, hand poses, gripper widths) and acts at 50 Hz with
human imperfections: own pace, unsteady hands, hesitation, a meeting place that differs each time,
an eye that is a little off until the plate stands on the rim. The left hand holds the receptacle
by its handle; the right one feels for the slot, presses the plate in up to its shoulder, and
lifts it for another try when that takes too long. The hands lean apart, or the wrists would
meet. Angles in rad, lengths in m, task frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from resip_ros.core.action import encode_action
from resip_ros.core.geometry import Array, matrix_to_rotvec, rotation_z, rotvec_to_matrix
from resip_ros.core.observation import PROPRIO_DIM, body_pose, hand_pose
from resip_ros.core.tasks import BIMAN_INSERT
from resip_ros.sim.biman_insert import (
    FRAME_HALF_M,
    HANDLE_HALF_M,
    HEAD_HALF_M,
    PLATE_HALF_HEIGHT_M,
)
from training.demonstrators.motion import Habits

_STEPS_PER_HABIT = round(0.1 * BIMAN_INSERT.rate_hz)
"""Habits are per 0.1 s."""
_MEETING = np.array([0.645, 0.0, 0.15])
_GRIP_AHEAD_M = -0.095
"""Along the receptacle from the slot's centre to where the handle is held."""
_GRIP_HEIGHT_M = 0.003
"""Above the middle of the handle: the tips of a leaning hand stay off the bench."""
_HELD_SLACK_M = 0.002
_CLOSING_STEPS = 30
_TOUCHING_M = 0.001
_IN_SLOT_M = 0.003
_NUDGE_GAIN = 0.05
_NUDGE_MAX_M = 0.003
_NUDGE_MAX_RAD = 0.08
_LEAD_M, _LEAD_RAD = 0.02, 0.2
"""How far the aim may be ahead of the hand."""
_TRY_STEPS = 120
_PATIENCE = 200
_EASE, _FEELING_EASE = 0.06, 0.3
"""Share of the way that is left, taken in each step near a goal: free, and where it touches."""
_SWING, _FEELING_SWING = 0.85, 0.5
"""Share of the last step's move that goes on: no hand stops at once."""


class _Hand:
    """One hand: where it is, where it aims, how unsteady it is."""

    def __init__(self, habits: Habits, lean: float, rng: np.random.Generator) -> None:
        self.habits, self._rng = habits, rng
        self.close = False
        self._tremor = np.zeros(6)
        self._aim: tuple[Array, Array] | None = None
        self._move, self._turn = np.zeros(3), np.zeros(3)
        cos, sin = np.cos(lean), np.sin(lean)
        self.down = np.array([[cos, 0.0, sin], [0.0, -1.0, 0.0], [sin, 0.0, -cos]])
        """R of a hand that points down and leans back to its base, were that at the left."""

    def see(self, obs: Array, arm: int) -> None:
        """Take in this hand's part of an observation (D,)."""
        self.pos, self.rot = hand_pose(obs, arm)
        self.width = float(obs[PROPRIO_DIM * (arm + 1) - 1])
        if self._aim is None:
            self._aim = self.start = self.pos, self.rot

    def approach(self, pos: Array, rot: Array, slow: float = 1.0, feeling: bool = False) -> bool:
        """Move the aim a step towards a pose.

        Args:
            pos: (3,).
            rot: (3, 3).
            slow: Share of the habitual pace.
            feeling: Whether what the hand holds touches: then it answers at once.

        Returns:
            Whether the hand is nearly there.
        """
        assert self._aim is not None, "see first"
        at = self.pos + _shortened(self._aim[0] - self.pos, _LEAD_M)
        turned = matrix_to_rotvec(self._aim[1] @ self.rot.T)
        at_rot = rotvec_to_matrix(_shortened(turned, _LEAD_RAD)) @ self.rot
        ease, swing = (_FEELING_EASE, _FEELING_SWING) if feeling else (_EASE, _SWING)
        move = _shortened(ease * (pos - at), self.habits.step_m * slow)
        turn = _shortened(ease * matrix_to_rotvec(rot @ at_rot.T), self.habits.step_rad * slow)
        self._move = swing * self._move + (1 - swing) * move
        self._turn = swing * self._turn + (1 - swing) * turn
        self._aim = at + self._move, rotvec_to_matrix(self._turn) @ at_rot
        return self.away(pos) < 0.004 and self.askew(rot) < 0.05

    def away(self, pos: Array) -> float:
        """Distance of the hand from a position, m."""
        return float(np.linalg.norm(pos - self.pos))

    def askew(self, rot: Array) -> float:
        """Angle of the hand from a rotation, rad."""
        return float(np.linalg.norm(matrix_to_rotvec(rot @ self.rot.T)))

    def action(self) -> Array:
        """Action (10,) for the present aim."""
        assert self._aim is not None, "see first"
        habits, memory = self.habits, self.habits.tremor_memory
        scale = np.repeat([habits.tremor_m, habits.tremor_rad], 3)
        fresh = self._rng.normal(size=6) * scale * np.sqrt(1 - memory**2)
        self._tremor = memory * self._tremor + fresh
        pos, rot = self._aim
        rot = rotvec_to_matrix(self._tremor[3:]) @ rot
        return encode_action(pos + self._tremor[:3], rot, np.array(1.0 if self.close else -1.0))


class Operator:
    """Closed-loop demonstrator of one episode; takes the state observation (46,)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.habits = _for_two_hands(Habits.sample(rng), rng)
        self.left = _Hand(self.habits, rng.uniform(0.06, 0.12), rng)
        self.right = _Hand(self.habits, rng.uniform(0.06, 0.12), rng)
        self.phase = "approach"
        self._steps = self._pause = 0
        shift = rng.uniform([-0.02, -0.03, -0.01], [0.02, 0.03, 0.02])
        self._meeting = _MEETING + shift, rotation_z(np.array(rng.uniform(-0.15, 0.15)))
        self._grip_ahead = _GRIP_AHEAD_M + rng.uniform(-0.005, 0.005)
        self._misjudged_m = rng.uniform(0.0002, 0.0005)
        self._misjudged_rad = rng.uniform(0.005, 0.02)
        self._misjudge()
        self._phases: dict[str, Callable[[], str]] = {
            "approach": self._approach,
            "descend": self._descend,
            "grasp": self._grasp,
            "lift": self._lift,
            "gather": self._gather,
            "align": self._align,
            "insert": self._insert,
            "push": self._push,
            "raise": self._raise,
        }

    @property
    def gave_up(self) -> bool:
        """Whether this operator stops: the plate fell over, or nothing moves."""
        return self.plate_rot[2, 2] < 0.7 or self._steps > _PATIENCE

    def act(self, obs: Array) -> Array:
        """Action (20,) for the state observation (46,), both SI."""
        self._see(obs)
        self._steps += 1
        if self._pause > 0:
            self._pause -= 1
        else:
            following = self._phases[self.phase]()
            if following != self.phase:
                self.phase, self._steps = following, 0
                for hand in (self.left, self.right):
                    hand.start = hand.pos, hand.rot
                if self._rng.random() < self.habits.pause_chance:
                    self._pause = _STEPS_PER_HABIT * int(self._rng.integers(1, 4))
        return np.concatenate([self.left.action(), self.right.action()])

    def _see(self, obs: Array) -> None:
        self.left.see(obs, 0)
        self.right.see(obs, 1)
        self.plate, self.plate_rot = body_pose(BIMAN_INSERT, obs, "plate")
        self.box, self.box_rot = body_pose(BIMAN_INSERT, obs, "receptacle")
        self.mouth = self.box + FRAME_HALF_M[2] * self.box_rot[:, 2]
        self.tip = self.plate - PLATE_HALF_HEIGHT_M * self.plate_rot[:, 2]
        self.tip_in_slot = self.box_rot.T @ (self.tip - self.mouth)
        self.depth = float(-self.tip_in_slot[2])

    def _misjudge(self) -> None:
        """Believe the slot a little beside where it is; felt corrections start anew."""
        self._aside = self._rng.normal(size=2) * self._misjudged_m
        self._turned = self._rng.normal(size=3) * self._misjudged_rad

    # ---- where the hands should be

    def _grasps(self, above: float) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Poses of the left and right hand on handle and head, ``above`` m before contact."""
        on_handle = np.array([self._grip_ahead, 0.0, _GRIP_HEIGHT_M])
        on_head = np.array([0.0, 0.0, PLATE_HALF_HEIGHT_M - HEAD_HALF_M[2]])
        left_rot = self.box_rot @ self.left.down
        right_rot = self.plate_rot @ rotation_z(np.array(np.pi)) @ self.right.down
        left = self.box + self.box_rot @ on_handle - above * left_rot[:, 2]
        right = self.plate + self.plate_rot @ on_head - above * right_rot[:, 2]
        return (left, left_rot), (right, right_rot)

    def _box_hold(self) -> tuple[Array, Array]:
        """Left hand's pose with the held receptacle at the meeting place."""
        return _carried(self.left, self.box, self.box_rot, *self._meeting)

    def _over_slot(self, gap: float) -> tuple[Array, Array]:
        """Right hand's pose with the tip ``gap`` m over where the slot is believed."""
        rot = self.box_rot @ rotvec_to_matrix(self._turned)
        tip = self.mouth + self.box_rot @ np.array([*self._aside, gap])
        plate = tip + PLATE_HALF_HEIGHT_M * rot[:, 2]
        return _carried(self.right, self.plate, self.plate_rot, plate, rot)

    # ---- phases: each moves the hands and returns the next phase

    def _both(
        self, left: tuple[Array, Array], right: tuple[Array, Array], slow: float = 1.0
    ) -> bool:
        there = [self.left.approach(*left, slow), self.right.approach(*right, slow)]
        return all(there)

    def _approach(self) -> str:
        return "descend" if self._both(*self._grasps(above=0.05)) else "approach"

    def _descend(self) -> str:
        return "grasp" if self._both(*self._grasps(above=0.0), slow=0.6) else "descend"

    def _grasp(self) -> str:
        self.left.close = self.right.close = True
        held = self.left.width < 2 * HANDLE_HALF_M[1] + _HELD_SLACK_M
        held &= self.right.width < 2 * HEAD_HALF_M[1] + _HELD_SLACK_M
        return "lift" if held and self._steps >= _CLOSING_STEPS else "grasp"

    def _lift(self) -> str:
        height = self.habits.lift_m
        for hand in (self.left, self.right):
            hand.approach(np.array([*hand.start[0][:2], height]), hand.start[1])
        return "gather" if min(self.box[2], self.plate[2]) > 0.6 * height else "lift"

    def _gather(self) -> str:
        meeting, rot = self._meeting
        # towards where the receptacle will be, not where it is
        tip = meeting + np.array([0.0, 0.0, FRAME_HALF_M[2] + 0.03])
        plate = tip + np.array([0.0, 0.0, PLATE_HALF_HEIGHT_M])
        right = _carried(self.right, self.plate, self.plate_rot, plate, rot)
        return "align" if self._both(self._box_hold(), right) else "gather"

    def _align(self) -> str:
        self.left.approach(*self._box_hold(), slow=0.2)
        goal = self._over_slot(self.habits.hover_m)
        self.right.approach(*goal, slow=0.4)
        good = self.right.away(goal[0]) < 0.0015 and self.right.askew(goal[1]) < 0.03
        return "insert" if good else "align"

    def _insert(self) -> str:
        """Lower the plate onto the rim and nudge it, pressing gently, until it falls in."""
        self.left.approach(*self._box_hold(), slow=0.2)
        if self.depth < -_TOUCHING_M:
            goal = self._over_slot(-self.depth - 6 * self.habits.push_m)
            self.right.approach(*goal, slow=0.25)
        else:
            self._nudge()
            goal = self._over_slot(-self.depth - self.habits.push_m)
            self.right.approach(*goal, slow=0.25, feeling=True)
        if self.depth > _IN_SLOT_M:
            return "push"
        stuck = self._steps > _TRY_STEPS and self.depth < _TOUCHING_M
        return "raise" if stuck else "insert"

    def _nudge(self) -> None:
        """Correct where the slot is believed by what is seen of the tip on the rim."""
        aside = self._aside - _NUDGE_GAIN * self.tip_in_slot[:2]
        self._aside = np.clip(aside, -_NUDGE_MAX_M, _NUDGE_MAX_M)
        askew = matrix_to_rotvec(self.box_rot.T @ self.plate_rot)
        turned = self._turned - _NUDGE_GAIN * askew
        self._turned = np.clip(turned, -_NUDGE_MAX_RAD, _NUDGE_MAX_RAD)

    def _push(self) -> str:
        """Down to the shoulder: the walls guide the plate, the hand follows."""
        self._aside, self._turned = np.zeros(2), np.zeros(3)
        self.left.approach(*self._box_hold(), slow=0.2)
        goal = self._over_slot(-self.depth - 4 * self.habits.push_m)
        self.right.approach(*goal, slow=0.4, feeling=True)
        return "raise" if self._steps > _TRY_STEPS else "push"

    def _raise(self) -> str:
        """Lift the plate off the rim and look again."""
        goal = self._over_slot(self.habits.hover_m)
        self.left.approach(*self._box_hold(), slow=0.2)
        self.right.approach(*goal, slow=0.5)
        clear = self.depth < -0.5 * self.habits.hover_m
        if clear:
            self._misjudge()
        return "align" if clear else "raise"


def _carried(
    hand: _Hand, part: Array, part_rot: Array, goal: Array, goal_rot: Array
) -> tuple[Array, Array]:
    """Pose of a hand with the part that it holds at a goal."""
    change = goal_rot @ part_rot.T
    return goal + change @ (hand.pos - part), change @ hand.rot


def _shortened(vector: Array, longest: float) -> Array:
    """The vector (3,), at most so long."""
    return vector * min(1.0, longest / max(float(np.linalg.norm(vector)), 1e-12))


def _for_two_hands(habits: Habits, rng: np.random.Generator) -> Habits:
    """A person's habits at 50 Hz, for a tight fit: steadier and gentler; brisk otherwise."""
    return replace(
        habits,
        step_m=1.4 * habits.step_m / _STEPS_PER_HABIT,
        step_rad=0.35 * habits.step_rad / _STEPS_PER_HABIT,
        tremor_m=habits.tremor_m / 5,
        tremor_rad=habits.tremor_rad / 2,
        tremor_memory=habits.tremor_memory ** (1 / _STEPS_PER_HABIT),
        push_m=0.6 * habits.push_m,
        hover_m=0.45 * habits.hover_m,
        lift_m=rng.uniform(0.10, 0.13),
    )
