# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for one_leg: the lying leg into the top's hole at (-x, +y).

It sees what an operator would (part poses, hand pose, gripper width) and acts at 10 Hz with
human imperfections: own pace, waypoints that differ each time, unsteady hand, hesitation. When
another leg lies where the fingers must go and they get no further, it pushes that leg out of the
way along its axis, by its body's end. Lengths in m, base frame.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim.one_leg import HOLE_M, LEG_END_M, LEGS, TOP_HALF_THICK_M
from training.demonstrators.screwing import ScrewOperator
from training.demonstrators.thread_start import Job

LEG = Job(
    pair=ONE_LEG.pairs[0],
    mouth=(-HOLE_M, HOLE_M, TOP_HALF_THICK_M),
    end=LEG_END_M,
    sides=4,
    grasped_width=0.0335,
    lost_width=0.020,
    open_width=0.055,
    with_parent=True,
    grasp_steps=6,
)
_OTHERS = tuple(name for name in LEGS if name != LEG.pair.child)
_BLOCKED_STEPS = 28
_ABOVE_BENCH_M = 0.014
_OVER_LEGS_M = 0.09
_BEHIND_M = LEG_END_M + 0.025
_SHOVE_M = 0.075
_SHOVES = 2


class Operator(ScrewOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (58,)."""

    task = ONE_LEG
    jobs = (LEG,)

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._shoves = 0
        self._neighbour = 0
        self._goal = np.zeros(3), np.eye(3)
        self._phases |= {"behind": self._behind, "shove": self._shove, "rise": self._rise}

    def _see(self, obs: Array) -> None:
        super()._see(obs)
        self._others = [body_pose(ONE_LEG, obs, name) for name in _OTHERS]

    def _in_the_way(self) -> int:
        """Number of the leg that lies nearest to where the fingers must go."""
        pos, rot = self._grasp_pose(0.0)
        along = np.linspace(-LEG_END_M, LEG_END_M, 7)[:, None]
        gaps = [
            np.linalg.norm((leg + along * leg_rot[:, 2] - pos) @ rot[:, :2], axis=1).min()
            for leg, leg_rot in self._others
        ]
        return int(np.argmin(gaps))

    def _descend(self) -> tuple[Array, Array, str]:
        if self._steps < _BLOCKED_STEPS or self._shoves == _SHOVES:
            return super()._descend()
        self._shoves, self._neighbour = self._shoves + 1, self._in_the_way()
        self._close = True
        return self.pos, self.rot, "rise"

    def _behind(self) -> tuple[Array, Array, str]:
        """Closed fingers down to the bench behind the other leg's end."""
        leg, leg_rot = self._others[self._neighbour]
        axis = leg_rot[:, 2] * [1.0, 1.0, 0.0]
        rot = self._screw_rot(float(np.arctan2(axis[1], axis[0])))
        goal = np.append((leg + _BEHIND_M * axis)[:2], _ABOVE_BENCH_M)
        self._goal = goal - _SHOVE_M * axis, rot
        if np.linalg.norm((goal - self.pos)[:2]) > 0.02:
            goal[2] = _OVER_LEGS_M
        pos, rot, there = self._towards(goal, rot)
        if self._steps > 2 * _BLOCKED_STEPS:
            # no room there: back to the grasp
            self._close = False
            return pos, rot, "rise"
        return pos, rot, "shove" if there and self.pos[2] < 0.03 else "behind"

    def _shove(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._goal, slow=0.6)
        if not there and self._steps < _BLOCKED_STEPS:
            return pos, rot, "shove"
        self._close = False
        return pos, rot, "rise"

    def _rise(self) -> tuple[Array, Array, str]:
        """Up over the legs; then behind the other leg with closed fingers, or back to this one."""
        pos, rot, _ = self._towards(np.append(self.pos[:2], _OVER_LEGS_M + 0.02), self.rot)
        if self.pos[2] < _OVER_LEGS_M:
            return pos, rot, "rise"
        return pos, rot, "behind" if self._close else "approach"
