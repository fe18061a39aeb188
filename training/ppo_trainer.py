# SPDX-License-Identifier: Apache-2.0
"""Rollouts and updates of PPO, in an env of single steps (ResiP) or of chunks (ResiP-C, PPO-C).

Shape letters: N envs, D input dimension, A dimension of the actor's answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from training.ppo import Rollout
from training.ppo_learner import PPOLearner
from training.residual_env import DecisionEnv, StepListener


class PPOTrainer:
    """Collects a rollout, learns from it."""

    bound = "none"
    prefilling = False
    has_replay = False

    def __init__(
        self,
        learner: PPOLearner,
        envs: Sequence[DecisionEnv],
        action_dim: int,
        listener: StepListener,
    ) -> None:
        """Prepare the rollouts.

        Args:
            learner: Of all processes.
            envs: One for each shard of this process.
            action_dim: A.
            listener: Told of every step here.
        """
        self.learner = learner
        self.envs = envs
        self.listener = listener
        self.steps = 0
        self.metrics: dict[str, float] = {}
        steps = learner.config.rollout_steps or envs[0].answers_per_episode
        self._rollouts = [
            Rollout.empty(steps, env.num_envs, env.inputs.shape[1], action_dim) for env in envs
        ]

    @property
    def updates(self) -> int:
        """Rollouts learned from so far."""
        return self.learner.updates

    @property
    def actor(self) -> torch.nn.Module:
        """Network to export."""
        return self.learner.actor

    def advance(self, progress: float) -> None:
        """Collect one rollout and learn from it."""
        for own, (env, rollout) in enumerate(zip(self.envs, self._rollouts, strict=True)):
            self._collect(own, env, rollout)
        everywhere = self.learner.group.size
        per_shard = self.envs[0].num_envs * self.envs[0].steps_per_action
        length = len(self._rollouts[0].rewards)
        self.steps += everywhere * len(self.envs) * per_shard * length
        self.learner.set_progress(progress)
        self.metrics = self.learner.update(self._rollouts)

    def _collect(self, own: int, env: DecisionEnv, rollout: Rollout) -> None:
        """Act in the env of this process's shard number `own`."""
        for t in range(len(rollout.rewards)):
            rollout.inputs[t] = env.inputs
            rollout.actions[t] = self.learner.sample(env.inputs, own)
            step = env.step(rollout.actions[t])
            rollout.record(t, step.reward, step.terminated, step.truncated, step.bootstrap)
            self.listener.record(step, rollout.actions[t])

    def state(self) -> dict[str, Any]:
        """Everything but the envs' states."""
        return {"learner": self.learner.state(), "steps": self.steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.learner.load_state(state["learner"])
        self.steps = state["steps"]

    def save_replay(self, path: Path) -> None:
        """There is none."""

    def load_replay(self, path: Path) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing runs beside the main thread."""
