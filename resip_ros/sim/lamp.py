# SPDX-License-Identifier: Apache-2.0
"""The lamp scene: bench, U fixture, lamp base with a tap, threaded bulb, hood.

World frame = robot base frame, bench surface at z = 0. Lengths in m, masses in kg. Frames have
z upwards in the assembled lamp. Base: centre of its block. Bulb: middle of its straight part.
Hood: half its height. Sizes and masses: FurnitureBench lamp as used by ResiP; the thread is that
of one_leg. Where this differs from the reference:

- The bulb is a prism with sixteen faces, 42.5 mm across (a hand that opens 65 mm holds it), with
  a tapering end, and lies on a face by itself; the reference's bulb has a round glass of 60 mm
  and is held from rolling until the hand is near.
- The hood is a ring of wedges: a cone with a straight collar on top, 49 mm across, by which it is
  held from outside. It goes over the bulb and rests on the base; the bulb keeps it in place.
- The parts lie further apart: the hand that picks the bulb leans and needs the room.

The base's block is solid to all but studs; studs meet the wedges of the bore (BIT_TOP) and the
pins of the thread (BIT_PIN). The name "base" is taken: it is the robot's first body.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from resip_ros.core.geometry import Array, matrix_to_quat_wxyz, rotation_z
from resip_ros.sim.arm import BIT_BENCH, BIT_FIXTURE, BIT_LEG, BIT_ROBOT
from resip_ros.sim.parts import (
    FIXTURE_NOMINAL,
    GEOM,
    LYING,
    Thread,
    add_bench,
    add_bore,
    add_fixture,
    add_foot,
    add_mesh,
    add_part,
    add_stud,
    contact_settings,
    male_thread_meshes,
    prism_rings,
    wedge_ring_meshes,
)
from resip_ros.sim.round_table import STUD_TURN_RAD
from resip_ros.sim.task_scene import COARSE_TIMESTEP_S, Scatter, TaskScene

THREAD = Thread()
BASE_RADIUS_M = 0.04235
"""Distance of the faces from the axis."""
BASE_SIDES = 8
BASE_HALF_HEIGHT_M = 0.0315
BULB_RADIUS_M = 0.02125
"""Distance of the faces from the axis."""
BULB_SIDES = 16
BULB_SHOULDER_M = -0.034
BULB_STRAIGHT_END_M = 0.034
BULB_END_M = 0.062
BULB_TIP_M = BULB_SHOULDER_M - THREAD.stud_length
HOOD_HALF_M = 0.050
HOOD_SIDES = 8
HOOD_COLLAR_M = 0.0245
"""Distance of the collar's outer faces from the axis."""
HOOD_COLLAR_LOW_M = HOOD_HALF_M - 0.022
HOOD_RIM_M = 0.044 * float(np.cos(np.pi / HOOD_SIDES))
"""The same at the lower edge: 88 mm over the corners."""
HOOD_WALL_M = 0.0025
BASE_MASS_KG, BULB_MASS_KG, HOOD_MASS_KG = 0.0597, 0.0385, 0.060
_BULB_TOP_RADIUS_M = 0.011
_PART_FRICTION = 0.15
_COLOUR = {
    "lamp_base": [0.72, 0.52, 0.34, 1],
    "bulb": [0.95, 0.92, 0.78, 1],
    "hood": [0.30, 0.55, 0.80, 1],
}

BASE_NOMINAL = np.array([0.5065, 0.0, BASE_HALF_HEIGHT_M])
BULB_NOMINAL = np.array([0.395, 0.190, BULB_RADIUS_M])
# on a face
BULB_NOMINAL_ROT = LYING @ rotation_z(np.array(-7 * 2 * np.pi / BULB_SIDES))
HOOD_NOMINAL = np.array([0.400, -0.160, HOOD_HALF_M])


def add_lamp(spec: mujoco.MjSpec, timestep: float) -> None:
    """Add bench, fixture and parts to a spec whose world frame is the robot base."""
    add_bench(spec, timestep)
    add_fixture(spec, timestep)
    _add_base(spec, timestep)
    _add_bulb(spec, timestep)
    _add_hood(spec, timestep)


def _solid(body: mujoco.MjsBody, timestep: float) -> dict[str, Any]:
    """Settings of what stops the robot, the bench, the fixture and other solids."""
    return {
        "rgba": _COLOUR[body.name],
        "contype": BIT_LEG,
        "conaffinity": BIT_ROBOT | BIT_BENCH | BIT_FIXTURE | BIT_LEG,
        **contact_settings(timestep, _PART_FRICTION),
    }


