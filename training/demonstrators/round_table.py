# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for round_table: the leg into the top, then the foot into the leg.

The foot is held along its axis by its stem, from the first grasp to the last stroke. Lengths in
m, angles in rad, base frame.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.tasks import ROUND_TABLE
from resip_ros.sim.round_table import FOOT_END_M, LEG_END_M, SIDES, TOP_HALF_THICK_M
from training.demonstrators.screwing import ScrewOperator
from training.demonstrators.thread_start import Job

LEG = Job(
    pair=ROUND_TABLE.pairs[0],
    mouth=(0.0, 0.0, TOP_HALF_THICK_M),
    end=LEG_END_M,
    sides=SIDES,
    grasped_width=0.0455,
    lost_width=0.035,
    open_width=0.060,
    hold_back_m=0.008,
)
FOOT = Job(
    pair=ROUND_TABLE.pairs[1],
    mouth=(0.0, 0.0, LEG_END_M),
    end=FOOT_END_M,
    sides=SIDES,
    grasped_width=0.0455,
    lost_width=0.035,
    open_width=0.060,
    tilt=np.radians(90.0),
    face_towards=(0.0, 1.0, 0.0),
    lift=0.03,
    start_yaw=np.radians(100.0),
    engaged_yaw=np.radians(-85.0),
    hold_back_m=0.008,
)


class Operator(ScrewOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (44,)."""

    task = ROUND_TABLE
    jobs = (LEG, FOOT)

    @property
    def _hold_m(self) -> float:
        if self.job is LEG:
            return self.habits.regrasp_m
        # the stem is 11 mm high
        return 0.014 + 0.5 * (self.habits.regrasp_m - 0.014)
