# SPDX-License-Identifier: Apache-2.0
"""What a task is to the simulator: its bodies, where they lie, how far they are scattered.

One file a task beside this one: module ``resip_ros.sim.<task>`` with a ``SCENE``. What the task
is to policies stands in ``core.tasks``. Lengths in m, world frame = robot base frame.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, rotation_z
from resip_ros.core.tasks import TASKS, get_task, load_task_module

FINE_TIMESTEP_S = 0.002
"""Physics step of tasks with tenths of a millimetre of play, s; right for every task."""
COARSE_TIMESTEP_S = 1.0 / 300.0
"""Physics step of tasks with millimetres of play, s: the largest at which threads catch, hold and
stop what is shot at them (docs/physics.md)."""
TICK_S = 0.001
"""Physics step of the simulated robot, whose control loop runs at 1 kHz, s. Contacts are stiffer
there than in training (sim.parts.contact_settings)."""
IMPULSE_S = 1.0 / 60.0
"""One simulation refresh of the reference, for which the scattering forces act."""


@dataclass(frozen=True)
class Randomness:
    """Spread of initial states (ResiP Appendix B; reference force and torque impulses)."""

    impulse_force_n: float
    """Largest planar force on a part for one 1/60 s refresh, N, before the part's factor."""
    impulse_torque_nm: float
    """Largest torque about z, for the same time, N m, before the part's factor."""
    fixture_m: float
    """Fixture offset, uniform in x and y, m."""
    joint_rad: float
    """Uniform noise on each start joint, rad."""


RANDOMNESS: dict[str, Randomness] = {
    "low": Randomness(0.2, 0.007, 0.02, np.radians(5.0)),
    "med": Randomness(0.5, 0.01, 0.04, np.radians(10.0)),
    "high": Randomness(0.75, 0.015, 0.06, np.radians(13.0)),
}


def get_randomness(name: str) -> Randomness:
    """Randomness level by name.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in RANDOMNESS:
        raise ConfigError(f"unknown randomness {name!r}; levels: {', '.join(RANDOMNESS)}")
    return RANDOMNESS[name]


@dataclass(frozen=True)
class Scatter:
    """What the impulses do to one part."""

    mass_kg: float
    inertia_z: float
    """About the vertical through the part's centre, kg m2."""
    force_factor: float = 1.0
    torque_factor: float = 1.0


@dataclass(frozen=True)
class Spread:
    """Where a part is put down around its nominal pose, at every randomness level."""

    xy_m: float
    """Largest shift in x and in y, uniform, m."""
    yaw_rad: float
    """Largest turn about the vertical, uniform, rad."""


@dataclass(frozen=True)
class TaskScene:
    """Bodies of a task and their initial states."""

    add: Callable[[mujoco.MjSpec, float], None]
    """Adds bench, fixture and parts to a spec, given the time step in s."""
    nominal_poses: Callable[[], dict[str, tuple[Array, Array]]]
    """Part to position (3,) m and R (3, 3) before the impulses."""
    scatter: Mapping[str, Scatter]
    """Of every part."""
    spread: Mapping[str, Spread] = field(default_factory=dict[str, Spread])
    """Of parts that are not put down exactly at their nominal pose."""
    timestep_s: float = FINE_TIMESTEP_S
    """Physics step in training, s; a policy step is a multiple of it."""
    fixture_pos: Array | None = None
    """(3,) nominal position of the fixture, a mocap body, m."""
    parts_low: Array = field(default_factory=lambda: np.array([0.25, -0.36, 0.0]))
    """(3,) parts must come to rest above this, m."""
    parts_high: Array = field(default_factory=lambda: np.array([0.66, 0.36, 0.08]))
    """(3,) and below this, m."""

    def sample_poses(self, rng: np.random.Generator) -> dict[str, tuple[Array, Array]]:
        """Part to position (3,) m and R (3, 3) before the impulses: nominal, spread."""
        poses = self.nominal_poses()
        for name, spread in self.spread.items():
            pos, rot = poses[name]
            shift = np.append(rng.uniform(-spread.xy_m, spread.xy_m, 2), 0.0)
            yaw = rng.uniform(-spread.yaw_rad, spread.yaw_rad)
            poses[name] = pos + shift, rotation_z(np.array(yaw)) @ rot
        return poses

    def sample_velocities(
        self, randomness: Randomness, rng: np.random.Generator
    ) -> dict[str, tuple[Array, Array]]:
        """Part to linear (3,) m/s and angular (3,) rad/s velocity after the impulses.

        A planar force of uniform direction and magnitude U[0, F] and a torque U[-T, T] about z
        act for one simulation refresh, as in the reference.
        """
        velocities = {}
        for name, part in self.scatter.items():
            force = randomness.impulse_force_n * part.force_factor
            torque = randomness.impulse_torque_nm * part.torque_factor
            angle, size = rng.uniform(-np.pi, np.pi), rng.uniform(0.0, force)
            speed = size * IMPULSE_S / part.mass_kg
            spin = rng.uniform(-torque, torque) * IMPULSE_S / part.inertia_z
            linear = speed * rotation_z(np.array(angle))[:, 0]
            velocities[name] = (linear, np.array([0.0, 0.0, spin]))
        return velocities


def get_scene(task_name: str) -> TaskScene:
    """Scene of a task.

    Raises:
        ConfigError: for an unknown task, or one whose scene lacks a part.
    """
    task = get_task(task_name)
    module = load_task_module(task_name) if task_name not in TASKS else None
    module = module or importlib.import_module(f"resip_ros.sim.{task_name}")
    scene = getattr(module, "SCENE", None)
    if not isinstance(scene, TaskScene):
        raise ConfigError(f"{module.__name__} needs SCENE = TaskScene(...)")
    for what, parts in (("nominal_poses", scene.nominal_poses()), ("scatter", scene.scatter)):
        if set(parts) != set(task.parts):
            raise ConfigError(
                f"{module.__name__}: {what} has {', '.join(sorted(parts))}, the task's parts are "
                f"{', '.join(sorted(task.parts))}"
            )
    return scene
