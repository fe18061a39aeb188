# SPDX-License-Identifier: Apache-2.0
"""Geometry shared by tasks: contact settings, bench, U fixture, wedge rings, the pin thread.

Pin thread (measured to work where mesh SDFs are slow and helper welds are dishonest): the
male part is a round core with a ridge of convex segments along a helix; the female part is a
bore of convex wedges with inward capsule pins on one turn of the same helix. Insert, catch,
screw and seat are contact only. Lengths in m; a thread's frame has z along its axis.
Dimensions: FurnitureBench meshes (tip 20, crest 24.4, lead about 9.3 mm).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from resip_ros.core.geometry import Array, matrix_to_quat_wxyz, rotation_z
from resip_ros.sim.arm import BIT_BENCH, BIT_FIXTURE, BIT_PIN, BIT_ROBOT, BIT_TOP

GEOM = mujoco.mjtGeom
FIXTURE_NOMINAL = np.array([0.6815, 0.0, 0.015])
"""(3,) position of the U fixture in the base frame (FurnitureBench as used by ResiP)."""
LYING = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
"""R (3, 3) of a part that lies, its z along +x of the base: its tip points towards the robot."""
_FIXTURE_FRICTION = 0.15
_PART_FRICTION = 0.15
GUARD_RADIUS_M = 0.009
"""Radius of the capsule that stands for a stud where no thread is."""
# PhysX averages part (0.15) and table (0.10) friction; MuJoCo takes the bench's by priority
_BENCH_FRICTION = 0.125


def contact_settings(timestep: float, friction: float) -> dict[str, Any]:
    """Stiff, well damped contact: time constant of two steps, sub-micrometre softness."""
    return {
        "solref": [2 * timestep, 1.0],
        "solimp": [0.95, 0.99, 0.0005, 0.5, 2.0],
        "friction": [friction, 0.003, 1e-4],
        "condim": 3,
    }


def add_bench(spec: mujoco.MjSpec, timestep: float) -> None:
    """Bench with its surface at z = 0 of the robot base frame.

    Parts meet a box, arms a plane in its surface: a plane sorts out links that are far away at
    once, while the box is so wide that every link would be tried against it in every step. Box
    and plane are in different bodies, for MuJoCo to look at the plane alone.
    """
    contact = contact_settings(timestep, _BENCH_FRICTION) | {"priority": 1}
    spec.worldbody.add_geom(
        name="bench",
        type=GEOM.mjGEOM_BOX,
        pos=[0.35, 0, -0.02],
        size=[0.65, 0.65, 0.02],
        rgba=[0.82, 0.80, 0.76, 1],
        contype=BIT_BENCH,
        conaffinity=0,
        **contact,
    )
    spec.worldbody.add_body(name="bench_surface").add_geom(
        name="bench_surface",
        type=GEOM.mjGEOM_PLANE,
        size=[1, 1, 1],
        group=3,
        contype=0,
        conaffinity=BIT_ROBOT,
        **contact,
    )


def add_fixture(spec: mujoco.MjSpec, timestep: float) -> None:
    """Front wall across x, two side walls along x; moved as one mocap body."""
    body = spec.worldbody.add_body(name="fixture", pos=FIXTURE_NOMINAL.tolist(), mocap=True)
    walls = (
        ([0, 0, 0], [0.01, 0.175, 0.015]),
        ([-0.075, 0.175, 0], [0.085, 0.01, 0.015]),
        ([-0.075, -0.175, 0], [0.085, 0.01, 0.015]),
    )
    for i, (pos, size) in enumerate(walls):
        body.add_geom(
            name=f"fixture{i}",
            type=GEOM.mjGEOM_BOX,
            pos=pos,
            size=size,
            rgba=[0.25, 0.27, 0.30, 1],
            contype=BIT_FIXTURE,
            conaffinity=BIT_ROBOT,
            **contact_settings(timestep, _FIXTURE_FRICTION),
        )


def add_part(
    spec: mujoco.MjSpec, name: str, pos: Array, rot: Array | None = None
) -> mujoco.MjsBody:
    """Body of a part that moves freely; its joint has its name.

    Args:
        spec: Scene, world frame = robot base frame.
        name: The part's name in the task.
        pos: (3,) m.
        rot: R (3, 3); upright if None.
    """
    body = spec.worldbody.add_body(name=name, pos=pos.tolist())
    if rot is not None:
        body.quat = matrix_to_quat_wxyz(rot).tolist()
    body.add_freejoint(name=name)
    return body


def add_foot(
    body: mujoco.MjsBody, name: str, half_side: float, half_height: float, timestep: float
) -> None:
    """One thin square that carries a part's weight: fewer contacts with the bench than its shape.

    Args:
        body: The part; its underside is half_height below its origin.
        name: Of the geom, which has no mass and meets the bench alone.
        half_side: m.
        half_height: m.
        timestep: Physics step, s.
    """
    body.add_geom(
        name=name,
        type=GEOM.mjGEOM_BOX,
        pos=[0, 0, -0.5 * half_height - 5e-5],
        size=[half_side, half_side, 0.5 * half_height],
        mass=0.0,
        group=3,
        contype=0,
        conaffinity=BIT_BENCH,
        **contact_settings(timestep, _PART_FRICTION),
    )


@dataclass(frozen=True)
class Thread:
    """A male and a female thread that fit each other; right-handed."""

    lead: float = 0.0093
    """Advance per turn."""
    core_radius: float = 0.0100
    crest_radius: float = 0.0122
    ridge_root_radius: float = 0.0092
    ridge_root_width: float = 0.0056
    ridge_crest_width: float = 0.0042
    ridge_low: float = 0.002
    """First ridge centre above the tip."""
    ridge_high: float = 0.0220
    """Last ridge centre above the tip."""
    ridge_segments_per_turn: int = 12
    stud_length: float = 0.025
    bore_radius: float = 0.0127
    pins: int = 8
    pin_radius: float = 0.0013
    pin_reach: float = 0.0106
    """Distance of the pin tips from the axis."""
    pin_top: float = -0.0015
    """Height of the last pin relative to the mouth of the bore."""

    @property
    def pin_phase(self) -> float:
        """Angle of the first pin so that the seated male part has yaw 0, rad.

        Seated, the ridge is half a lead away from the pins: in the middle between carrying
        the part's weight and being tight against the shoulder.
        """
        offset = -self.stud_length + self.ridge_low - (self.pin_top - self.lead)
        return 2 * np.pi * ((-0.5 * self.lead - offset) / self.lead % 1.0)


def add_mesh(spec: mujoco.MjSpec, name: str, vertices: np.ndarray) -> str:
    """Convex mesh from its vertices (V, 3); returns the name."""
    spec.add_mesh(name=name, uservert=np.asarray(vertices, dtype=float).ravel().tolist())
    return name


def prism_rings(sides: int, rings: tuple[tuple[float, float], ...]) -> Array:
    """Corners (n, 3) of polygons around z, one face towards +x, from (apothem, height) pairs."""
    angles = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    unit = np.array([np.cos(angles), np.sin(angles)]).T / np.cos(np.pi / sides)
    return np.array([[*(apothem * point), z] for apothem, z in rings for point in unit])


def _ring_points(radius: float, z: float, count: int) -> list[list[float]]:
    angles = 2 * np.pi * np.arange(count) / count
    return [[radius * np.cos(a), radius * np.sin(a), z] for a in angles]


def male_thread_meshes(spec: mujoco.MjSpec, thread: Thread, prefix: str) -> list[str]:
    """Meshes of a threaded stud, tip at z = 0, core first; shared by all parts that use it."""
    sides = 16
    core = _ring_points(0.95 * thread.core_radius, 0.0, sides)
    for z in (0.0015, thread.stud_length):
        core += _ring_points(thread.core_radius, z, sides)
    names = [add_mesh(spec, f"{prefix}_core", np.array(core))]
    per_turn = thread.ridge_segments_per_turn
    count = round((thread.ridge_high - thread.ridge_low) / thread.lead * per_turn)
    for i in range(count):
        names.append(add_mesh(spec, f"{prefix}_ridge{i}", _ridge_segment(thread, i)))
    return names


def _ridge_segment(thread: Thread, index: int) -> np.ndarray:
    """Vertices (8, 3) of one convex piece of the helical ridge; the first four taper in."""
    vertices = []
    for end in (index, index + 1):
        angle = 2 * np.pi * end / thread.ridge_segments_per_turn
        z = thread.ridge_low + thread.lead * end / thread.ridge_segments_per_turn
        crest = thread.crest_radius * min(1.0, 0.82 + 0.045 * end)
        for radius, width in (
            (thread.ridge_root_radius, thread.ridge_root_width),
            (crest, thread.ridge_crest_width),
        ):
            for side in (-0.5, 0.5):
                vertices.append([radius * np.cos(angle), radius * np.sin(angle), z + side * width])
    return np.array(vertices)


def wedge_ring_meshes(
    spec: mujoco.MjSpec, prefix: str, inner: float, outer: float, depth: float, chamfer: float
) -> list[str]:
    """Eight convex wedges around a bore, mouth at z = 0, apothem `inner`; returns names."""
    count = 8
    widen = 1.0 / np.cos(np.pi / count)
    names = []
    for i in range(count):
        vertices = []
        for edge in (i, i + 1):
            angle = 2 * np.pi * edge / count
            profile = [
                (inner * widen, -depth),
                (outer * widen, -depth),
                (outer * widen, 0.0),
                (inner * widen, -chamfer),
                ((inner + chamfer) * widen, 0.0),
            ]
            vertices += [[r * np.cos(angle), r * np.sin(angle), z] for r, z in profile]
        names.append(add_mesh(spec, f"{prefix}{i}", np.array(vertices)))
    return names


def add_bore(
    body: mujoco.MjsBody,
    thread: Thread,
    name: str,
    ring: list[str],
    mouth: Array,
    rgba: list[float],
    timestep: float,
    *,
    meets: int = 0,
) -> None:
    """Threaded bore, open towards +z: what is around it (BIT_TOP), and pins (BIT_PIN).

    Args:
        body: Part that it belongs to.
        thread: What fits into it.
        name: Begins the names of the geoms, which have no mass.
        ring: Meshes around the bore, their mouth at z = 0.
        mouth: (3,) in the part's frame, m.
        rgba: Colour of the ring.
        timestep: Physics step, s.
        meets: What the ring meets besides studs.
    """
    contact = contact_settings(timestep, _PART_FRICTION)
    for i, mesh in enumerate(ring):
        body.add_geom(
            name=f"{name}_ring{i}",
            type=GEOM.mjGEOM_MESH,
            meshname=mesh,
            pos=mouth.tolist(),
            rgba=rgba,
            contype=BIT_TOP,
            conaffinity=meets,
            mass=0.0,
            **contact,
        )
    pins = dict(contype=BIT_PIN, conaffinity=0, rgba=[0.4, 0.3, 0.2, 1], **contact)
    _add_pins(body, thread, f"{name}_pin", mouth, **pins)


def _add_pins(
    body: mujoco.MjsBody, thread: Thread, prefix: str, centre: np.ndarray, **contact: Any
) -> None:
    """Inward capsule pins on one turn of the helix, bore mouth at `centre` (3,)."""
    inner = thread.pin_reach + thread.pin_radius
    outer = thread.bore_radius + 0.0015
    for i in range(thread.pins):
        angle = thread.pin_phase + 2 * np.pi * i / thread.pins
        z = thread.pin_top - thread.lead + thread.lead * i / thread.pins
        direction = np.array([np.cos(angle), np.sin(angle), 0.0])
        ends = [centre + r * direction + [0, 0, z] for r in (inner, outer)]
        body.add_geom(
            name=f"{prefix}{i}",
            type=GEOM.mjGEOM_CAPSULE,
            fromto=np.concatenate(ends).tolist(),
            size=[thread.pin_radius, 0, 0],
            mass=0.0,
            **contact,
        )


def add_stud(
    body: mujoco.MjsBody,
    meshes: list[str],
    tip: float,
    turn: float,
    mass: float,
    timestep: float,
    *,
    threaded: bool = True,
) -> None:
    """Threaded stud of ``male_thread_meshes``.

    Args:
        body: Part that it belongs to.
        meshes: Core and ridge.
        tip: Height of its tip in the part's frame, m.
        turn: Yaw of the thread in the part, rad.
        mass: kg.
        timestep: Physics step, s.
        threaded: Whether the ridge meets anything; else it is only drawn.
    """
    contact = contact_settings(timestep, _PART_FRICTION)
    for i, mesh in enumerate(meshes):
        body.add_geom(
            name=f"{body.name}_{mesh}",
            type=GEOM.mjGEOM_MESH,
            meshname=mesh,
            pos=[0, 0, tip],
            quat=matrix_to_quat_wxyz(rotation_z(np.array(turn))).tolist(),
            rgba=[0.75, 0.72, 0.68, 1],
            mass=mass if i == 0 else 0.0,
            contype=0,
            conaffinity=BIT_TOP | BIT_PIN if i == 0 or threaded else 0,
            **contact,
        )
    # the stud meets bench, fixture and fingers through one capsule: ridges meet threads only
    body.add_geom(
        name=f"{body.name}_guard",
        type=GEOM.mjGEOM_CAPSULE,
        fromto=[0, 0, tip + GUARD_RADIUS_M, 0, 0, tip + 0.020],
        size=[GUARD_RADIUS_M, 0, 0],
        mass=0.0,
        group=3,
        contype=0,
        conaffinity=BIT_ROBOT | BIT_BENCH | BIT_FIXTURE,
        **contact,
    )
