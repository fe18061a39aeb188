# SPDX-License-Identifier: Apache-2.0
"""The peg_in_hole scene: bench, U fixture, a rectangular peg that stands, a block with its hole.

World frame = robot base frame, bench surface at z = 0. Lengths in m, masses in kg.
Peg frame: centre, z upwards when it stands. Hole frame: centre of the block, z out of the hole,
which goes through to the bench: a seated peg stands on the bench inside the block.
Cross-sections, nominal poses and spread: the 16 mm peg of ResiP's peg-in-hole. Deliberately
different from it: the hole is 20 mm deep instead of 9, more than the peg is wide, so that walls
and not fingers hold an inserted peg upright; the peg weighs as much as steel instead of 4 g (a
contact gives way in proportion to 1 / mass); the block weighs 2 kg instead of 2 g and stands on
an unseen rubber foot 10 cm wide, in place of screws: only a shove of more than 15 N moves it.
The rim has no chamfer, but a time step of 2 ms acts like one: a peg that comes down at 5 cm/s
enters 0.2 mm off at most, at 20 cm/s 0.4 mm, pressed without speed 0.1 mm.
"""

from __future__ import annotations

import mujoco
import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.sim.arm import BIT_BENCH, BIT_FIXTURE, BIT_LEG, BIT_ROBOT, BIT_TOP
from resip_ros.sim.parts import (
    FIXTURE_NOMINAL,
    GEOM,
    add_bench,
    add_fixture,
    add_part,
    contact_settings,
)
from resip_ros.sim.task_scene import Scatter, Spread, TaskScene

PEG_HALF_M = np.array([0.008, 0.005, 0.025])
HOLE_HALF_M = np.array([0.00811, 0.00508])
"""Half width of the hole in x and y: play of 0.22 mm and 0.16 mm in all."""
BLOCK_HALF_M = np.array([0.0125, 0.0125, 0.010])
PEG_MASS_KG = 0.0628
BLOCK_MASS_KG = 2.0
PEG_NOMINAL = np.array([0.4, 0.05, PEG_HALF_M[2]])
HOLE_NOMINAL = np.array([0.4, -0.05, BLOCK_HALF_M[2]])
_PART_FRICTION = 0.25
# stiffer than other contacts: the peg sinks in by at most 60 um, of 80 to 110 um play a side
_WALL_SOLIMP = [0.98, 0.99, 0.0005, 0.5, 2.0]
_FOOT_FRICTION = 0.8
_FOOT_HALF_M = np.array([0.05, 0.05, 0.001])
_SPREAD = Spread(xy_m=0.01, yaw_rad=np.radians(45.0))
# the reference's impulses times 0.001: nothing moves, the spread does it
_IMPULSE_FACTOR = 0.001


def add_peg_in_hole(spec: mujoco.MjSpec, timestep: float) -> None:
    """Add bench, fixture and parts to a spec whose world frame is the robot base."""
    add_bench(spec, timestep)
    add_fixture(spec, timestep)
    _add_peg(spec, timestep)
    _add_block(spec, timestep)


def _add_peg(spec: mujoco.MjSpec, timestep: float) -> None:
    body = add_part(spec, "peg", PEG_NOMINAL)
    body.add_geom(
        name="peg",
        type=GEOM.mjGEOM_BOX,
        size=PEG_HALF_M.tolist(),
        rgba=[0.30, 0.55, 0.80, 1],
        mass=PEG_MASS_KG,
        contype=BIT_LEG,
        conaffinity=BIT_ROBOT | BIT_BENCH | BIT_FIXTURE | BIT_TOP,
        **contact_settings(timestep, _PART_FRICTION),
    )


def _add_block(spec: mujoco.MjSpec, timestep: float) -> None:
    """Four boxes around the hole: exact for a rectangular peg, and the fastest contact."""
    contact = contact_settings(timestep, _PART_FRICTION) | {"solimp": _WALL_SOLIMP}
    body = add_part(spec, "hole", HOLE_NOMINAL)
    body.explicitinertial = True
    body.ipos, body.iquat = [0, 0, 0], [1, 0, 0, 0]
    body.mass = BLOCK_MASS_KG
    body.inertia = _box_inertia(BLOCK_MASS_KG, BLOCK_HALF_M).tolist()
    (out_x, out_y, half_z), (in_x, in_y) = BLOCK_HALF_M, HOLE_HALF_M
    for i, side in enumerate((-1, 1)):
        walls = {
            f"wall_x{i}": ([side * (in_x + out_x) / 2, 0], [(out_x - in_x) / 2, out_y]),
            f"wall_y{i}": ([0, side * (in_y + out_y) / 2], [in_x, (out_y - in_y) / 2]),
        }
        for name, (pos, size) in walls.items():
            body.add_geom(
                name=name,
                type=GEOM.mjGEOM_BOX,
                pos=[*pos, 0],
                size=[*size, half_z],
                rgba=[0.72, 0.52, 0.34, 1],
                mass=0.0,
                contype=BIT_TOP,
                conaffinity=BIT_ROBOT | BIT_FIXTURE,
                priority=1,
                **contact,
            )
    body.add_geom(
        name="foot",
        type=GEOM.mjGEOM_BOX,
        pos=[0, 0, _FOOT_HALF_M[2] - half_z],
        size=_FOOT_HALF_M.tolist(),
        mass=0.0,
        group=3,
        contype=0,
        conaffinity=BIT_BENCH,
        priority=2,
        **contact_settings(timestep, _FOOT_FRICTION),
    )


def _box_inertia(mass: float, half: Array) -> Array:
    """Principal moments (3,) of a solid box, kg m2."""
    squares = half**2
    return mass / 3 * (squares.sum() - squares)


def nominal_poses() -> dict[str, tuple[Array, Array]]:
    """Part name to position (3,) m and R (3, 3) before they are spread."""
    return {"peg": (PEG_NOMINAL.copy(), np.eye(3)), "hole": (HOLE_NOMINAL.copy(), np.eye(3))}


def _scatter(mass: float, half: Array) -> Scatter:
    return Scatter(mass, float(_box_inertia(mass, half)[2]), _IMPULSE_FACTOR, _IMPULSE_FACTOR)


SCENE = TaskScene(
    add=add_peg_in_hole,
    nominal_poses=nominal_poses,
    scatter={
        "peg": _scatter(PEG_MASS_KG, PEG_HALF_M),
        "hole": _scatter(BLOCK_MASS_KG, BLOCK_HALF_M),
    },
    spread={"peg": _SPREAD, "hole": _SPREAD},
    fixture_pos=FIXTURE_NOMINAL,
)
