# SPDX-License-Identifier: Apache-2.0
"""Off-policy residual learner: TD3 with a layer-normed critic ensemble, after arXiv 2509.19301.

Parts: RLPD's ensemble and random subset of target critics (arXiv 2302.02948), n-step targets
clipped to the range that a sparse reward of 1 allows, TD3's target smoothing and delayed actor,
a small penalty on the residual, and a slow average of the actor that is evaluated and exported.
The residual is tanh-bounded: alpha is its largest size per dimension in normalised actions.

Shape letters: E critics, B batch, D residual input dimension, A action dimension, H hidden.
"""

from __future__ import annotations

import copy
import math
import threading
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from resip_ros.core.errors import ConfigError
from resip_ros.policy.networks import build_residual_actor
from training.replay import TransitionBatch


@dataclass(frozen=True)
class OffPolicyConfig:
    """Settings of the off-policy learner; times and sizes suit two CPU cores."""

    gamma: float = 0.995
    """Discount per 10 Hz step, in (0, 1)."""
    n_step: int = 5
    """Rewards summed before the bootstrap, at least 1."""
    batch_size: int = 256
    """Transitions per update."""
    critics: int = 4
    """Size of the ensemble."""
    target_critics: int = 2
    """Critics drawn at random for each target, which takes their minimum."""
    pessimism: float = 1.0
    """Standard deviations of the critics' values that the actor takes off their mean, at least
    0: it keeps away from what the critics do not agree on."""
    hidden: int = 256
    """Width of the two hidden layers of every critic and of the actor."""
    critic_lr: float = 5e-4
    """Adam step size of the critics."""
    actor_lr: float = 3e-4
    """Adam step size of the actor."""
    tau: float = 0.005
    """Share of the online critics mixed into the target critics per update."""
    actor_delay: int = 2
    """Critic updates per actor update."""
    actor_warmup: int = 200
    """Critic updates before the first actor update."""
    ema_decay: float = 0.998
    """Decay per actor update of the averaged actor that is evaluated and exported."""
    smoothing: float = 0.1
    """Std of the noise on target actions, clipped at twice this; in units of the bound."""
    action_penalty: float = 0.005
    """Weight of mean a^2 in the actor's loss: against pushing with full force for nothing."""
    success_fraction: float = 0.25
    """Share of each batch drawn from successful episodes."""
    demonstrations: Path | None = None
    """Dataset that the base was cloned from: half of each batch are then its steps, as far as the
    residual can take them; success_fraction is of the other half."""
    target_min: float = -0.05
    """Lower clip of the bootstrapped value."""
    target_max: float = 1.0
    """Upper clip of the bootstrapped value per pair of parts, which pays 1 once."""
    noise: float = 0.2
    """Mean exploration std over the envs, which spread evenly over 0 to twice this."""
    prefill_episodes: int = 128
    """Episodes of base plus noise before the first update."""
    update_ratio: float = 0.2
    """Updates per env step; a cap in parallel mode, exact otherwise."""
    capacity: int = 600_000
    """Steps kept in the replay."""

    def __post_init__(self) -> None:
        """Check the ranges that would otherwise fail late or silently."""
        if not 0 < self.gamma < 1:
            raise ConfigError(f"gamma must lie in (0, 1), got {self.gamma}")
        if self.n_step < 1 or self.batch_size < 1 or self.actor_delay < 1:
            raise ConfigError("n_step, batch_size and actor_delay must be at least 1")
        if self.prefill_episodes < 1:
            raise ConfigError(f"prefill_episodes must be at least 1, got {self.prefill_episodes}")
        if not 1 <= self.target_critics <= self.critics:
            raise ConfigError(
                f"target_critics must lie in 1..critics ({self.critics}), "
                f"got {self.target_critics}"
            )
        if self.pessimism < 0:
            raise ConfigError(f"pessimism must be at least 0, got {self.pessimism}")
        if not 0 <= self.success_fraction < 1:
            raise ConfigError(f"success_fraction must lie in [0, 1), got {self.success_fraction}")


