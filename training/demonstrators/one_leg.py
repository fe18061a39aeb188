# SPDX-License-Identifier: Apache-2.0
"""A scripted operator for one_leg: the lying leg into the top's hole at (-x, +y).

It sees what an operator would (part poses, hand pose, gripper width) and acts at 10 Hz with
human imperfections: own pace, waypoints that differ each time, unsteady hand, hesitation.
"""

from __future__ import annotations

from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim.one_leg import HOLE_M, LEG_END_M, TOP_HALF_THICK_M
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


class Operator(ScrewOperator):
    """Closed-loop demonstrator of one episode; takes the state observation (58,)."""

    task = ONE_LEG
    jobs = (LEG,)
