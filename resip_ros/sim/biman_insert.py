# SPDX-License-Identifier: Apache-2.0
"""The biman_insert scene: two arms, a bench, a receptacle with a slot, a plate that stands.

World frame = base frame of the left arm, bench surface at z = 0. Lengths in m, masses in kg.
The right arm stands 1.2 m away and faces the left one. Receptacle frame: centre of the slot at
half height, z out of the slot, handle towards -x. Plate frame: half height, z upwards when it
stands, width along x.

ResiP's own scene is not public; it says two Franka arms, a plate, a slot, tight tolerances. Here
the slot goes through the receptacle and the blade of the plate is 11 mm longer than the
receptacle is high: seated, it sticks out below. So neither arm can do it alone: one lifts the
receptacle off the bench and holds it while the other inserts the plate up to its shoulder.
Play in the slot: 0.4 mm along its length, 0.3 mm across, in all; no chamfer.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.sim.arm import BIT_BENCH, BIT_FIXTURE, BIT_LEG, BIT_ROBOT, BIT_TOP
from resip_ros.sim.parts import GEOM, add_bench, add_part, contact_settings
from resip_ros.sim.task_scene import Scatter, Spread, TaskScene

BLADE_HALF_M = np.array([0.020, 0.006, 0.0175])
HEAD_HALF_M = np.array([0.026, 0.006, 0.0125])
PLATE_HALF_HEIGHT_M = BLADE_HALF_M[2] + HEAD_HALF_M[2]
SLOT_HALF_M = np.array([0.0202, 0.00615])
"""Half length and half width of the slot."""
FRAME_HALF_M = np.array([0.030, 0.016, 0.012])
"""Outside of the receptacle around the slot."""
HANDLE_HALF_M = np.array([0.0425, 0.010, 0.012])
HANDLE_CENTRE_M = np.array([-FRAME_HALF_M[0] - HANDLE_HALF_M[0], 0.0, 0.0])
"""In the receptacle's frame."""
PLATE_MASS_KG = 0.08
FRAME_MASS_KG = 0.08
HANDLE_MASS_KG = 0.07
RECEPTACLE_MASS_KG = FRAME_MASS_KG + HANDLE_MASS_KG
RECEPTACLE_NOMINAL = np.array([0.58, 0.08, FRAME_HALF_M[2]])
PLATE_NOMINAL = np.array([0.72, -0.08, PLATE_HALF_HEIGHT_M])
_PART_FRICTION = 0.25
# stiffer than other contacts, or the plate would sink into the walls by as much as it has play
_WALL_SOLIMP = [0.98, 0.99, 0.0005, 0.5, 2.0]
_BENCH_HALF_M = [0.95, 0.65, 0.02]
_BENCH_CENTRE_X = 0.6
_SPREAD = Spread(xy_m=0.02, yaw_rad=np.radians(20.0))
# at low the farthest part slides 1 cm
_FORCE_FACTORS = {"plate": 3.8, "receptacle": 7.0}
_TORQUE_FACTORS = {"plate": 0.1, "receptacle": 1.0}


def add_biman_insert(spec: mujoco.MjSpec, timestep: float) -> None:
    """Add bench and parts to a spec that holds both arms."""
    add_bench(spec, timestep)
    bench = spec.geom("bench")
    bench.pos, bench.size = [_BENCH_CENTRE_X, 0.0, -_BENCH_HALF_M[2]], _BENCH_HALF_M
    _add_plate(spec, timestep)
    _add_receptacle(spec, timestep)


def _add_plate(spec: mujoco.MjSpec, timestep: float) -> None:
    body = add_part(spec, "plate", PLATE_NOMINAL)
    volumes = np.prod([BLADE_HALF_M, HEAD_HALF_M], axis=1)
    places = (BLADE_HALF_M[2] - PLATE_HALF_HEIGHT_M, PLATE_HALF_HEIGHT_M - HEAD_HALF_M[2])
    for i, half in enumerate((BLADE_HALF_M, HEAD_HALF_M)):
        body.add_geom(
            name=("blade", "head")[i],
            type=GEOM.mjGEOM_BOX,
            pos=[0, 0, places[i]],
            size=half.tolist(),
            rgba=[0.30, 0.55, 0.80, 1],
            mass=PLATE_MASS_KG * volumes[i] / volumes.sum(),
            contype=BIT_LEG,
            conaffinity=BIT_ROBOT | BIT_BENCH | BIT_FIXTURE | BIT_TOP,
            **contact_settings(timestep, _PART_FRICTION),
        )


