# SPDX-License-Identifier: Apache-2.0
"""The residual's environment: the assembly env with the frozen base policy inside.

Each env has its own chunk of base actions and its own place in it: 8 of 32 planned steps are
executed, and an env plans anew when its chunk is used up or its episode starts. Planning is
batched over the envs that need it. The learner sees the residual's input and answers with an
unscaled residual; zero residual is bit-exactly the base policy.

Shape letters: N envs, D residual input dimension, A action dimension, K executed chunk steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from training.curriculum import Curriculum


class Env(Protocol):
    """What is used of `training.env.AssemblyEnv`."""

    num_envs: int
    episode_steps: int
    t: np.ndarray

    def observe(self) -> np.ndarray:
        """Raw observation (N, 58)."""
        ...

    def step(self, action: np.ndarray) -> Any:
        """Apply raw actions (N, A) for one policy step."""
        ...

    def reset(self, ids: np.ndarray, states: Any = None) -> Any:
        """Start new episodes in some envs, from given states or from new initial ones."""
        ...

    def snapshot(self, ids: np.ndarray) -> Any:
        """Simulator states of some envs."""
        ...


class Planner(Protocol):
    """What is used of `resip_ros.policy.runtime.BasePolicy`."""

    normalizer: Any
    action_steps: int

    def predict_chunk(self, obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Normalised chunks (B, 32, A) for raw observations (B, 58)."""
        ...


InputBuilder = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Raw observation (N, 58) and normalised base action (N, A) to the residual's input (N, D)."""


@dataclass(frozen=True)
class EpisodeEnd:
    """An episode that ended in this step."""

    env: int
    success: bool
    steps: int
    """Steps taken since its start, which may have been a stored state."""
    fresh: bool
    """Started from the task's initial distribution."""
    failure: str
    """'' on success, otherwise the env's reason or 'timeout'."""


@dataclass(frozen=True)
class ResidualStep:
    """Outcome of one step of all envs."""

    inputs: np.ndarray
    """(N, D) residual input for the next action; of the new episode where one ended."""
    reward: np.ndarray
    """(N,) float32."""
    terminated: np.ndarray
    """(N,) bool: success or failure; no value follows."""
    truncated: np.ndarray
    """(N,) bool: time limit; the value at `bootstrap` follows."""
    bootstrap: np.ndarray
    """(N, D) input after the step and before any reset, with the base action that would be
    executed there; zeros where terminated."""
    success: np.ndarray
    """(N,) bool."""
    force: np.ndarray
    """(N,) filtered external force, N."""
    refused: np.ndarray
    """(N,) bool: the gate refused the action and the arm stopped."""
    episodes: tuple[EpisodeEnd, ...]
    """Episodes that ended."""


class StepListener(Protocol):
    """Told of every step, for statistics."""

    def record(self, step: ResidualStep, residual: np.ndarray) -> None:
        """Take note of a step and of the learner's answer (N, A) that led to it."""
        ...


