# SPDX-License-Identifier: Apache-2.0
"""IDQL as the paper runs it: values of the base's chunks, learned online; the best one is taken.

The base acts with fresh samples and a little noise; a value of (observation, chunk) is regressed
on GAE-lambda returns; an evaluation draws 20 chunks and executes the one of highest value
(Table VIII; IDQL: arXiv 2304.10573). The values are saved, unlike in the paper's code.

Shape letters: T decisions, N envs, D dimension of input and chunk together, F of the chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from resip_ros.core.errors import ConfigError
from resip_ros.policy.value import ChunkValue
from training.chunk_env import ChunkEnv
from training.ppo import Rollout, compute_gae, cosine_factor
from training.residual_env import StepListener

HIDDEN = (512, 512)
"""Widths of the value's layers."""


@dataclass(frozen=True)
class IdqlConfig:
    """Settings; the defaults are the paper's."""

    rollout_steps: int | None = None
    """Decisions per env between updates; by default an episode's."""
    epochs: int = 10
    """Passes over a rollout (Table VIII)."""
    batch_size: int = 1024
    """Decisions per gradient step."""
    lr: float = 1e-4
    """AdamW step size, cosine to zero (Table VIII)."""
    samples: int = 20
    """Chunks among which an evaluation chooses (Table VIII)."""
    log_std: float = -4.0
    """Log standard deviation of the noise on executed chunks (Table VIII)."""
    gamma: float = 0.999
    """Discount per env step (Table VI)."""
    gae_lambda: float = 0.95
    """GAE lambda (Table VI)."""

    def __post_init__(self) -> None:
        """Check the ranges that would otherwise fail late or silently."""
        rollout_steps = 1 if self.rollout_steps is None else self.rollout_steps
        if min(rollout_steps, self.epochs, self.batch_size, self.samples) < 1:
            raise ConfigError("rollout_steps, epochs, batch_size and samples must be at least 1")
        if not 0 < self.gamma <= 1 or not 0 <= self.gae_lambda <= 1:
            raise ConfigError(
                f"gamma must lie in (0, 1] and gae_lambda in [0, 1], got {self.gamma} and "
                f"{self.gae_lambda}"
            )


class IdqlTrainer:
    """Collects chunks of the base, learns their values."""

    has_replay = False
    prefilling = False

    def __init__(
        self, config: IdqlConfig, env: ChunkEnv, pairs: int, seed: int, listener: StepListener
    ) -> None:
        """Build the value.

        Args:
            config: Settings.
            env: Of sampled chunks.
            pairs: Largest return.
            seed: Of weights, noise and order.
            listener: Told of every step.
        """
        self.config, self.env, self.listener = config, env, listener
        self.steps, self.updates = 0, 0
        self.metrics: dict[str, float] = {}
        input_dim, answer_dim = env.inputs.shape[1], env.plan[0].size
        self._rng = np.random.default_rng((seed, 3))
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.value = ChunkValue(input_dim, HIDDEN, float(pairs))
        self._optimiser = torch.optim.AdamW(self.value.parameters(), lr=config.lr)
        steps = config.rollout_steps or env.answers_per_episode
        self._rollout = Rollout.empty(steps, env.num_envs, input_dim, answer_dim)

    @property
    def actor(self) -> nn.Module:
        """Network to evaluate and export: the value."""
        return self.value

    def advance(self, progress: float) -> None:
        """Collect one rollout and learn from it."""
        c, rollout = self.config, self._rollout
        for t in range(len(rollout.rewards)):
            chunk = self.env.plan.reshape(self.env.num_envs, -1)
            noise = self._rng.standard_normal(chunk.shape, dtype=np.float32)
            answer = chunk + np.float32(math.exp(c.log_std)) * noise
            rollout.inputs[t] = self.env.inputs
            rollout.inputs[t][:, -answer.shape[1] :] = answer
            step = self.env.step(answer)
            rollout.record(t, step.reward, step.terminated, step.truncated, step.bootstrap)
            self.steps += self.env.num_envs * self.env.steps_per_action
            self.listener.record(step, noise)
        for group in self._optimiser.param_groups:
            group["lr"] = c.lr * cosine_factor(progress)
        self.metrics = self._update()

    def state(self) -> dict[str, Any]:
        """Everything but the envs' states."""
        return {
            "value": self.value.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "rng": self._rng.bit_generator.state,
            "steps": self.steps,
            "updates": self.updates,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.value.load_state_dict(state["value"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self._rng.bit_generator.state = state["rng"]
        self.steps, self.updates = state["steps"], state["updates"]

    def save_replay(self, path: Path) -> None:
        """There is none."""

    def load_replay(self, path: Path) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing runs beside the main thread."""

    def _update(self) -> dict[str, float]:
        c, rollout = self.config, self._rollout
        inputs = torch.from_numpy(rollout.inputs)
        with torch.no_grad():
            values = self.value(inputs).numpy()
            following = self.value(torch.from_numpy(rollout.bootstrap)).numpy()
        advantages = compute_gae(
            rollout.rewards,
            values,
            following,
            rollout.terminated,
            rollout.truncated,
            c.gamma**self.env.steps_per_action,
            c.gae_lambda,
        )
        returns = torch.from_numpy((advantages + values).reshape(-1))
        flat = inputs.flatten(0, 1)
        loss = torch.zeros(())
        for _ in range(c.epochs):
            for index in torch.randperm(len(flat), generator=self._generator).split(c.batch_size):
                loss = (self.value(flat[index]) - returns[index]).square().mean()
                self._optimiser.zero_grad()
                loss.backward()
                self._optimiser.step()
        self.updates += 1
        return {"value_loss": float(loss.detach()), "value_mean": float(values.mean())}