class CriticEnsemble(nn.Module):
    """E two-layer critics with layer norm, evaluated together as batched matrix products.

    The layer norm has no gain or bias of its own: the next layer's weights take their role, and
    the update is a tenth faster without them.
    """

    def __init__(self, critics: int, input_dim: int, hidden: int) -> None:
        super().__init__()
        sizes = (input_dim, hidden, hidden, 1)
        self.weights = nn.ParameterList(
            torch.randn(critics, a, b) / math.sqrt(a) for a, b in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(critics, 1, size) for size in sizes[1:])

    def forward(
        self, inputs: Tensor, actions: Tensor, which: Tensor | None = None, frozen: bool = False
    ) -> Tensor:
        """Values (E, B) of inputs (B, D) and actions (B, A).

        Args:
            inputs: (B, D).
            actions: (B, A).
            which: Indices of the critics to evaluate; all without it.
            frozen: Pass gradients to the actions only, not to the critics' weights.
        """
        weights, biases = list(self.weights), list(self.biases)
        if frozen:
            weights, biases = [w.detach() for w in weights], [b.detach() for b in biases]
        if which is not None:
            weights, biases = [w[which] for w in weights], [b[which] for b in biases]
        x = torch.cat([inputs, actions], dim=-1).expand(len(weights[0]), -1, -1)
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.baddbmm(bias, x, weight)
            x = functional.relu(functional.layer_norm(x, x.shape[-1:]))
        return torch.baddbmm(biases[-1], x, weights[-1])[..., 0]


def compute_td_target(
    returns: Tensor,
    discounts: Tensor,
    next_values: Tensor,
    target_min: float,
    target_max: float,
) -> Tensor:
    """n-step target (B,): return plus discounted minimum over the critics, clipped to its range.

    Args:
        returns: (B,) sum of the first rewards.
        discounts: (B,) factor of the bootstrap, 0 after a termination.
        next_values: (K, B) values of the drawn target critics.
        target_min: Lower clip of the bootstrap.
        target_max: Upper clip of the bootstrap.
    """
    return returns + discounts * next_values.amin(dim=0).clamp(target_min, target_max)


def cautious_value(values: Tensor, pessimism: float) -> Tensor:
    """(B,) what the actor maximises of the critics' values (E, B): low where they disagree.

    An actor that maximises their mean goes where one of them errs upwards: training then falls
    below the base before it rises (docs/experiments.md, 17).
    """
    if len(values) == 1:
        return values[0]
    return values.mean(dim=0) - pessimism * values.std(dim=0)


@torch.no_grad()
def mix_weights(target: nn.Module, online: nn.Module, share: float) -> None:
    """Move the target's parameters towards the online ones by the given share."""
    for old, new in zip(target.parameters(), online.parameters(), strict=True):
        old.lerp_(new, share)


def exploration_std(num_envs: int, mean: float) -> np.ndarray:
    """(N, 1) noise per env, evenly from 0 to twice the mean: some act almost greedily."""
    return np.linspace(0, 2 * mean, num_envs, dtype=np.float32)[:, None]


