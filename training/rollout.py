# SPDX-License-Identifier: Apache-2.0
"""A policy acting in N environments, each with its own place in its own chunk."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from resip_ros.core.chunking import greatest_delay, is_plan_due, splice
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.policy.image_encoder import Images
from resip_ros.policy.runtime import AssemblyPolicy


class PolicyRollout:
    """Plans every `action_steps` per environment, corrects every step."""

    def __init__(
        self,
        policy: AssemblyPolicy,
        num_envs: int,
        seed: int,
        plan_delay: int = 0,
        look: Callable[[NDArray[np.int64]], Images] | None = None,
    ) -> None:
        """Start with every environment in need of a plan.

        Args:
            policy: What acts.
            num_envs: N.
            seed: Of the plans' noise.
            plan_delay: Steps that a plan is made before its first action, as by nodes whose
                inference takes that long; the first plan of an episode is not waited for.
            look: Gives the pictures of environments (b,) to a policy that needs them.

        Raises:
            ConfigError: for a delay that the policy's plans are too short for.
        """
        self._policy, self._delay, self._look = policy, plan_delay, look
        self._steps = policy.base.action_steps
        limit = 0 if policy.decides_per_chunk else greatest_delay(self._steps, policy.base.horizon)
        if not 0 <= plan_delay <= limit:
            raise ConfigError(
                f"plan delay is {plan_delay} steps; expected 0 to {limit} for this policy"
            )
        self._generator = torch.Generator().manual_seed(seed)
        self._tick, self._end = np.zeros((2, num_envs), dtype=np.int64)
        shape = (num_envs, 2 * self._steps, policy.normalizer.action_dim)
        self._planned = np.zeros(shape, np.float32)
        """Base actions of tick t in column t % 2K: those of one chunk and of its successor."""

    def restart(self, ids: NDArray[np.int64]) -> None:
        """Forget the plans of environments whose episode starts anew."""
        self._end[ids] = 0

    def act(self, obs: Array, ids: NDArray[np.int64]) -> Array:
        """Actions (b, A), SI, of environments ids (b,) for their observations (b, D)."""
        tick = self._tick[ids]
        due = np.flatnonzero(is_plan_due(tick, self._end[ids], self._delay))
        if len(due):
            self._plan(obs[due], ids[due], tick[due])
        base = self._planned[ids, tick % self._planned.shape[1]]
        self._tick[ids] += 1
        return self._policy.compute_action(base, self._policy.correct(obs, base))

    def _plan(self, obs: Array, ids: NDArray[np.int64], tick: NDArray[np.int64]) -> None:
        images = self._look(ids) if self._look and self._policy.base.images else None
        # a student's observation is proprioception, which the state begins with, and pictures
        obs = obs[:, : self._policy.base.obs_dim]
        if self._delay:
            chunk = self._policy.base.predict_chunk(obs, self._generator, images)
        else:
            chunk = self._policy.plan(obs, self._generator, images)
        # time stands still here, so every plan is ready at once
        begin, left_out = splice(tick, self._end[ids], tick)
        rows, steps = np.arange(len(ids))[:, None], np.arange(self._steps)
        columns = (np.reshape(begin, (-1, 1)) + steps) % self._planned.shape[1]
        kept = np.reshape(left_out, (-1, 1)) + steps
        self._planned[ids[:, None], columns] = chunk[rows, kept]
        self._end[ids] = begin + self._steps
