# SPDX-License-Identifier: Apache-2.0
"""Rollouts and updates of PPO, in an env of single steps (ResiP) or of chunks (ResiP-C, PPO-C).

Shape letters: N envs, D input dimension, A dimension of the actor's answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.ppo import PPOLearner, Rollout
from training.residual_env import DecisionEnv, StepListener


class PPOTrainer:
    """Collects a rollout, learns from it."""

    bound = "none"
    prefilling = False
    has_replay = False

    def __init__(
        self, learner: PPOLearner, env: DecisionEnv, action_dim: int, listener: StepListener
    ) -> None:
        self.learner = learner
        self.env = env
        self.listener = listener
        self.steps = 0
        self.metrics: dict[str, float] = {}
        steps, input_dim = learner.config.rollout_steps, env.inputs.shape[1]
        self._rollout = Rollout.empty(steps, env.num_envs, input_dim, action_dim)

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
        rollout = self._rollout
        for t in range(self.learner.config.rollout_steps):
            rollout.inputs[t] = self.env.inputs
            rollout.actions[t] = self.learner.sample(self.env.inputs)
            step = self.env.step(rollout.actions[t])
            rollout.record(t, step.reward, step.terminated, step.truncated, step.bootstrap)
            self.steps += self.env.num_envs * self.env.steps_per_action
            self.listener.record(step, rollout.actions[t])
        self.learner.set_progress(progress)
        self.metrics = self.learner.update(rollout)

    def act_deterministic(self, inputs: np.ndarray) -> np.ndarray:
        """Mean answer (N, A)."""
        return self.learner.act(inputs)

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
