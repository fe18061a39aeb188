# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the real bench: a second simulation that no training data comes from.

It differs from the simulation that policies train in by what also differs on a real bench:
friction, the delay between command and arm, the age of the pictures, and all that a camera sees
(`training.randomize.STANDIN`). Demonstrations in it play the part of "real" ones, so that what
co-training gains (ResiP Table II) can be measured before there is a robot. It says nothing about
how a real robot differs, above all in contact.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from training.engine import DelayedEngine, MujocoEngine


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


def standin_engine(model: mujoco.MjModel, num_envs: int, num_threads: int) -> MujocoEngine:
    """Engine of the stand-in's physics, for `AssemblyEnv(engine=...)`; changes the model."""
    model.geom_friction[:, 0] *= STANDIN.friction_scale
    model.pair_friction[:, :2] *= STANDIN.friction_scale
    delays = np.full(num_envs, STANDIN.control_delay_s)
    return DelayedEngine(model, delays, num_threads)
