# SPDX-License-Identifier: Apache-2.0
"""The round_table scene: bench, U fixture, round top with a tap, threaded leg, threaded foot.

World frame = robot base frame, bench surface at z = 0. Lengths in m, masses in kg. Frames have
z along the thread, towards the body. Top: centre of the disc. Leg: middle of its body. Foot:
underside of its disc, the face that seats on the leg. Sizes and nominal places: FurnitureBench
round_table as used by ResiP; the threads are those of one_leg.

The foot is a thin disc (diameter 130 mm) with a stem of the leg's diameter on the side away
from the thread, 15 mm together: a hand that opens 65 mm holds it there from above. It starts
as in the reference with its stud down, so that it leans on stud and rim. (The reference calls
it base; that is the robot's first body here.)

Top and leg are solid prisms (not drawn) to all but studs; studs meet the sectors around the
bores (BIT_TOP) and the pins of the threads (BIT_PIN).
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from resip_ros.core.geometry import Array, rotation_z
from resip_ros.sim.arm import BIT_BENCH, BIT_FIXTURE, BIT_LEG, BIT_ROBOT, BIT_TOP
from resip_ros.sim.parts import (
    FIXTURE_NOMINAL,
    GEOM,
    GUARD_RADIUS_M,
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
)
from resip_ros.sim.task_scene import Scatter, TaskScene

THREAD = Thread()
TOP_RADIUS_M = 0.100
TOP_HALF_THICK_M = 0.01625
LEG_RADIUS_M = 0.02125
"""Distance of the faces from the axis."""
LEG_END_M = 0.03315
LEG_SHOULDER_M = -LEG_END_M
LEG_TIP_M = LEG_SHOULDER_M - THREAD.stud_length
FOOT_RADIUS_M = 0.065
FOOT_DISC_M = 0.004
FOOT_END_M = 0.015
"""Top of the stem."""
FOOT_TIP_M = -THREAD.stud_length
SIDES = 16
"""Faces of leg and stem: a hand can hold them by eight pairs of faces."""
TOP_MASS_KG, LEG_MASS_KG, FOOT_MASS_KG = 0.123, 0.033, 0.044
STUD_TURN_RAD = np.radians(-57.0)
"""How far a stud is turned in its part, against the pins' phase (the middle of the play).

