# SPDX-License-Identifier: Apache-2.0
"""PPO with the settings of ResiP's Tables VI, VII and IX: one core for three learners.

ResiP corrects every step, ResiP-C a whole chunk, PPO-C fine-tunes a chunked policy itself and is
held near the cloned one by a KL penalty. They differ by actor, environment and settings.

Where the paper's own code differs from the paper or is wrong, this does what is right:

- Every env restarts on its own when its episode ends. There, finished envs keep stepping until
  the whole batch is done and their samples stay in it, which pulls the critic to zero.
- A time limit bootstraps from the value of the state it cut. There, it counts as terminal.
- The sparse reward enters as it is. There, it is divided by a running standard deviation and
  clipped, so that a success is worth about 5 by accident of the clip.
- The first update has the full learning rate. There, the warm-up gives it zero.
- KL is checked before a step is taken, not after the step that went too far.
- The penalty is the KL divergence itself. There, it is a cross-entropy; and PPO-C's standard
  deviation is learned, while here it stays as it is given.

Sizes (envs, rollout length, epochs, minibatches) are parameters; the paper uses 1024 envs x one
episode, 50 epochs, one minibatch.

Shape letters: T rollout steps, N envs, D input dimension, A dimension of what the actor answers
(a residual, or a flattened chunk), B batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resip_ros.core.errors import ConfigError


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO; the defaults are the paper's."""

    rollout_steps: int | None = None
    """Answers per env between updates; by default an episode's, as in the paper."""
    epochs: int = 50
    """Passes over a rollout (Table IX)."""
    minibatches: int = 1
    """Parts of a rollout per pass (Table VI)."""
    gamma: float = 0.999
    """Discount (Table VI)."""
    gae_lambda: float = 0.95
    """GAE lambda (Table VI)."""
    clip: float = 0.2
    """Probability ratio clip (Table VI)."""
    target_kl: float = 0.1
    """A rollout's updates end when the approximate KL exceeds this (Table VI)."""
    max_grad_norm: float = 1.0
    """Gradient norm clip over actor and critic together (Table VI)."""
    actor_lr: float = 3e-4
    """AdamW step size of the actor (Table IX), cosine to zero."""
    critic_lr: float = 5e-3
    """AdamW step size of the critic (Table IX), cosine to zero."""
    value_coefficient: float = 1.0
    """Weight of the value loss (Table IX)."""
    log_std: float = -1.0
    """Fixed log standard deviation of the actor, for a residual before alpha (Table IX)."""
    kl_coefficient: float = 0.0
    """Weight of KL(actor || cloned policy), for PPO-C (Table VII); a residual has no such."""
    hidden: int = 256
    """Width of the two hidden layers of the critic and of a residual actor (Table VI)."""
    critic_bias: float = 0.25
    """Initial bias of the critic's head (Table VI)."""

    def __post_init__(self) -> None:
        """Check the ranges that would otherwise fail late or silently."""
        rollout_steps = 1 if self.rollout_steps is None else self.rollout_steps
        if min(rollout_steps, self.epochs, self.minibatches) < 1:
            raise ConfigError("rollout_steps, epochs and minibatches must be at least 1")
        if not 0 < self.gamma <= 1 or not 0 <= self.gae_lambda <= 1:
            raise ConfigError(
                f"gamma must lie in (0, 1] and gae_lambda in [0, 1], got {self.gamma} and "
                f"{self.gae_lambda}"
            )
        if self.kl_coefficient < 0:
            raise ConfigError(f"kl_coefficient must be at least 0, got {self.kl_coefficient}")


def chunk_ppo() -> PPOConfig:
    """The paper's settings for PPO-C (Table VII)."""
    return PPOConfig(
        epochs=1,
        actor_lr=1e-4,
        critic_lr=1e-4,
        log_std=-4.0,
        kl_coefficient=0.5,
    )


@dataclass
class Rollout:
    """T steps of N envs, float32 but for the flags."""

    inputs: np.ndarray
    """(T, N, D) the actor's inputs."""
    actions: np.ndarray
    """(T, N, A) what the actor answered: unscaled residuals, or plans."""
    rewards: np.ndarray
    """(T, N)."""
    terminated: np.ndarray
    """(T, N) bool: no value follows."""
    truncated: np.ndarray
    """(T, N) bool: the episode was cut, the value of `bootstrap` follows."""
    bootstrap: np.ndarray
    """(T, N, D) input after each step and before any reset."""

    @classmethod
    def empty(cls, steps: int, num_envs: int, input_dim: int, action_dim: int) -> Rollout:
        """Zero-filled rollout to write into."""
        return cls(
            inputs=np.zeros((steps, num_envs, input_dim), np.float32),
            actions=np.zeros((steps, num_envs, action_dim), np.float32),
            rewards=np.zeros((steps, num_envs), np.float32),
            terminated=np.zeros((steps, num_envs), bool),
            truncated=np.zeros((steps, num_envs), bool),
            bootstrap=np.zeros((steps, num_envs, input_dim), np.float32),
        )

    def record(
        self,
        t: int,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        bootstrap: np.ndarray,
    ) -> None:
        """Write what step t led to: (N,) each, and inputs (N, D)."""
        self.rewards[t], self.bootstrap[t] = reward, bootstrap
        self.terminated[t], self.truncated[t] = terminated, truncated


def compute_gae(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    gamma: float,
    gae_lambda: float,
) -> np.ndarray:
    """Generalised advantages (arXiv 1506.02438) over episodes that end inside the rollout.

    Args:
        rewards: (T, N).
        values: (T, N) value of the state each action was chosen in.
        next_values: (T, N) value of the state after the step, before any reset.
        terminated: (T, N) bool; the next value counts as 0.
        truncated: (T, N) bool; the next value counts, the sum over later steps stops.
        gamma: Discount.
        gae_lambda: Trade-off between bias and variance.

    Returns:
        (T, N) advantages.
    """
    advantages = np.zeros_like(rewards)
    ended = terminated | truncated
    carried = np.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * next_values[t] * ~terminated[t] - values[t]
        carried = delta + gamma * gae_lambda * ~ended[t] * carried
        advantages[t] = carried
    return advantages


def gaussian_log_prob(actions: Tensor, mean: Tensor, log_std: float) -> Tensor:
    """(B,) log density of actions (B, A) under a Gaussian with one fixed log std."""
    scaled = (actions - mean) / math.exp(log_std)
    constant = log_std + 0.5 * math.log(2 * math.pi)
    return (-0.5 * scaled.square() - constant).sum(dim=-1)


def clipped_policy_loss(log_ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's pessimistic surrogate of (B,) samples, summed."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, clipped * advantages).sum()


def approximate_kl(log_ratio: Tensor) -> Tensor:
    """Low-variance estimate of KL(old || new) from (B,) log ratios of old samples, summed."""
    return (log_ratio.exp() - 1 - log_ratio).sum()


def cosine_factor(progress: float) -> float:
    """Learning-rate factor, from 1 at progress 0 to 0 at progress 1."""
    return 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def gaussian_kl(mean: Tensor, reference: Tensor, log_std: float) -> Tensor:
    """KL divergences of Gaussians with means (B, A) and one standard deviation, summed."""
    return 0.5 * ((mean - reference) / math.exp(log_std)).square().sum()