def _add_base(spec: mujoco.MjSpec, timestep: float) -> None:
    """Prism with a threaded bore from above."""
    body = add_part(spec, "lamp_base", BASE_NOMINAL)
    height = BASE_HALF_HEIGHT_M
    profile = ((BASE_RADIUS_M, -height), (BASE_RADIUS_M, height))
    block = add_mesh(spec, "lamp_base_block", prism_rings(BASE_SIDES, profile))
    body.add_geom(
        name=block,
        type=GEOM.mjGEOM_MESH,
        meshname=block,
        # corners towards x, as the wedges have them
        quat=matrix_to_quat_wxyz(rotation_z(np.array(np.pi / BASE_SIDES))).tolist(),
        mass=BASE_MASS_KG,
        group=3,
        **_solid(body, timestep) | {"conaffinity": BIT_ROBOT | BIT_FIXTURE | BIT_LEG},
    )
    add_foot(body, "lamp_base_foot", BASE_RADIUS_M / np.sqrt(2.0), height, timestep)
    ring = wedge_ring_meshes(
        spec, "lamp_base_wedge", THREAD.bore_radius, BASE_RADIUS_M, 2 * height - 0.001, 0.0008
    )
    mouth = np.array([0.0, 0.0, height])
    add_bore(body, THREAD, "lamp_base", ring, mouth, _COLOUR["lamp_base"], timestep)


def _add_bulb(spec: mujoco.MjSpec, timestep: float) -> None:
    """Prism with a tapering end and a threaded stud."""
    body = add_part(spec, "bulb", BULB_NOMINAL, BULB_NOMINAL_ROT)
    profile = (
        (BULB_RADIUS_M, BULB_SHOULDER_M),
        (BULB_RADIUS_M, BULB_STRAIGHT_END_M),
        (_BULB_TOP_RADIUS_M, BULB_END_M),
    )
    glass = add_mesh(spec, "bulb_glass", prism_rings(BULB_SIDES, profile))
    body.add_geom(
        name=glass,
        type=GEOM.mjGEOM_MESH,
        meshname=glass,
        mass=0.85 * BULB_MASS_KG,
        **_solid(body, timestep),
    )
    stud = male_thread_meshes(spec, THREAD, "stud")
    add_stud(body, stud, BULB_TIP_M, STUD_TURN_RAD, 0.15 * BULB_MASS_KG, timestep)


def _add_hood(spec: mujoco.MjSpec, timestep: float) -> None:
    """Ring of wedges: a cone and, above it, a straight collar."""
    body = add_part(spec, "hood", HOOD_NOMINAL)
    profile = {
        "cone": ((HOOD_RIM_M, -HOOD_HALF_M), (HOOD_COLLAR_M, HOOD_COLLAR_LOW_M)),
        "collar": ((HOOD_COLLAR_M, HOOD_COLLAR_LOW_M), (HOOD_COLLAR_M, HOOD_HALF_M)),
    }
    share = {"cone": 0.8, "collar": 0.2}
    for kind, outer in profile.items():
        inner = tuple((apothem - HOOD_WALL_M, z) for apothem, z in outer)
        corners = prism_rings(HOOD_SIDES, (*outer, *inner)).reshape(4, HOOD_SIDES, 3)
        for i in range(HOOD_SIDES):
            vertices = corners[:, [i, (i + 1) % HOOD_SIDES]].reshape(-1, 3)
            name = add_mesh(spec, f"hood_{kind}{i}", vertices)
            body.add_geom(
                name=name,
                type=GEOM.mjGEOM_MESH,
                meshname=name,
                mass=share[kind] * HOOD_MASS_KG / HOOD_SIDES,
                **_solid(body, timestep),
            )


def nominal_poses() -> dict[str, tuple[Array, Array]]:
    """Part name to position (3,) m and R (3, 3) before the impulses."""
    return {
        "lamp_base": (BASE_NOMINAL.copy(), np.eye(3)),
        "bulb": (BULB_NOMINAL.copy(), BULB_NOMINAL_ROT.copy()),
        "hood": (HOOD_NOMINAL.copy(), np.eye(3)),
    }


def _scatter() -> dict[str, Scatter]:
    """Smaller factors than the reference's, whose speeds are too large for our masses (computed).

    These move them, at low, by 7, 3 and 6 mm in the mean (base, bulb, hood; 48 states of seed 0).
    """
    length = BULB_END_M - BULB_TIP_M
    across = BULB_MASS_KG / 12 * (length**2 + 3 * BULB_RADIUS_M**2)
    round_base = 0.5 * BASE_MASS_KG * BASE_RADIUS_M**2
    return {
        "lamp_base": Scatter(BASE_MASS_KG, round_base, 3.0, 4.0),
        "bulb": Scatter(BULB_MASS_KG, across, 1.5, 1.0),
        "hood": Scatter(HOOD_MASS_KG, 0.5 * HOOD_MASS_KG * HOOD_RIM_M**2, 3.0, 3.0),
    }


SCENE = TaskScene(
    add=add_lamp,
    nominal_poses=nominal_poses,
    scatter=_scatter(),
    timestep_s=COARSE_TIMESTEP_S,
    fixture_pos=FIXTURE_NOMINAL,
)
