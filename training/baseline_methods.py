# SPDX-License-Identifier: Apache-2.0
"""The methods of `training.baselines`, each a `training.rl_run.Method`.

Shape letters: N envs, D input dimension, F flattened chunk.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console

from resip_ros.core.errors import ConfigError
from resip_ros.policy.bundle import save_addition, save_base
from resip_ros.policy.card import Provenance, ResidualCard, ValueCard, of_base
from resip_ros.policy.value import ChunkValue
from training.baseline_settings import BaselineArgs
from training.chunk_env import ChunkEnv, ChunkHead
from training.chunk_heads import DirectChunk, PlanActor, ResidualChunk, SampledChunk
from training.distributed import Group
from training.env import AssemblyEnv
from training.idql import IdqlTrainer
from training.ppo import PPOConfig
from training.ppo_learner import PPOLearner, build_residual_learner
from training.ppo_trainer import PPOTrainer
from training.residual_env import StepListener
from training.rl_run import Act, Method, load_base_of
from training.stages import is_fallen


def build_method(args: BaselineArgs, console: Console) -> Method:
    """The method that was asked for."""
    del console
    methods = {"resip_c": ResipC, "ppo_c": PpoC, "idql": Idql}
    return methods[args.method](args)


class _ChunkMethod(ABC):
    """What the three share: the env and answers that are means."""

    shares = True

    def __init__(self, args: BaselineArgs) -> None:
        """Load the base."""
        self.args = args
        self.base = load_base_of(args)

    def wrap(self, env: AssemblyEnv, seed: int, training: bool) -> ChunkEnv:
        """Put the base inside an env."""
        task = self.base.task

        def is_hopeless(obs: np.ndarray, t: np.ndarray) -> np.ndarray:
            return is_fallen(task, obs, t)

        return ChunkEnv(env, self._build_head(training), seed, is_hopeless)

    def build_act(self, env: Any, actor: torch.nn.Module) -> Act:
        """Deterministic answers (N, F)."""
        del env

        @torch.no_grad()
        def act(inputs: np.ndarray) -> np.ndarray:
            return actor(torch.from_numpy(inputs)).numpy()

        return act

    @abstractmethod
    def _build_head(self, training: bool) -> ChunkHead:
        """What the learner sees, and what its answer means."""

    def _per_decision(self, config: PPOConfig) -> PPOConfig:
        """Settings with the discount per chunk instead of per env step."""
        return replace(config, gamma=config.gamma**self.base.action_steps)

    @property
    def _answer_dim(self) -> int:
        return self.base.action_steps * self.base.normalizer.action_dim


class ResipC(_ChunkMethod):
    """A residual that corrects a whole chunk."""

    def build_trainer(
        self, envs: Sequence[ChunkEnv], listener: StepListener, group: Group, shards: int
    ) -> PPOTrainer:
        """PPO of a residual that starts at zero."""
        config, width = self._per_decision(self.args.resip_c), envs[0].inputs.shape[1]
        learner = build_residual_learner(
            config, width, self._answer_dim, self.args.seed, group, shards
        )
        return PPOTrainer(learner, envs, self._answer_dim, listener)

    def export(self, actor: torch.nn.Module, provenance: Provenance) -> None:
        """Write a residual bundle of chunk level."""
        card, hidden = self.base.card, self.args.resip_c.hidden
        residual = ResidualCard(
            **of_base(card),
            hidden=(hidden, hidden),
            alpha=self.args.alpha,
            bound=PPOTrainer.bound,
            features=self.args.features,
            provenance=provenance,
            chunk_steps=card.action_horizon,
        )
        save_addition(self.args.bundle, residual, self.base.normalizer, actor)

    def _build_head(self, training: bool) -> ChunkHead:
        del training
        return ResidualChunk(self.base, self.args.alpha, self.args.features)


class PpoC(_ChunkMethod):
    """The chunked policy itself, held near the cloned one."""

    def build_trainer(
        self, envs: Sequence[ChunkEnv], listener: StepListener, group: Group, shards: int
    ) -> PPOTrainer:
        """PPO that starts at the cloned policy."""
        config, width = self._per_decision(self.args.ppo_c), envs[0].inputs.shape[1]
        learner = PPOLearner(config, PlanActor(self.base), width, self.args.seed, group, shards)
        return PPOTrainer(learner, envs, self._answer_dim, listener)

    def export(self, actor: torch.nn.Module, provenance: Provenance) -> None:
        """Write a base bundle: the same policy with other weights."""
        if not isinstance(actor, PlanActor):
            raise ConfigError(f"PPO-C exports a PlanActor, got {type(actor).__name__}")
        base = self.base
        card = replace(base.card, provenance=provenance)
        save_base(self.args.bundle, card, base.normalizer, actor.network, base.plan_range)

    def _build_head(self, training: bool) -> ChunkHead:
        del training
        return DirectChunk(self.base)


class Idql(_ChunkMethod):
    """Values of sampled chunks."""

    shares = False

    def build_trainer(
        self, envs: Sequence[ChunkEnv], listener: StepListener, group: Group, shards: int
    ) -> IdqlTrainer:
        """Learner of the values."""
        del group, shards
        return IdqlTrainer(
            self.args.idql, envs[0], len(self.base.task.pairs), self.args.seed, listener
        )

    def build_act(self, env: Any, actor: torch.nn.Module) -> Act:
        """The chunk that the value chose among the samples."""
        env.head.choose_with(actor)
        return lambda inputs: env.plan.reshape(len(inputs), -1)

    def export(self, actor: torch.nn.Module, provenance: Provenance) -> None:
        """Write a value bundle."""
        if not isinstance(actor, ChunkValue):
            raise ConfigError(f"IDQL exports a ChunkValue, got {type(actor).__name__}")
        card = self.base.card
        value = ValueCard(
            **of_base(card),
            hidden=actor.hidden,
            samples=self.args.idql.samples,
            provenance=provenance,
        )
        save_addition(self.args.bundle, value, self.base.normalizer, actor)

    def _build_head(self, training: bool) -> ChunkHead:
        return SampledChunk(self.base, 1 if training else self.args.idql.samples)
