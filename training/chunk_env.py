# SPDX-License-Identifier: Apache-2.0
"""The environment of learners that decide once per chunk: ResiP-C, PPO-C and IDQL.

A decision is a whole chunk of actions, which all environments execute open loop and in step. An
environment whose episode ends inside the chunk waits for the others, holding still, and starts
anew with the next decision. Rewards of a chunk are summed; the discount is then per decision.

Shape letters: N envs, b of them, K executed steps of a chunk, A action dimension, D input
dimension, F answer of the learner, flattened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch

from resip_ros.policy.normalizer import Normalizer
from training.curriculum import Curriculum
from training.residual_env import Env, EpisodeEnd, ResidualStep


class ChunkEnvSource(Env, Protocol):
    """What is used of `training.env.AssemblyEnv`."""

    def hold_action(self) -> np.ndarray:
        """Raw actions (N, A) that ask for the measured poses."""
        ...


class ChunkHead(Protocol):
    """What a learner sees before a chunk, and what its answer means."""

    normalizer: Normalizer
    steps: int
    """K."""

    def plan(self, obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Chunks (b, K, A), normalised, that the frozen policy plans for raw observations."""
        ...

    def build_input(self, obs: np.ndarray, plan: np.ndarray) -> np.ndarray:
        """The learner's input (b, D) for raw observations (b, obs) and plans (b, K, A)."""
        ...

    def decode(self, obs: np.ndarray, plan: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Chunks (b, K, A), normalised, that answers (b, F) ask for."""
        ...


class ChunkEnv:
    """Vectorised env whose action is a chunk; finished envs restart by themselves."""

    def __init__(
        self,
        env: ChunkEnvSource,
        head: ChunkHead,
        seed: int,
        is_hopeless: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Wrap an env; call `reset` before the first step.

        Args:
            env: Assembly env, which does not reset by itself.
            head: Says what the learner sees and what its answer does.
            seed: Seed of the frozen policy's sampling noise.
            is_hopeless: Says for observations (N, obs) and step counters (N,) which episodes
                end as failures before the time limit; none without it.
        """
        self.env = env
        self.head = head
        self.num_envs = env.num_envs
        self.steps_per_action = head.steps
        self.answers_per_episode = -(-env.episode_steps // head.steps)
        self.curriculum: Curriculum | None = None
        self._is_hopeless = is_hopeless
        self._generator = torch.Generator().manual_seed(seed)
        self._obs = np.zeros((0, 0))
        self._plan = np.zeros((0, 0, 0), np.float32)
        self._inputs = np.zeros((0, 0), np.float32)

    @property
    def inputs(self) -> np.ndarray:
        """(N, D) the learner's input for the next chunk."""
        return self._inputs

    @property
    def plan(self) -> np.ndarray:
        """(N, K, A) normalised chunk that the frozen policy plans next."""
        return self._plan

    def reset(self, states: Any = None) -> np.ndarray:
        """Start every env afresh, from N given initial states or from new ones.

        Returns:
            (N, D) the learner's input.
        """
        self.env.reset(np.arange(self.num_envs), states=states)
        self._obs = self.env.observe()
        self._plan = self.head.plan(self._obs, self._generator)
        self._inputs = self.head.build_input(self._obs, self._plan)
        return self._inputs

    def step(self, answer: np.ndarray) -> ResidualStep:
        """Execute the chunks that answers (N, F) ask for, and restart the envs that finished."""
        chunk = self.head.decode(self._obs, self._plan, np.asarray(answer, np.float32))
        n = self.num_envs
        running = np.ones(n, bool)
        terminated, truncated, success = np.zeros((3, n), bool)
        reward, force, refused = np.zeros(n, np.float32), np.zeros(n), np.zeros(n, bool)
        obs = self._obs.copy()
        episodes: list[EpisodeEnd] = []
        for k in range(self.head.steps):
            action = self.head.normalizer.denormalize_action(chunk[:, k])
            if not running.all():
                action[~running] = self.env.hold_action()[~running]
            result = self.env.step(action)
            hopeless = self._hopeless(result.obs)
            ended = running & (result.terminated | hopeless)
            cut = running & np.asarray(result.truncated, bool) & ~ended
            terminated |= ended
            truncated |= cut
            success |= running & result.success
            reward[running] += result.reward[running]
            force[running] = np.maximum(force, result.force)[running]
            refused |= running & result.refused
            obs[running] = result.obs[running]
            episodes += [self._end(int(i), result) for i in np.flatnonzero(ended | cut)]
            running &= ~(ended | cut)
            if not running.any():
                break
        bootstrap = self._decide(obs, ~terminated)
        done = np.flatnonzero(terminated | truncated)
        if len(done):
            self.env.reset(done)
            obs[done] = self.env.observe()[done]
            fresh = np.zeros(n, bool)
            fresh[done] = True
            self._inputs = bootstrap.copy()
            self._inputs[done] = self._decide(obs, fresh)[done]
        else:
            self._inputs = bootstrap
        self._obs = obs
        return ResidualStep(
            self._inputs, reward, terminated, truncated, bootstrap, success, force, refused,
            tuple(episodes),
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Random state of the frozen policy's noise, for resuming."""
        return {"generator": self._generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue the noise from `state`."""
        self._generator.set_state(state["generator"])

    def _decide(self, obs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """New plans for some rows; inputs (N, D), zeros in the others."""
        inputs = np.zeros_like(self._inputs)
        if rows.any():
            self._plan[rows] = self.head.plan(obs[rows], self._generator)
            inputs[rows] = self.head.build_input(obs[rows], self._plan[rows])
        return inputs

    def _hopeless(self, obs: np.ndarray) -> np.ndarray:
        if self._is_hopeless is None:
            return np.zeros(self.num_envs, bool)
        return self._is_hopeless(np.nan_to_num(obs), self.env.t)

    def _end(self, env: int, result: Any) -> EpisodeEnd:
        success, steps = bool(result.success[env]), int(self.env.t[env])
        at_limit = steps >= self.env.episode_steps
        reason = str(result.failure[env]) or ("timeout" if at_limit else "hopeless")
        return EpisodeEnd(env, success, steps, fresh=True, failure="" if success else reason)