A tight thread (0.02 to 0.8 N m) rests 48 to 67 degrees past that middle: here that is yaw 0,
and so a pair counts when it is tight. The torque that tightens the foot also tightens the leg.
"""
_PART_FRICTION = 0.15
_TAP_DEPTH_M = 0.028
_COLOUR = {
    "top": [0.72, 0.52, 0.34, 1],
    "leg": [0.93, 0.90, 0.84, 1],
    "foot": [0.30, 0.55, 0.80, 1],
}

TOP_NOMINAL = np.array([0.5065, 0.0, TOP_HALF_THICK_M])
# leg and foot lie up to 5 cm further out than in the reference, where the fingers around the leg
# and our full disc of the foot would meet the top
LEG_NOMINAL = np.array([0.4055, 0.165, LEG_RADIUS_M])
# its seventh face down, so that a hand that stands it up as it lies begins where the thread begins
LEG_NOMINAL_ROT = LYING @ rotation_z(np.array(-7 * 2 * np.pi / SIDES))
_FOOT_XY = np.array([0.390, -0.16])


def add_round_table(spec: mujoco.MjSpec, timestep: float) -> None:
    """Add bench, fixture and parts to a spec whose world frame is the robot base."""
    add_bench(spec, timestep)
    add_fixture(spec, timestep)
    stud = male_thread_meshes(spec, THREAD, "stud")
    _add_top(spec, timestep)
    _add_leg(spec, stud, timestep)
    _add_foot(spec, stud, timestep)


def _prism(spec: mujoco.MjSpec, name: str, apothem: float, span: tuple[float, float]) -> str:
    """Mesh of a prism with SIDES faces around z, one face towards +x."""
    return add_mesh(spec, name, prism_rings(SIDES, tuple((apothem, z) for z in span)))


def _add_solid(
    body: mujoco.MjsBody, mesh: str, mass: float, timestep: float, **other: int
) -> None:
    """What stops the robot, the fixture and other solids."""
    settings: dict[str, Any] = {
        "contype": BIT_LEG,
        "conaffinity": BIT_ROBOT | BIT_BENCH | BIT_FIXTURE | BIT_LEG,
        **other,
    }
    body.add_geom(
        name=mesh,
        type=GEOM.mjGEOM_MESH,
        meshname=mesh,
        rgba=_COLOUR[body.name],
        mass=mass,
        **settings,
        **contact_settings(timestep, _PART_FRICTION),
    )


def _sector_meshes(spec: mujoco.MjSpec, prefix: str, apothem: float, depth: float) -> list[str]:
    """Eight convex sectors of a prism as ``_prism`` around a bore, mouth at z = 0; their names."""
    count, chamfer = 8, 0.0008
    corner = apothem / np.cos(np.pi / SIDES)
    inner = THREAD.bore_radius / np.cos(np.pi / count)
    names = []
    for i in range(count):
        start, span = 2 * np.pi * i / count, 2 * np.pi / count
        points = []
        for share, radius in ((0.0, apothem), (0.25, corner), (0.75, corner), (1.0, apothem)):
            points += [(start + share * span, radius, z) for z in (-depth, 0.0)]
        for share in (0.0, 1.0):
            profile = ((inner, -depth), (inner, -chamfer), (inner + chamfer, 0.0))
            points += [(start + share * span, radius, z) for radius, z in profile]
        vertices = [[r * np.cos(a), r * np.sin(a), z] for a, r, z in points]
        names.append(add_mesh(spec, f"{prefix}{i}", np.array(vertices)))
    return names


def _add_tap(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    apothem: float,
    depth: float,
    mouth: float,
    timestep: float,
) -> None:
    """Threaded bore along the axis of a prism, open towards +z at height ``mouth``."""
    sectors = _sector_meshes(spec, f"{body.name}_sector", apothem, depth)
    at = np.array([0.0, 0.0, mouth])
    add_bore(body, THREAD, body.name, sectors, at, _COLOUR[body.name], timestep)


def _add_top(spec: mujoco.MjSpec, timestep: float) -> None:
    """Disc with a threaded bore in the middle."""
    body = add_part(spec, "top", TOP_NOMINAL)
    body.explicitinertial = True
    body.ipos, body.iquat = [0, 0, 0], [1, 0, 0, 0]
    body.mass = TOP_MASS_KG
    planar = TOP_MASS_KG / 12 * (3 * TOP_RADIUS_M**2 + (2 * TOP_HALF_THICK_M) ** 2)
    body.inertia = [planar, planar, 0.5 * TOP_MASS_KG * TOP_RADIUS_M**2]
    height = TOP_HALF_THICK_M
    disc = _prism(spec, "top_disc", TOP_RADIUS_M, (-height, height))
    meets = BIT_ROBOT | BIT_FIXTURE | BIT_LEG
    _add_solid(body, disc, 0.0, timestep, conaffinity=meets, group=3)
    add_foot(body, "top_base", TOP_RADIUS_M / np.sqrt(2.0), height, timestep)
    _add_tap(spec, body, TOP_RADIUS_M, 2 * height - 0.001, height, timestep)


def _add_leg(spec: mujoco.MjSpec, stud: list[str], timestep: float) -> None:
    """Round body, stud at one end, tap at the other."""
    body = add_part(spec, "leg", LEG_NOMINAL, LEG_NOMINAL_ROT)
    solid = _prism(spec, "leg_body", LEG_RADIUS_M, (LEG_SHOULDER_M, LEG_END_M))
    _add_solid(body, solid, 0.85 * LEG_MASS_KG, timestep, group=3)
    plug = _prism(spec, "leg_plug", LEG_RADIUS_M, (LEG_SHOULDER_M, LEG_END_M - _TAP_DEPTH_M))
    _add_solid(body, plug, 0.0, timestep, contype=BIT_TOP, conaffinity=0)
    _add_tap(spec, body, LEG_RADIUS_M, _TAP_DEPTH_M, LEG_END_M, timestep)
    add_stud(body, stud, LEG_TIP_M, STUD_TURN_RAD, 0.15 * LEG_MASS_KG, timestep)


def _add_foot(spec: mujoco.MjSpec, stud: list[str], timestep: float) -> None:
    """Disc with a stem above it and a stud below."""
    body = add_part(spec, "foot", *_foot_pose())
    apothem = FOOT_RADIUS_M * np.cos(np.pi / SIDES)
    disc = _prism(spec, "foot_disc", apothem, (0.0, FOOT_DISC_M))
    _add_solid(body, disc, 0.5 * FOOT_MASS_KG, timestep, contype=BIT_LEG | BIT_TOP)
    stem = _prism(spec, "foot_stem", LEG_RADIUS_M, (FOOT_DISC_M, FOOT_END_M))
    _add_solid(body, stem, 0.3 * FOOT_MASS_KG, timestep)
    add_stud(body, stud, FOOT_TIP_M, STUD_TURN_RAD, 0.2 * FOOT_MASS_KG, timestep)


def foot_lean() -> float:
    """Angle of the foot's axis to the vertical when it rests on stud and rim, rad."""
    apothem = FOOT_RADIUS_M * np.cos(np.pi / SIDES)
    length = -FOOT_TIP_M - GUARD_RADIUS_M
    return float(
        np.arctan2(length, apothem) + np.arcsin(GUARD_RADIUS_M / np.hypot(length, apothem))
    )


def _foot_pose() -> tuple[Array, Array]:
    """Resting, the stem leaning away from the robot."""
    lean = foot_lean()
    c, s = np.cos(lean), np.sin(lean)
    height = FOOT_RADIUS_M * np.cos(np.pi / SIDES) * s
    rot = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    return np.append(_FOOT_XY, height), rot


def nominal_poses() -> dict[str, tuple[Array, Array]]:
    """Part name to position (3,) m and R (3, 3) before the impulses."""
    return {
        "top": (TOP_NOMINAL.copy(), np.eye(3)),
        "leg": (LEG_NOMINAL.copy(), LEG_NOMINAL_ROT.copy()),
        "foot": _foot_pose(),
    }


def _scatter() -> dict[str, Scatter]:
    """Smaller factors than the reference's, whose speeds are too large for our masses (computed).

    These move them, at low, by 9, 2 and 3 mm in the mean (top, leg, foot; 16 states of seed 0).
    """
    length = LEG_END_M - LEG_TIP_M
    across = LEG_MASS_KG / 12 * (length**2 + 3 * LEG_RADIUS_M**2)
    return {
        "top": Scatter(TOP_MASS_KG, 0.5 * TOP_MASS_KG * TOP_RADIUS_M**2, 7.0, 15.0),
        "leg": Scatter(LEG_MASS_KG, across, 1.0, 1.0),
        "foot": Scatter(FOOT_MASS_KG, 0.25 * FOOT_MASS_KG * FOOT_RADIUS_M**2, 1.5, 2.0),
    }


SCENE = TaskScene(
    add=add_round_table,
    nominal_poses=nominal_poses,
    scatter=_scatter(),
    # at 1/300 s the foot would rest 21 um deep in the bench, and at most 20 are wanted
    timestep_s=0.0025,
    fixture_pos=FIXTURE_NOMINAL,
)
