# SPDX-License-Identifier: Apache-2.0
"""The mug_rack scene: bench, U fixture, a rack with two pegs one above the other, a mug.

World frame = robot base frame, bench surface at z = 0. Lengths in m, masses in kg.
Rack frame: centre of the base plate, z up, both pegs along +y. Mug frame: middle of the body, y
out of the opening, x towards the handle, z across the handle, against which it goes onto a peg.
The two pegs and four places to hang follow ResiP's mug_rack, whose shapes are scans; ours are
plain: a stoneware mug of 0.275 kg (2.3 g/cm3), 80 mm wide, which the hand takes by the rim, and
a rack of 3 kg, which slides when pushed with 3.7 N and topples above 6 N at the upper peg. Each
peg has a valley and the handle a corner, both steeper than friction holds: a hanging mug has
one place on a peg, either way round. The mug is a parameter of the scene: a scanned one takes its
place in a task of its own (docs/scans.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import (
    Array,
    matrix_to_quat_wxyz,
    matrix_to_quat_xyzw,
    rotvec_to_matrix,
)
from resip_ros.sim.arm import BIT_BENCH, BIT_FIXTURE, BIT_LEG, BIT_ROBOT, BIT_TOP
from resip_ros.sim.parts import (
    FIXTURE_NOMINAL,
    GEOM,
    add_bench,
    add_fixture,
    add_mesh,
    add_part,
    contact_settings,
)
from resip_ros.sim.task_scene import COARSE_TIMESTEP_S, Scatter, TaskScene

MUG_RADIUS_M = 0.038
"""Of the middle of the wall; at the middle of each of the 12 flat faces."""
WALL_M = 0.004
MUG_HALF_HEIGHT_M = 0.045
MUG_MASS_KG = 0.275
HANDLE_RADIUS_M = 0.005
HANDLE_REACH_M = MUG_RADIUS_M + 0.038
"""Distance of the handle's outermost corner from the mug's axis."""
HOLE_M = MUG_RADIUS_M + 0.017
"""Distance of the middle of the handle's hole from the mug's axis."""
PEG_RADIUS_M = 0.004
PEG_Y_M = (-0.035, 0.023, 0.065)
"""Root, valley and end of each peg."""
PEG_RISE_M = (0.021, 0.0, 0.0155)
"""Height of each above the valley: slopes of 20 degrees, of which parts slide."""
VALLEYS_M = (0.140, 0.290)
"""Height of the valleys of the two pegs above the rack's origin."""
BASE_HALF_M = np.array([0.06, 0.065, 0.005])
BASE_MASS_KG = 2.7
POST_RADIUS_M = 0.008
POST_MASS_KG = 0.25
PEG_MASS_KG = 0.025
RACK_MASS_KG = BASE_MASS_KG + POST_MASS_KG + 2 * PEG_MASS_KG
RACK_NOMINAL = np.array([0.40, -0.175, BASE_HALF_M[2]])
MUG_NOMINAL = np.array([0.41, 0.175, MUG_HALF_HEIGHT_M])
# stands, handle towards the robot
MUG_NOMINAL_ROT = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
_SIDES = 12
_PART_FRICTION = 0.15
# N m s/rad: without it a mug let go upright still swings after 10 s; so it rests within 10 to 15 s
_MUG_DAMPING = 2e-4
_START_TILT_RAD = np.radians(40.0)
_WOOD = [0.72, 0.52, 0.34, 1]
_GLAZE = [0.30, 0.55, 0.80, 1]


@dataclass(frozen=True)
class Mug:
    """What rack and operator need to know of a mug, in the mug's frame."""

    mass_kg: float
    radius_m: float
    """Of the middle of the wall at the rim."""
    rim_m: float
    """Height of the rim above the origin."""
    foot_m: float
    """Height of the origin above the bench when the mug stands."""
    hole_m: float
    """Distance of the middle of the handle's hole from the axis."""

    @property
    def nominal_pos(self) -> Array:
        """(3,) m, world frame, before the impulses."""
        return np.array([*MUG_NOMINAL[:2], self.foot_m])


OUR_MUG = Mug(
    mass_kg=MUG_MASS_KG,
    radius_m=MUG_RADIUS_M,
    rim_m=MUG_HALF_HEIGHT_M,
    foot_m=MUG_HALF_HEIGHT_M,
    hole_m=HOLE_M,
)


def rack_scene(mug: Mug, add_mug: Callable[[mujoco.MjSpec, float], None]) -> TaskScene:
    """Scene of bench, fixture, rack and a mug.

    Args:
        mug: Its measures.
        add_mug: Adds the body "mug" with a free joint of that name, given the time step in s.
    """

    def add(spec: mujoco.MjSpec, timestep: float) -> None:
        add_bench(spec, timestep)
        add_fixture(spec, timestep)
        _add_rack(spec, timestep)
        add_mug(spec, timestep)
        if spec.joint("mug") is None:
            raise ConfigError('add_mug: expected a body "mug" with a free joint of that name')
        spec.joint("mug").damping[:] = [_MUG_DAMPING, 0.0, 0.0]

    def nominal_poses() -> dict[str, tuple[Array, Array]]:
        return {
            "rack": (RACK_NOMINAL.copy(), np.eye(3)),
            "mug": (mug.nominal_pos, MUG_NOMINAL_ROT.copy()),
        }

    return TaskScene(
        add=add,
        nominal_poses=nominal_poses,
        scatter=_scatter(mug),
        timestep_s=COARSE_TIMESTEP_S,
        fixture_pos=FIXTURE_NOMINAL,
    )


