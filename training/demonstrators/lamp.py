# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for lamp: the bulb into the base, then the hood over it onto the base.

The bulb is worked as a leg: picked from the side, stood up, turned until the thread holds, then
screwed in strokes from above. The hood is held by its collar, carried over the bulb and lowered
until it rests on the base. Angles in rad, lengths in m, base frame.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.core.tasks import LAMP
from resip_ros.sim.lamp import (
    BASE_HALF_HEIGHT_M,
    BULB_END_M,
    BULB_SHOULDER_M,
    BULB_SIDES,
    HOOD_COLLAR_M,
    HOOD_HALF_M,
    HOOD_SIDES,
)
from training.demonstrators.screwing import ScrewOperator
from training.demonstrators.thread_start import Job

_BULB_ABOVE_BASE_M = BULB_END_M - BULB_SHOULDER_M
_RESTING_M = 0.001

BULB = Job(
    pair=LAMP.pairs[0],
    mouth=(0.0, 0.0, BASE_HALF_HEIGHT_M),
    end=BULB_END_M,
    sides=BULB_SIDES,
    grasped_width=0.0455,
    lost_width=0.035,
    open_width=0.060,
    lift=0.03,
    hold_back_m=0.008,
)
HOOD = Job(
    pair=LAMP.pairs[1],
    # what it enters first is the bulb's end
    mouth=(0.0, 0.0, BASE_HALF_HEIGHT_M + _BULB_ABOVE_BASE_M),
    end=HOOD_HALF_M,
    sides=HOOD_SIDES,
    grasped_width=2 * HOOD_COLLAR_M + 0.003,
    lost_width=0.035,
    open_width=0.060,
    tilt=np.radians(90.0),
    face_towards=(0.0, 1.0, 0.0),
    lift=0.10,
    start_yaw=np.radians(90.0),
)


class Operator(ScrewOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (44,)."""

    task = LAMP
    jobs = (BULB, HOOD)

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._phases |= {"lower": self._lower, "withdraw": self._withdraw}

    # ---- poses

    @property
    def _hold_m(self) -> float:
        """Height of the TCP in the part's frame when it is held from above."""
        spare = self.habits.regrasp_m - 0.014
        # the palm is 37 mm over the TCP: it must stay clear of the bulb's end
        return (0.038 if self.job is HOOD else 0.029) + 0.5 * spare

    @property
    def _pick_m(self) -> float:
        """Height of the TCP in the part's frame when it is picked."""
        return self._hold_m if self.job is HOOD else self.habits.grasp_along_m + 0.008

    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        pos, rot = super()._grasp_pose(above)
        return (pos, rot) if self.job is HOOD else (pos + np.array([0.0, 0.0, 0.002]), rot)

    # ---- phases: each returns position, rotation and the next phase

    def _grasp(self) -> tuple[Array, Array, str]:
        pos, rot, following = super()._grasp()
        if self.job is HOOD and following == "lift":
            # any yaw will do: keep the one it is held at
            self._thread_yaw = self._held_yaw()
        return pos, rot, following

    def _align(self) -> tuple[Array, Array, str]:
        pos, rot, following = super()._align()
        return pos, rot, "lower" if self.job is HOOD and following == "insert" else following

    def _lower(self) -> tuple[Array, Array, str]:
        """Hood down over the bulb until it rests on the base."""
        seat = self.hole - np.array([0.0, 0.0, _BULB_ABOVE_BASE_M + self.habits.push_m])
        pos, rot, _ = self._towards(*self._carry_pose(seat), slow=0.5)
        resting = self.depth > _BULB_ABOVE_BASE_M - _RESTING_M
        return pos, rot, "release" if resting else "lower"

    def _release(self) -> tuple[Array, Array, str]:
        pos, rot, following = super()._release()
        return pos, rot, "withdraw" if self.job is HOOD and following == "unwind" else following

    def _withdraw(self) -> tuple[Array, Array, str]:
        goal = self.part + np.array([0.0, 0.0, self.job.end + 0.08])
        pos, rot, _ = self._towards(goal, self.rot)
        return pos, rot, "withdraw"
