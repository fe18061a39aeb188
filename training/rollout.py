# SPDX-License-Identifier: Apache-2.0
"""A policy acting in N environments, each with its own place in its own chunk."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from resip_ros.core.geometry import Array
from resip_ros.policy.runtime import AssemblyPolicy


class PolicyRollout:
    """Plans every 8 steps per environment, corrects every step."""

    def __init__(self, policy: AssemblyPolicy, num_envs: int, seed: int) -> None:
        """Start with every environment in need of a plan; the seed is that of the noise."""
        self._policy = policy
        self._generator = torch.Generator().manual_seed(seed)
        self._cursor = np.full(num_envs, policy.base.action_steps)
        shape = (num_envs, policy.base.action_steps, policy.normalizer.action_dim)
        self._plan = np.zeros(shape, np.float32)

    def restart(self, ids: NDArray[np.int64]) -> None:
        """Forget the plans of environments whose episode starts anew."""
        self._cursor[ids] = self._policy.base.action_steps

    def act(self, obs: Array, ids: NDArray[np.int64]) -> Array:
        """Actions (b, A), SI, of environments ids (b,) for their observations (b, D)."""
        steps = self._policy.base.action_steps
        due = np.flatnonzero(self._cursor[ids] >= steps)
        if len(due):
            self._plan[ids[due]] = self._policy.plan(obs[due], self._generator)
            self._cursor[ids[due]] = 0
        base = self._plan[ids, self._cursor[ids]]
        self._cursor[ids] += 1
        return self._policy.compute_action(base, self._policy.correct(obs, base))