class DecisionEnv(Protocol):
    """An assembly env with the frozen policy inside: `ResidualEnv` or `ChunkEnv`."""

    num_envs: int
    steps_per_action: int
    """Env steps that an answer of the learner lasts."""
    answers_per_episode: int
    """Answers of the learner until the time limit."""
    curriculum: Curriculum | None

    @property
    def inputs(self) -> np.ndarray:
        """(N, D) the learner's input."""
        ...

    def reset(self, states: Any = None) -> np.ndarray:
        """Start every env afresh; returns the learner's input."""
        ...

    def step(self, residual: np.ndarray, /) -> ResidualStep:
        """Act on the learner's answers (N, A) and restart what finished."""
        ...

    def state(self) -> dict[str, Any]:
        """What is needed to resume."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        ...


class ResidualEnv:
    """Vectorised env whose action is the residual; finished envs restart by themselves."""

    steps_per_action = 1

    def __init__(
        self,
        env: Env,
        base: Planner,
        build_input: InputBuilder,
        alpha: float,
        seed: int,
        curriculum: Curriculum | None = None,
        is_hopeless: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Wrap an env; call `reset` before the first step.

        Args:
            env: Assembly env, which does not reset by itself.
            base: Frozen base policy.
            build_input: The one function that builds the residual's input.
            alpha: Scale of the residual in normalised action space.
            seed: Seed of the base policy's sampling noise.
            curriculum: Chooses starts from stored states; all starts are fresh without it.
            is_hopeless: Says for observations (N, D) and step counters (N,) which episodes
                end as failures before the time limit; none without it.
        """
        self.env = env
        self.base = base
        self.num_envs = env.num_envs
        self.answers_per_episode = env.episode_steps
        self.alpha = np.float32(alpha)
        self.curriculum = curriculum
        self._build_input = build_input
        self._is_hopeless = is_hopeless
        self._generator = torch.Generator().manual_seed(seed)
        self._plan: np.ndarray | None = None
        self._cursor = np.full(env.num_envs, base.action_steps)
        self._steps = np.zeros(env.num_envs, np.int64)
        self._fresh = np.ones(env.num_envs, bool)
        self._inputs = np.zeros((0, 0), np.float32)

    @property
    def inputs(self) -> np.ndarray:
        """(N, D) residual input for the next action."""
        return self._inputs

    @property
    def base_action(self) -> np.ndarray:
        """(N, A) normalised base action of this step."""
        assert self._plan is not None, "call reset first"
        # An env whose episode just failed has no next action; any entry serves as filler.
        place = np.minimum(self._cursor, self.base.action_steps - 1)
        return self._plan[np.arange(self.num_envs), place]

    def reset(self, states: Any = None) -> np.ndarray:
        """Start every env afresh, from N given initial states or from new ones.

        Returns:
            (N, D) the residual's input.
        """
        everyone = np.arange(self.num_envs)
        self.env.reset(everyone, states=states)
        self._steps[:] = 0
        self._fresh[:] = True
        obs = self.env.observe()
        self._replan(everyone, obs)
        self._inputs = self._build_input(obs, self.base_action)
        return self._inputs

    def net_action(self, residual: np.ndarray) -> np.ndarray:
        """(N, A) raw action of the base corrected by an unscaled residual (N, A)."""
        correction = self.alpha * np.asarray(residual, np.float32)
        return self.base.normalizer.denormalize_action(self.base_action + correction)

    def step(self, residual: np.ndarray) -> ResidualStep:
        """Apply base plus residual (N, A, unscaled) and restart the envs that finished."""
        result = self.env.step(self.net_action(residual))
        terminated = np.asarray(result.terminated, bool)
        if self._is_hopeless is not None:
            terminated = terminated | self._is_hopeless(np.nan_to_num(result.obs), self.env.t)
        truncated = np.asarray(result.truncated, bool) & ~terminated
        self._steps += 1
        self._cursor += 1
        # A truncated env plans as well: its bootstrap needs the action that would come next.
        used_up = (self._cursor >= self.base.action_steps) & ~terminated
        self._replan(np.nonzero(used_up)[0], result.obs)
        alive = np.nonzero(~terminated)[0]
        # Zeros for the others: where the solver blew up, the observation may not be finite.
        bootstrap = np.zeros_like(self._inputs)
        bootstrap[alive] = self._build_input(result.obs[alive], self.base_action[alive])

        done = np.nonzero(terminated | truncated)[0]
        if self.curriculum is not None:
            self.curriculum.record(np.nonzero(~(terminated | truncated))[0])
        episodes = tuple(self._end(int(env), result) for env in done)
        self._inputs = bootstrap
        if len(done):
            self._restart(done)
            self._inputs = bootstrap.copy()
            obs = self.env.observe()[done]
            self._replan(done, obs, rows_only=True)
            self._inputs[done] = self._build_input(obs, self.base_action[done])
        return ResidualStep(
            inputs=self._inputs,
            reward=np.asarray(result.reward, np.float32),
            terminated=terminated,
            truncated=truncated,
            bootstrap=bootstrap,
            success=np.asarray(result.success, bool),
            force=np.asarray(result.force),
            refused=np.asarray(result.refused, bool),
            episodes=episodes,
        )

    def state(self) -> dict[str, Any]:
        """Random state of the base's noise, for resuming."""
        return {"generator": self._generator.get_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue the noise from `state`."""
        self._generator.set_state(state["generator"])

    def _replan(self, ids: np.ndarray, obs: np.ndarray, rows_only: bool = False) -> None:
        """New chunks for envs `ids`; `obs` has rows for all envs, or for `ids` alone."""
        if not len(ids):
            return
        rows = obs if rows_only else obs[ids]
        chunk = self.base.predict_chunk(rows, self._generator)[:, : self.base.action_steps]
        if self._plan is None:
            self._plan = np.zeros((self.num_envs, *chunk.shape[1:]), np.float32)
        self._plan[ids] = chunk
        self._cursor[ids] = 0

    def _end(self, env: int, result: Any) -> EpisodeEnd:
        success = bool(result.success[env])
        at_limit = int(self.env.t[env]) >= self.env.episode_steps
        reason = str(result.failure[env]) or ("timeout" if at_limit else "hopeless")
        end = EpisodeEnd(
            env=env,
            success=success,
            steps=int(self._steps[env]),
            fresh=bool(self._fresh[env]),
            failure="" if success else reason,
        )
        if self.curriculum is not None:
            self.curriculum.end_episode(env, success)
        return end

    def _restart(self, ids: np.ndarray) -> None:
        states = [None if self.curriculum is None else self.curriculum.choose(i) for i in ids]
        stored = np.array([state is not None for state in states])
        if (~stored).any():
            self.env.reset(ids[~stored])
        if stored.any():
            chosen = [state for state in states if state is not None]
            self.env.reset(ids[stored], states=type(chosen[0]).concatenate(chosen))
        self._fresh[ids] = ~stored
        self._steps[ids] = 0
