# SPDX-License-Identifier: Apache-2.0
"""A residual that corrects every step, learned off-policy or with ResiP's PPO.

Shape letters: N envs, D residual input dimension, A action dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from rich.console import Console

from resip_ros.policy.bundle import save_addition
from resip_ros.policy.card import Provenance, ResidualCard, of_base
from resip_ros.policy.runtime import residual_input
from training.curriculum import Curriculum
from training.dataset import read_demonstrations
from training.demonstration_replay import describe, fill_replay, residual_episodes
from training.distributed import Group
from training.env import AssemblyEnv
from training.offpolicy_trainer import OffPolicyTrainer
from training.ppo_learner import build_residual_learner
from training.ppo_trainer import PPOTrainer
from training.replay import Replay
from training.residual_env import ResidualEnv, StepListener
from training.residual_settings import Args
from training.rl_run import Act, load_base_of
from training.stages import is_fallen


class ResidualMethod:
    """See `training.rl_run.Method`."""

    def __init__(self, args: Args, console: Console) -> None:
        """Load the base; says how large a correction can be."""
        self.args = args
        self.base = load_base_of(args)
        self.shares = args.algo == "ppo"
        normalizer = self.base.normalizer
        half = args.alpha * 0.5 * (normalizer.action_max - normalizer.action_min)
        x, y, z = 1000 * half[:3]
        console.print(
            f"alpha {args.alpha} is {x:.1f}, {y:.1f}, {z:.1f} mm in x, y, z and at most "
            f"{half[3:9].max():.2f} in a rotation entry"
        )
        self._demonstrations = self._read_demonstrations(console)

    def wrap(self, env: AssemblyEnv, seed: int, training: bool) -> ResidualEnv:
        """Put the base inside an env."""
        args, base = self.args, self.base

        def is_hopeless(obs: np.ndarray, t: np.ndarray) -> np.ndarray:
            return is_fallen(base.task, obs, t)

        stored = training and args.algo == "offpolicy"
        curriculum = Curriculum(args.curriculum, env, seed) if stored else None
        return ResidualEnv(env, base, self._build_input, args.alpha, seed, curriculum, is_hopeless)

    def build_trainer(
        self, envs: Sequence[ResidualEnv], listener: StepListener, group: Group, shards: int
    ) -> OffPolicyTrainer | PPOTrainer:
        """Learner of the command line's choice."""
        args, dim = self.args, self.base.normalizer.action_dim
        if args.algo == "ppo":
            learner = build_residual_learner(
                args.ppo, envs[0].inputs.shape[1], dim, args.seed, group, shards
            )
            return PPOTrainer(learner, envs, dim, listener)
        most = args.offpolicy.target_max * len(self.base.task.pairs)
        config = replace(args.offpolicy, target_max=most)
        return OffPolicyTrainer(
            config, envs[0], dim, args.seed, listener, args.parallel, self._demonstrations
        )

    def build_act(self, env: Any, actor: torch.nn.Module) -> Act:
        """Deterministic unscaled residuals (N, A)."""
        del env
        bounded = self._bound == "tanh"

        @torch.no_grad()
        def act(inputs: np.ndarray) -> np.ndarray:
            output = actor(torch.from_numpy(inputs))
            return (output.tanh() if bounded else output).numpy()

        return act

    def export(self, actor: torch.nn.Module, provenance: Provenance) -> None:
        """Write the residual bundle."""
        args, base = self.args, self.base
        hidden = (args.ppo if args.algo == "ppo" else args.offpolicy).hidden
        card = ResidualCard(
            **of_base(base.card),
            hidden=(hidden, hidden),
            alpha=args.alpha,
            bound=self._bound,
            features=args.features,
            provenance=provenance,
        )
        save_addition(args.bundle, card, base.normalizer, actor)

    def _build_input(self, obs: np.ndarray, action: np.ndarray) -> np.ndarray:
        base, features = self.base, self.args.features
        return residual_input(base.task, base.normalizer, obs, action, features)

    def _read_demonstrations(self, console: Console) -> Replay | None:
        """Replay of the demonstrations, if there are to be any; says how many fit."""
        args, path = self.args, self.args.offpolicy.demonstrations
        if path is None or args.algo == "ppo":
            return None
        data = read_demonstrations(path, args.task)
        episodes = residual_episodes(data, self.base, self._build_input, args.alpha, args.seed)
        console.print(describe(episodes, data))
        return fill_replay(episodes, args.offpolicy.n_step)

    @property
    def _bound(self) -> str:
        return PPOTrainer.bound if self.args.algo == "ppo" else OffPolicyTrainer.bound
