# SPDX-License-Identifier: Apache-2.0
"""PPO's learner: actor, critic, and updates over rollouts that may come from several processes.

Shape letters: T rollout steps, N envs of a shard, D input dimension, A dimension of the actor's
answer, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resip_ros.policy.networks import build_residual_actor
from training.distributed import ALONE, Group
from training.ppo import (
    PPOConfig,
    Rollout,
    approximate_kl,
    clipped_policy_loss,
    compute_gae,
    cosine_factor,
    gaussian_kl,
    gaussian_log_prob,
)


def _orthogonal_hidden(network: nn.Sequential) -> None:
    for layer in list(network)[:-1]:
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight, math.sqrt(2))
            nn.init.zeros_(layer.bias)


@dataclass(frozen=True)
class _Batch:
    """Decisions of a shard's rollout, or some of them."""

    inputs: Tensor
    actions: Tensor
    old_log_prob: Tensor
    advantages: Tensor
    returns: Tensor

    def __getitem__(self, index: Tensor) -> _Batch:
        return _Batch(*(getattr(self, item.name)[index] for item in fields(self)))

    def __len__(self) -> int:
        return len(self.returns)


def build_residual_learner(
    config: PPOConfig,
    input_dim: int,
    action_dim: int,
    seed: int,
    group: Group = ALONE,
    shards: int = 1,
) -> PPOLearner:
    """Learner of a residual (A,), whose actor starts at zero: training starts at the base."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        actor = build_residual_actor(input_dim, action_dim, (config.hidden, config.hidden))
        _orthogonal_hidden(actor)
    return PPOLearner(config, actor, input_dim, seed, group, shards)


class PPOLearner:
    """Gaussian actor, critic, and for PPO-C the frozen policy the actor is held near."""

    def __init__(
        self,
        config: PPOConfig,
        actor: nn.Module,
        input_dim: int,
        seed: int,
        group: Group = ALONE,
        shards: int = 1,
    ) -> None:
        """Take over an actor.

        Args:
            config: Settings.
            actor: Inputs (B, D) to the mean (B, A); with a `kl_coefficient`, a frozen copy of it
                is the policy it is held near.
            input_dim: D.
            seed: Of the critic's weights, the noise and the order of samples.
            group: Processes that learn together.
            shards: Into how many rollouts the envs of all processes are cut.
        """
        self.config = config
        self.group = group
        self.own_shards = group.own_shards(shards)
        self._seed = seed
        self.actor = actor
        self._reference = None
        if config.kl_coefficient > 0:
            self._reference = deepcopy(actor).requires_grad_(False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            head = nn.Linear(config.hidden, 1)
            nn.init.orthogonal_(head.weight, 0.25)
            nn.init.constant_(head.bias, config.critic_bias)
            self.critic = nn.Sequential(
                nn.Linear(input_dim, config.hidden),
                nn.ReLU(),
                nn.Linear(config.hidden, config.hidden),
                nn.ReLU(),
                head,
            )
            _orthogonal_hidden(self.critic)
        self.optimiser = torch.optim.AdamW(
            [
                {"params": self.actor.parameters(), "lr": config.actor_lr},
                {"params": self.critic.parameters(), "lr": config.critic_lr},
            ],
            eps=1e-5,
            weight_decay=1e-6,
        )
        self.updates = 0
        self._seed_generators()

    def _seed_generators(self) -> None:
        """Random numbers of a rollout and the update after it: of seed, update and shard only."""
        self._generators = [
            torch.Generator().manual_seed(_mix(self._seed, self.updates, shard))
            for shard in self.own_shards
        ]

    @torch.no_grad()
    def act(self, inputs: np.ndarray) -> np.ndarray:
        """Mean (N, A)."""
        return self.actor(torch.from_numpy(inputs)).numpy()

    @torch.no_grad()
    def sample(self, inputs: np.ndarray, own: int = 0) -> np.ndarray:
        """Actions (N, A) drawn from the policy, in this process's shard number `own`."""
        mean = self.actor(torch.from_numpy(inputs))
        noise = torch.randn(mean.shape, generator=self._generators[own])
        return (mean + math.exp(self.config.log_std) * noise).numpy()

    @torch.no_grad()
    def values(self, inputs: np.ndarray) -> np.ndarray:
        """Values of inputs (..., D) as (...)."""
        return self.critic(torch.from_numpy(inputs))[..., 0].numpy()

    def set_progress(self, progress: float) -> None:
        """Set the cosine learning rates for the fraction of the run that is done."""
        factor = cosine_factor(progress)
        for group, rate in zip(
            self.optimiser.param_groups,
            (self.config.actor_lr, self.config.critic_lr),
            strict=True,
        ):
            group["lr"] = rate * factor

    def update(self, rollouts: Sequence[Rollout]) -> dict[str, float]:
        """Learn from a rollout of each own shard, together with the other processes.

        Stops early when the policy has moved by the target KL.
        """
        c = self.config
        batches = [self._prepare(rollout) for rollout in rollouts]
        steps, kl, losses = 0, 0.0, torch.zeros(2)
        for _ in range(c.epochs):
            orders = [
                torch.randperm(len(batch), generator=generator).chunk(c.minibatches)
                for batch, generator in zip(batches, self._generators, strict=True)
            ]
            for parts in zip(*orders, strict=True):
                chosen = [batch[part] for batch, part in zip(batches, parts, strict=True)]
                kl, new = self._step(chosen)
                if new is None:
                    break
                losses = new
                steps += 1
            if kl > c.target_kl:
                break
        self.updates += 1
        self._seed_generators()
        return {
            "policy_loss": float(losses[0]),
            "value_loss": float(losses[1]),
            "approximate_kl": kl,
            "gradient_steps": float(steps),
            "value_mean": float(np.mean([float(b.returns.mean()) for b in batches])),
        }

    @torch.no_grad()
    def _prepare(self, rollout: Rollout) -> _Batch:
        """Advantages, returns and what the policy thought of its actions."""
        c = self.config
        values = self.values(rollout.inputs)
        advantages = compute_gae(
            rollout.rewards,
            values,
            self.values(rollout.bootstrap),
            rollout.terminated,
            rollout.truncated,
            c.gamma,
            c.gae_lambda,
        )
        inputs = torch.from_numpy(rollout.inputs).flatten(0, 1)
        actions = torch.from_numpy(rollout.actions).flatten(0, 1)
        return _Batch(
            inputs=inputs,
            actions=actions,
            old_log_prob=gaussian_log_prob(actions, self.actor(inputs), c.log_std),
            advantages=torch.from_numpy(advantages.reshape(-1)),
            returns=torch.from_numpy((advantages + values).reshape(-1)),
        )

    def _step(self, shards: list[_Batch]) -> tuple[float, Tensor | None]:
        """One gradient step on a minibatch of all shards, unless the policy moved too far.

        Returns:
            The approximate KL, and policy and value loss (2,); None if no step was taken.
        """
        c = self.config
        totals = self._sum(_moments(batch.advantages) for batch in shards)
        count, mean = totals[0], totals[1] / totals[0]
        std = (totals[2] / count - mean.square()).clamp(min=0.0).sqrt()
        means = [self.actor(batch.inputs) for batch in shards]
        ratios = [
            gaussian_log_prob(batch.actions, answer, c.log_std) - batch.old_log_prob
            for batch, answer in zip(shards, means, strict=True)
        ]
        kl = float(self._sum(approximate_kl(ratio.detach())[None] for ratio in ratios)[0] / count)
        if kl > c.target_kl:
            return kl, None
        self.optimiser.zero_grad()
        losses = []
        for batch, answer, ratio in zip(shards, means, ratios, strict=True):
            normalised = ((batch.advantages - mean) / (std + 1e-8)).float()
            policy_loss = clipped_policy_loss(ratio, normalised, c.clip)
            error = self.critic(batch.inputs)[:, 0] - batch.returns
            value_loss = 0.5 * error.square().sum()
            loss = policy_loss + c.value_coefficient * value_loss
            if self._reference is not None:
                with torch.no_grad():
                    reference = self._reference(batch.inputs)
                loss = loss + c.kl_coefficient * gaussian_kl(answer, reference, c.log_std)
            (loss / float(count)).backward()
            losses.append(torch.stack([policy_loss, value_loss]).detach() / float(count))
        parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.group.sum_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, c.max_grad_norm)
        self.optimiser.step()
        return kl, self._sum(losses)

    def _sum(self, values: Iterable[Tensor]) -> Tensor:
        """Sum over the shards of all processes."""
        return self.group.sum(torch.stack(list(values)).sum(dim=0))

    def state(self) -> dict[str, Any]:
        """Everything needed to continue, as a nested dict of tensors and numbers."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "updates": self.updates,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.actor.load_state_dict(state["actor"])
        self.critic.load_state_dict(state["critic"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.updates = int(state["updates"])
        self._seed_generators()


def _moments(values: Tensor) -> Tensor:
    """Count, sum and sum of squares (3,), in double precision."""
    values = values.double()
    return torch.stack(
        [torch.tensor(float(len(values))).double(), values.sum(), (values**2).sum()]
    )


def _mix(*numbers: int) -> int:
    """A seed of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