def _add_receptacle(spec: mujoco.MjSpec, timestep: float) -> None:
    """Four boxes around the slot and a handle; one thin box for the contact with the bench."""
    body = add_part(spec, "receptacle", RECEPTACLE_NOMINAL)
    (out_x, out_y, half_z), (in_x, in_y) = FRAME_HALF_M, SLOT_HALF_M
    walls: dict[str, tuple[list[float], list[float]]] = {}
    for i, side in enumerate((-1, 1)):
        walls[f"wall_x{i}"] = ([side * (in_x + out_x) / 2, 0], [(out_x - in_x) / 2, out_y])
        walls[f"wall_y{i}"] = ([0, side * (in_y + out_y) / 2], [in_x, (out_y - in_y) / 2])
    areas = {name: half[0] * half[1] for name, (_, half) in walls.items()}
    shared: dict[str, Any] = {"type": GEOM.mjGEOM_BOX, "rgba": [0.72, 0.52, 0.34, 1]}
    contact = contact_settings(timestep, _PART_FRICTION) | {"solimp": _WALL_SOLIMP}
    for name, (pos, half) in walls.items():
        body.add_geom(
            name=name,
            pos=[*pos, 0],
            size=[*half, half_z],
            mass=FRAME_MASS_KG * areas[name] / sum(areas.values()),
            contype=BIT_TOP,
            conaffinity=BIT_ROBOT | BIT_FIXTURE,
            priority=1,
            **shared,
            **contact,
        )
    body.add_geom(
        name="handle",
        pos=HANDLE_CENTRE_M.tolist(),
        size=HANDLE_HALF_M.tolist(),
        mass=HANDLE_MASS_KG,
        contype=BIT_TOP,
        conaffinity=BIT_ROBOT | BIT_FIXTURE,
        **shared,
        **contact_settings(timestep, _PART_FRICTION),
    )
    half_length = FRAME_HALF_M[0] + HANDLE_HALF_M[0]
    body.add_geom(
        name="sole",
        type=GEOM.mjGEOM_BOX,
        pos=[FRAME_HALF_M[0] - half_length, 0, 0.001 - half_z],
        size=[half_length, HANDLE_HALF_M[1], 0.001],
        mass=0.0,
        group=3,
        contype=0,
        conaffinity=BIT_BENCH,
        **contact_settings(timestep, _PART_FRICTION),
    )


def nominal_poses() -> dict[str, tuple[Array, Array]]:
    """Part name to position (3,) m and R (3, 3) before they are spread."""
    return {
        "plate": (PLATE_NOMINAL.copy(), np.eye(3)),
        "receptacle": (RECEPTACLE_NOMINAL.copy(), np.eye(3)),
    }


def _scatter(name: str, mass: float, length: float, width: float) -> Scatter:
    """Impulses on a part of the given outline in m, as if it were a solid box."""
    inertia = mass / 12 * (length**2 + width**2)
    return Scatter(mass, inertia, _FORCE_FACTORS[name], _TORQUE_FACTORS[name])


SCENE = TaskScene(
    add=add_biman_insert,
    nominal_poses=nominal_poses,
    scatter={
        "plate": _scatter("plate", PLATE_MASS_KG, 2 * HEAD_HALF_M[0], 2 * HEAD_HALF_M[1]),
        "receptacle": _scatter(
            "receptacle", RECEPTACLE_MASS_KG, 2 * (FRAME_HALF_M[0] + HANDLE_HALF_M[0]), 0.03
        ),
    },
    spread={"plate": _SPREAD, "receptacle": _SPREAD},
    parts_low=np.array([0.30, -0.30, 0.0]),
    parts_high=np.array([0.92, 0.30, 0.08]),
)