class OffPolicyLearner:
    """Actor, critics, their targets and optimisers.

    `act` may be called from another thread than `update`: it reads a copy of the actor that
    `update` refreshes every few steps under a lock.
    """

    publish_every = 10

    def __init__(
        self, config: OffPolicyConfig, input_dim: int, action_dim: int, seed: int
    ) -> None:
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            hidden = (config.hidden, config.hidden)
            self.actor = build_residual_actor(input_dim, action_dim, hidden)
            self.critic = CriticEnsemble(config.critics, input_dim + action_dim, config.hidden)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.ema_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self._acting = copy.deepcopy(self.actor).requires_grad_(False)
        self._acting_lock = threading.Lock()
        self.critic_optimiser = torch.optim.Adam(
            self.critic.parameters(), lr=config.critic_lr, fused=True
        )
        self.actor_optimiser = torch.optim.Adam(
            self.actor.parameters(), lr=config.actor_lr, fused=True
        )
        self.updates = 0
        self._metrics = {"critic_loss": 0.0, "q_mean": 0.0, "actor_q": 0.0, "actor_abs": 0.0}

    @torch.no_grad()
    def act(self, inputs: np.ndarray) -> np.ndarray:
        """Mean residual (N, A) in (-1, 1) of the newest published actor."""
        with self._acting_lock:
            return torch.tanh(self._acting(torch.from_numpy(inputs))).numpy()

    @torch.no_grad()
    def act_ema(self, inputs: np.ndarray) -> np.ndarray:
        """Residual (N, A) of the averaged actor, as exported."""
        return torch.tanh(self.ema_actor(torch.from_numpy(inputs))).numpy()

    def update(self, batch: TransitionBatch) -> dict[str, float]:
        """One critic update and, every `actor_delay`, one of the actor; returns metrics."""
        c = self.config
        inputs = torch.from_numpy(batch.inputs)
        self._update_critic(batch, inputs)
        mix_weights(self.target_critic, self.critic, c.tau)
        self.updates += 1
        if self.updates > c.actor_warmup and self.updates % c.actor_delay == 0:
            self._update_actor(inputs)
        if self.updates % self.publish_every == 0:
            self.publish()
        return self._metrics

    def publish(self) -> None:
        """Let `act` use the current actor."""
        with self._acting_lock:
            self._acting.load_state_dict(self.actor.state_dict())

    def state(self) -> dict[str, Any]:
        """Everything needed to continue, as a nested dict of tensors and numbers."""
        return {
            "actor": self.actor.state_dict(),
            "target_actor": self.target_actor.state_dict(),
            "ema_actor": self.ema_actor.state_dict(),
            "critic": self.critic.state_dict(),
            "target_critic": self.target_critic.state_dict(),
            "actor_optimiser": self.actor_optimiser.state_dict(),
            "critic_optimiser": self.critic_optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "updates": self.updates,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        for name in (
            "actor",
            "target_actor",
            "ema_actor",
            "critic",
            "target_critic",
            "actor_optimiser",
            "critic_optimiser",
        ):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.updates = int(state["updates"])
        self.publish()

    def _drawn_critics(self) -> Tensor:
        order = torch.randperm(self.config.critics, generator=self.generator)
        return order[: self.config.target_critics]

    def _update_critic(self, batch: TransitionBatch, inputs: Tensor) -> None:
        c = self.config
        next_inputs = torch.from_numpy(batch.next_inputs)
        with torch.no_grad():
            next_actions = torch.tanh(self.target_actor(next_inputs))
            noise = torch.randn(next_actions.shape, generator=self.generator) * c.smoothing
            noise = noise.clamp(-2 * c.smoothing, 2 * c.smoothing)
            next_actions = (next_actions + noise).clamp(-1, 1)
            next_values = self.target_critic(next_inputs, next_actions, self._drawn_critics())
            target = compute_td_target(
                torch.from_numpy(batch.returns),
                torch.from_numpy(batch.discounts),
                next_values,
                c.target_min,
                c.target_max,
            )
        values = self.critic(inputs, torch.from_numpy(batch.actions))
        # Sum over critics: each learns as if it were alone.
        loss = (values - target).square().mean(dim=1).sum()
        self.critic_optimiser.zero_grad()
        loss.backward()
        self.critic_optimiser.step()
        self._metrics["critic_loss"] = float(loss.detach()) / c.critics
        self._metrics["q_mean"] = float(values.detach().mean())

    def _update_actor(self, inputs: Tensor) -> None:
        c = self.config
        actions = torch.tanh(self.actor(inputs))
        value = cautious_value(self.critic(inputs, actions, frozen=True), c.pessimism).mean()
        loss = c.action_penalty * actions.square().mean() - value
        self.actor_optimiser.zero_grad()
        loss.backward()
        self.actor_optimiser.step()
        # Per actor update, hence twice tau: the target actor then keeps pace with the critics.
        mix_weights(self.target_actor, self.actor, 2 * c.tau)
        mix_weights(self.ema_actor, self.actor, 1 - c.ema_decay)
        self._metrics["actor_q"] = float(value.detach())
        self._metrics["actor_abs"] = float(actions.detach().abs().mean())
