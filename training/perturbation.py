# SPDX-License-Identifier: Apache-2.0
"""Impulses that knock parts about during an episode (ResiP Appendix B).

At every policy step at 10 Hz each part has a chance of 1 % to get an impulse of the law that
scatters the initial states (sim.task_scene); at another rate, the same chance per second. It
acts at once, as a change of velocity. Letters: N environments, b of them.
"""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array, quat_wxyz_to_matrix
from resip_ros.core.tasks import get_task
from resip_ros.sim.task_scene import get_randomness, get_scene

CHANCE = 0.01
"""Of each part in 0.1 s."""


class Perturbation:
    """Pushes the parts of N environments; every episode has a random generator of its own.

    Which impulses an episode meets therefore depends neither on the other environments nor on
    how long earlier episodes lasted.
    """

    def __init__(
        self, model: mujoco.MjModel, task_name: str, randomness: str, seed: int, num_envs: int
    ) -> None:
        """Find the parts; restart every environment before the first push."""
        self._scene, self._randomness = get_scene(task_name), get_randomness(randomness)
        self._qpos = {n: int(model.joint(n).qposadr[0]) for n in self._scene.scatter}
        self._dof = {n: int(model.joint(n).dofadr[0]) for n in self._scene.scatter}
        self._steps_per_chance = get_task(task_name).rate_hz / 10.0
        self._seed = seed
        self._episodes = np.zeros(num_envs, dtype=np.int64)
        self._rngs = [np.random.default_rng(seed) for _ in range(num_envs)]

    def restart(self, ids: NDArray[np.int64], episodes: NDArray[np.int64] | None = None) -> None:
        """Begin the episodes of environments ids (b,).

        Args:
            ids: Environments.
            episodes: (b,) numbers that with the seed fix the impulses, in whichever
                environment; by default each environment counts its own episodes.
        """
        for place, slot in enumerate(ids):
            key = (int(slot), int(self._episodes[slot]))
            if episodes is not None:
                key = (int(episodes[place]),)
            # a spawn key keeps these streams apart from those of the initial states
            self._rngs[slot] = np.random.default_rng(
                np.random.SeedSequence(self._seed, spawn_key=key)
            )
            self._episodes[slot] += 1

    def push(self, qpos: Array, qvel: Array) -> None:
        """Add the impulses of one policy step to the velocities, in place.

        Args:
            qpos: (N, nq).
            qvel: (N, nv); of a free joint, m/s in the world frame and rad/s in the body frame.
        """
        for slot, rng in enumerate(self._rngs):
            hit = rng.random(len(self._dof)) < CHANCE / self._steps_per_chance
            if not hit.any():
                continue
            impulses = self._scene.sample_velocities(self._randomness, rng)
            for name in np.array(list(self._dof))[hit]:
                linear, angular = impulses[name]
                start, dof = self._qpos[name], self._dof[name]
                rot = quat_wxyz_to_matrix(qpos[slot, start + 3 : start + 7])
                qvel[slot, dof : dof + 3] += linear
                qvel[slot, dof + 3 : dof + 6] += rot.T @ angular
