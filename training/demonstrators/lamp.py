# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for lamp: the bulb into the base, then the hood over it onto the base.

The bulb is worked as round_table's leg: picked from the side, stood up, turned until the thread
holds, then screwed in strokes from above. The hood is held by its collar, carried over the bulb
and lowered until it rests on the base. Angles in rad, lengths in m, base frame.
"""

from __future__ import annotations

from dataclasses import replace

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
from training.demonstrators.round_table import LEG, Job
from training.demonstrators.round_table import Operator as ScrewOperator

_OPEN_WIDTH = 0.060
_TIGHT_STEPS = 4
_HOOD_WIDTH = 2 * HOOD_COLLAR_M + 0.003
_BULB_ABOVE_BASE_M = BULB_END_M - BULB_SHOULDER_M
_RESTING_M = 0.001
_HOLD_BACK_M = 0.008

BULB = replace(LEG, pair=LAMP.pairs[0], mouth=BASE_HALF_HEIGHT_M, end=BULB_END_M, lift=0.03)
HOOD = Job(
    pair=LAMP.pairs[1],
    # what it enters first is the bulb's end
    mouth=BASE_HALF_HEIGHT_M + _BULB_ABOVE_BASE_M,
    end=HOOD_HALF_M,
    tilt=np.radians(90.0),
    face_towards=(0.0, 1.0, 0.0),
    lift=0.10,
    start_yaw=np.radians(90.0),
    engaged_yaw=np.radians(90.0),
)


class Operator(ScrewOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (44,)."""

    task = LAMP
    second_job = HOOD

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self.job = BULB
        self._anchor = np.zeros(2)
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

    def _suitability(self, face: int) -> float:
        if self.job is HOOD and face % (BULB_SIDES // HOOD_SIDES):
            return -np.inf
        return super()._suitability(face)

    # ---- phases: each returns position, rotation and the next phase

    def _grasp(self) -> tuple[Array, Array, str]:
        pos, rot, following = super()._grasp()
        if self.job is HOOD and self.width < _HOOD_WIDTH and self._steps >= 5:
            # any yaw will do: keep the one it is held at
            self._thread_yaw = self._held_yaw()
            following = "lift"
        return pos, rot, following

    def _align(self) -> tuple[Array, Array, str]:
        pos, rot, following = super()._align()
        return pos, rot, "lower" if self.job is HOOD and following == "insert" else following

    def _reach(self) -> tuple[Array, Array, str]:
        self._anchor = self.hole[:2].copy()
        return super()._reach()

    def _turn(self) -> tuple[Array, Array, str]:
        """As for a table, but keeping the light base where it stood."""
        pos, rot, following = super()._turn()
        centre = self._anchor + (self.pos - self.part)[:2]
        pos[:2] = self.pos[:2] + np.clip(centre - self.pos[:2], -_HOLD_BACK_M, _HOLD_BACK_M)
        return pos, rot, "open" if self._tight >= _TIGHT_STEPS else following

    def _open(self) -> tuple[Array, Array, str]:
        pos, rot, following = super()._open()
        return pos, rot, "leave" if following == "unwind" and self.assembled else following

    def _lower(self) -> tuple[Array, Array, str]:
        """Hood down over the bulb until it rests on the base."""
        seat = self.hole - np.array([0.0, 0.0, _BULB_ABOVE_BASE_M + self.habits.push_m])
        pos, rot, _ = self._towards(*self._carry_pose(seat), slow=0.5)
        resting = self.depth > _BULB_ABOVE_BASE_M - _RESTING_M
        return pos, rot, "release" if resting else "lower"

    def _release(self) -> tuple[Array, Array, str]:
        pos, rot, following = super()._release()
        if self.job is HOOD and self.width > _OPEN_WIDTH:
            following = "withdraw"
        return pos, rot, following

    def _withdraw(self) -> tuple[Array, Array, str]:
        goal = self.part + np.array([0.0, 0.0, self.job.end + 0.08])
        pos, rot, _ = self._towards(goal, self.rot)
        return pos, rot, "withdraw"
