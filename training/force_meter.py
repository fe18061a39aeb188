# SPDX-License-Identifier: Apache-2.0
"""The CPU engine with a meter: how hard, how deep, how fast and at what work, at every step.

The simulations are those of ``training.engine.MujocoEngine`` to the bit: the meter is MuJoCo's
own sensors. Letters: N simulations, K physics steps, S sensor values.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.sim.arm import TCP_SITE
from training.engine import MujocoEngine

_FORCE, _DEPTH = "largest_contact_force", "deepest_contact"
_NUM = 1
"""Contacts that a sensor reports: the first after sorting."""
_BY_DEPTH, _BY_FORCE = 1, 2
"""How MuJoCo's contact sensor sorts (MJCF reference, sensor/contact/reduce)."""


def add_meter(spec: mujoco.MjSpec) -> None:
    """Sensors of a scene: its strongest contact, its deepest one, the speed of each hand."""
    field = mujoco.mjtConDataField
    for name, data, order in (
        (_FORCE, field.mjCONDATA_FORCE, _BY_FORCE),
        (_DEPTH, field.mjCONDATA_DIST, _BY_DEPTH),
    ):
        spec.add_sensor(
            name=name,
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_UNKNOWN,
            reftype=mujoco.mjtObj.mjOBJ_UNKNOWN,
            intprm=[1 << int(data), order, _NUM],
        )
    for site in spec.sites:
        if site.name.endswith(TCP_SITE):
            spec.add_sensor(
                name=f"speed_{site.name}",
                type=mujoco.mjtSensor.mjSENS_FRAMELINVEL,
                objtype=mujoco.mjtObj.mjOBJ_SITE,
                objname=site.name,
            )


@dataclass(frozen=True)
class Peaks:
    """Largest values of some physics steps, N simulations."""

    contact_n: Array
    """(N,) force of the strongest single contact point, friction included, N."""
    overlap_m: Array
    """(N,) deepest overlap of two bodies, m."""
    speed_m_s: Array
    """(N,) speed of the fastest hand, m/s."""
    work_j: Array
    """(N,) work that contacts and joint limits did in all these steps together, J.

    They can only store, dissipate, and give back what they stored: over any time that begins
    with nothing compressed the sum is not positive, unless the solver made energy.
    """


class MeteredEngine(MujocoEngine):
    """Engine that also keeps the peaks of the physics steps since they were last taken."""

    def __init__(self, spec: mujoco.MjSpec, num_envs: int, num_threads: int) -> None:
        """Make N simulations of a scene; the spec is given the meter."""
        add_meter(spec)
        model = spec.compile()
        super().__init__(model, num_envs, num_threads)
        self._force = _columns(model, _FORCE)
        self._depth = _columns(model, _DEPTH)
        self._speeds = [
            _columns(model, model.sensor(i).name)
            for i in range(model.nsensor)
            if model.sensor_type[i] == mujoco.mjtSensor.mjSENS_FRAMELINVEL
        ]
        self._timestep = model.opt.timestep
        self.forget()

    def rollout(self, control: Array) -> Array:
        """See Engine."""
        before = self.qvel.copy()
        record = self._batch.rollout(
            control.shape[1],
            control,
            control_spec=mujoco.mjtState.mjSTATE_CTRL,
            record=("qfrc_constraint", "sensordata", "qvel"),
        )
        force, after = record["qfrc_constraint"], record["qvel"]
        velocity = np.concatenate([before[:, None], after], axis=1)
        moved = 0.5 * self._timestep * (velocity[:, :-1] + velocity[:, 1:])
        self._work += (force * moved).sum((1, 2))
        self._seen.append(record["sensordata"])
        return force

    def forget(self) -> None:
        """Begin anew, as when simulations were put somewhere else."""
        self._seen: list[Array] = []
        self._work = np.zeros(len(self.qvel))

    def take(self) -> Peaks:
        """Peaks of all steps since the last call."""
        sensors, work = np.concatenate(self._seen, axis=1), self._work
        self.forget()
        force = np.linalg.norm(sensors[..., self._force], axis=-1).max(1)
        depth = np.maximum(0.0, -sensors[..., self._depth][..., 0]).max(1)
        hands = [np.linalg.norm(sensors[..., hand], axis=-1) for hand in self._speeds]
        return Peaks(force, depth, np.max(hands, axis=0).max(1), work)


def _columns(model: mujoco.MjModel, name: str) -> slice:
    sensor = model.sensor(name)
    return slice(int(sensor.adr[0]), int(sensor.adr[0] + sensor.dim[0]))
