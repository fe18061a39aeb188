# SPDX-License-Identifier: Apache-2.0
"""How large the parts of a task are: the box around each, for drawing it where it should lie."""

from __future__ import annotations

import mujoco
import numpy as np

from resip_ros.core.config import ControlConfig
from resip_ros.core.geometry import Array
from resip_ros.core.projection import box_corners
from resip_ros.core.tasks import TaskSpec
from resip_ros.sim.scene import build_scene

_HIDDEN_GROUP = 3
"""Geoms from this group on are not drawn: guards and mass."""


def part_boxes(task: TaskSpec, config: ControlConfig) -> dict[str, tuple[Array, Array]]:
    """Part and fixture to centre (3,) and half sizes (3,) of its box, m, in the part's frame."""
    model = build_scene(task.name, config).compile()
    found: dict[str, tuple[Array, Array]] = {}
    for name in task.observed:
        body = model.body(name)
        geoms = np.arange(body.geomadr[0], body.geomadr[0] + body.geomnum[0])
        geoms = geoms[model.geom_group[geoms] < _HIDDEN_GROUP]
        corners = np.concatenate([_corners(model, geom) for geom in geoms])
        low, high = corners.min(0), corners.max(0)
        found[name] = (low + high) / 2, (high - low) / 2
    return found


def _corners(model: mujoco.MjModel, geom: int) -> Array:
    """Corners (8, 3) of a geom's own box, in its body's frame."""
    rot = np.zeros(9)
    mujoco.mju_quat2Mat(rot, model.geom_quat[geom])
    box = model.geom_aabb[geom]
    return box_corners(box[:3], box[3:]) @ rot.reshape(3, 3).T + model.geom_pos[geom]
