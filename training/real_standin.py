# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the real bench: a second simulation that no training data comes from.

It differs from the simulation that policies train in by what also differs on a real bench:
friction, the delay between command and arm, the age of the pictures, and all that a camera sees
(`training.randomize.STANDIN`). Demonstrations in it play the part of "real" ones, so that what
co-training gains (ResiP Table II) can be measured before there is a robot. It says nothing about
how a real robot differs, above all in contact.

Letters: N simulations, K physics steps of a policy step, nu controls.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array
from training.engine import MujocoEngine


@dataclass(frozen=True)
class Standin:
    """How the stand-in's physics and timing differ."""

    friction_scale: float = 0.75
    """Sliding friction of every contact, as a factor."""
    control_delay_s: float = 0.030
    """From a joint reference to the actuators."""
    image_delay_steps: int = 1
    """Age of the pictures when they are used, policy steps of 0.1 s."""


STANDIN = Standin()


class DelayedEngine(MujocoEngine):
    """MuJoCo's threads; controls reach the actuators some physics steps late."""

    def __init__(
        self, model: mujoco.MjModel, num_envs: int, num_threads: int, delay_s: float
    ) -> None:
        """Make N simulations; `delay_s` is rounded to whole physics steps."""
        super().__init__(model, num_envs, num_threads)
        self._delay = max(1, round(delay_s / model.opt.timestep))
        self._pending = np.zeros((num_envs, self._delay, model.nu))

    def forward(self, ids: NDArray[np.int64]) -> None:
        """Take over written states: what is under way is the control that was written."""
        super().forward(ids)
        self._pending[ids] = self.ctrl[ids][:, None]

    def rollout(self, control: Array) -> Array:
        """Advance with the controls (N, K, nu) of before, the newest kept for later."""
        line = np.concatenate([self._pending, control], axis=1)
        self._pending = line[:, -self._delay :].copy()
        return super().rollout(np.ascontiguousarray(line[:, : -self._delay]))


def standin_engine(model: mujoco.MjModel, num_envs: int, num_threads: int) -> MujocoEngine:
    """Engine of the stand-in's physics, for `AssemblyEnv(engine=...)`; changes the model."""
    model.geom_friction[:, 0] *= STANDIN.friction_scale
    model.pair_friction[:, :2] *= STANDIN.friction_scale
    return DelayedEngine(model, num_envs, num_threads, STANDIN.control_delay_s)