def rough_goals(mug: Mug) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Goal poses before they are known: the valley of each peg in the middle of the hole.

    From there, handle up, a mug swings to where it hangs; ``training.settle`` says where. Order as
    in ``core.tasks.MUG_RACK``: lower and upper peg, opening away from the robot, then towards it.

    Returns:
        ``positions`` (m) and ``rotations`` (quaternions xyzw) of the mug in the rack's frame.
    """
    away = rotvec_to_matrix(np.array([0.0, _START_TILT_RAD, 0.0])) @ MUG_NOMINAL_ROT
    positions, rotations = [], []
    for rot in (away, np.diag([-1.0, -1.0, 1.0]) @ away):
        for valley in VALLEYS_M:
            pos = np.array([0.0, PEG_Y_M[1], valley]) - rot @ np.array([mug.hole_m, 0.0, 0.0])
            positions.append(tuple(pos.tolist()))
            rotations.append(tuple(matrix_to_quat_xyzw(rot).tolist()))
    return {"positions": tuple(positions), "rotations": tuple(rotations)}


def _add_rack(spec: mujoco.MjSpec, timestep: float) -> None:
    contact = contact_settings(timestep, _PART_FRICTION)
    body = add_part(spec, "rack", RACK_NOMINAL)
    meets = BIT_ROBOT | BIT_FIXTURE
    body.add_geom(
        name="base",
        type=GEOM.mjGEOM_BOX,
        size=BASE_HALF_M.tolist(),
        mass=BASE_MASS_KG,
        rgba=_WOOD,
        contype=BIT_TOP,
        conaffinity=meets | BIT_BENCH,
        **contact,
    )
    rods = {"post": ([0, PEG_Y_M[0], 0], [0, PEG_Y_M[0], VALLEYS_M[1] + 0.025], POST_RADIUS_M)}
    for i, valley in enumerate(VALLEYS_M):
        points = [[0, y, valley + rise] for y, rise in zip(PEG_Y_M, PEG_RISE_M, strict=True)]
        rods[f"peg{i}_in"] = (points[0], points[1], PEG_RADIUS_M)
        rods[f"peg{i}_out"] = (points[1], points[2], PEG_RADIUS_M)
    for name, (start, end, radius) in rods.items():
        body.add_geom(
            name=name,
            type=GEOM.mjGEOM_CAPSULE,
            fromto=[*start, *end],
            size=[radius, 0, 0],
            mass=POST_MASS_KG if name == "post" else PEG_MASS_KG / 2,
            rgba=_WOOD,
            contype=BIT_TOP,
            conaffinity=meets,
            **contact,
        )


def handle_points() -> Array:
    """Corners of the handle's axis (5, 3), m, mug frame, from top to bottom."""
    outline = [(0.0, 0.026), (0.020, 0.022), (0.038, 0.0), (0.020, -0.022), (0.0, -0.026)]
    return np.array([[MUG_RADIUS_M + out, up, 0.0] for out, up in outline])


def _add_mug(spec: mujoco.MjSpec, timestep: float) -> None:
    body = add_part(spec, "mug", MUG_NOMINAL, MUG_NOMINAL_ROT)
    shared = {
        "rgba": _GLAZE,
        "contype": BIT_LEG,
        "conaffinity": BIT_ROBOT | BIT_BENCH | BIT_FIXTURE | BIT_TOP,
        **contact_settings(timestep, _PART_FRICTION),
    }
    width = (MUG_RADIUS_M + WALL_M / 2) * np.tan(np.pi / _SIDES)
    # the floor alone stands on the bench: the walls end half a millimetre above it
    low, high = -MUG_HALF_HEIGHT_M + 0.0005, MUG_HALF_HEIGHT_M
    for i in range(_SIDES):
        angle = 2 * np.pi * i / _SIDES
        c, s = np.cos(angle), np.sin(angle)
        rot = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
        body.add_geom(
            name=f"wall{i}",
            type=GEOM.mjGEOM_BOX,
            pos=[MUG_RADIUS_M * c, (low + high) / 2, -MUG_RADIUS_M * s],
            quat=matrix_to_quat_wxyz(rot).tolist(),
            size=[WALL_M / 2, (high - low) / 2, width],
            mass=0.200 / _SIDES,
            **shared,
        )
    angles = 2 * np.pi * (np.arange(_SIDES) + 0.5) / _SIDES
    corner = (MUG_RADIUS_M - 0.5 * WALL_M) / np.cos(np.pi / _SIDES)
    ring = corner * np.array([np.cos(angles), np.sin(angles)]).T
    levels = (-MUG_HALF_HEIGHT_M, -MUG_HALF_HEIGHT_M + 0.006)
    floor = np.array([[x, y, z] for y in levels for x, z in ring])
    body.add_geom(
        name="floor",
        type=GEOM.mjGEOM_MESH,
        meshname=add_mesh(spec, "floor", floor),
        mass=0.056,
        **shared,
    )
    points = handle_points()
    for i in range(4):
        body.add_geom(
            name=f"handle{i}",
            type=GEOM.mjGEOM_CAPSULE,
            fromto=[*points[i], *points[i + 1]],
            size=[HANDLE_RADIUS_M, 0, 0],
            mass=0.019 / 4,
            **shared,
        )


def _scatter(mug: Mug) -> dict[str, Scatter]:
    rack = RACK_MASS_KG / 3 * float(BASE_HALF_M[:2] @ BASE_HALF_M[:2])
    return {
        "rack": Scatter(RACK_MASS_KG, rack, 70.0, 150.0),
        "mug": Scatter(mug.mass_kg, mug.mass_kg * mug.radius_m**2, 14.0, 10.0),
    }


SCENE = rack_scene(OUR_MUG, _add_mug)
