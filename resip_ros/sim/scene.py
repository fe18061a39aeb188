# SPDX-License-Identifier: Apache-2.0
"""A task's MuJoCo scene: arms, bench, parts and solver options, one model for every user."""

from __future__ import annotations

import mujoco

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import get_task
from resip_ros.sim.arm import build_arms_spec
from resip_ros.sim.parts import contact_settings
from resip_ros.sim.task_scene import get_scene


def set_physics_options(spec: mujoco.MjSpec, timestep: float) -> None:
    """Solver settings for fine contact (figures: docs/architecture.md)."""
    option = spec.option
    option.timestep = timestep
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    option.impratio = 5.0
    # MuJoCo 4.0.0 chooses sparse above 60 degrees of freedom, with a known defect
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    # with 50 and 20 the solver stops short now and then, and a pinched part jumps: contact forces
    # of 300-800 N that are not there (docs/experiments.md, 10)
    option.iterations = 200
    option.ls_iterations = 50
    # parts at rest cost nothing until touched: twice the speed on a bench with five parts
    option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP


def build_scene(
    task_name: str,
    config: ControlConfig,
    *,
    timestep: float | None = None,
    visual: bool = False,
) -> mujoco.MjSpec:
    """Spec of a task's scene.

    Args:
        task_name: A task of core.tasks.
        config: Control numbers (gains and gripper become actuators).
        timestep: Physics step, s, by default the task's; the smaller, the stiffer the contacts.
        visual: Keep the arms' visual meshes, for rendering.
    """
    scene, task = get_scene(task_name), get_task(task_name)
    timestep = scene.timestep_s if timestep is None else timestep
    if not 0.0 < timestep <= scene.timestep_s + 1e-9 or not _divides(timestep, 1 / task.rate_hz):
        raise ConfigError(
            f"physics step of {task_name}: got {1e3 * timestep:g} ms, expected a whole share of "
            f"the policy step ({1e3 / task.rate_hz:g} ms), at most {1e3 * scene.timestep_s:.3g} ms"
        )
    spec = build_arms_spec(config, task.arms, visual=visual)
    set_physics_options(spec, timestep)
    scene.add(spec, timestep)
    missing = [name for name in task.observed if spec.body(name) is None]
    if missing:
        raise ConfigError(
            f"scene of {task_name} has no body {', '.join(missing)}; every part and the fixture "
            "is a body of its name"
        )
    for geom in list(spec.geoms):
        if geom.name.endswith("_pad"):
            pad = contact_settings(timestep, 1.0)
            geom.solref, geom.solimp = pad["solref"], pad["solimp"]
        if not (visual or geom.contype or geom.conaffinity) and geom.mass == 0.0:
            # even a geom that meets nothing costs every step time
            spec.delete(geom)
    return spec


def _divides(part: float, whole: float) -> bool:
    return abs(whole / part - round(whole / part)) < 1e-6
