# SPDX-License-Identifier: Apache-2.0
"""PPO's parts against hand-computed numbers, and learning on a toy correction."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from training.ppo import (
    PPOConfig,
    Rollout,
    approximate_kl,
    clipped_policy_loss,
    compute_gae,
    cosine_factor,
    gaussian_log_prob,
)
from training.ppo_learner import PPOLearner, build_residual_learner


def column(*values):
    return np.array(values, np.float64)[:, None]


def flags(*values):
    return np.array(values, bool)[:, None]


def test_gae_inside_one_episode():
    advantages = compute_gae(
        rewards=column(0, 1),
        values=column(0.5, 0.6),
        next_values=column(0.6, 0.8),
        terminated=flags(0, 0),
        truncated=flags(0, 0),
        gamma=0.9,
        gae_lambda=0.5,
    )
    # delta_1 = 1 + 0.9*0.8 - 0.6 = 1.12; delta_0 = 0.9*0.6 - 0.5 = 0.04
    np.testing.assert_allclose(advantages[:, 0], [0.04 + 0.45 * 1.12, 1.12])


def test_gae_terminates_without_and_truncates_with_the_next_value():
    common = {
        "rewards": column(0, 1, 0),
        "values": column(0.5, 0.6, 0.1),
        "next_values": column(0.6, 0.8, 0.2),
        "gamma": 0.9,
        "gae_lambda": 0.5,
    }
    ended = compute_gae(terminated=flags(0, 1, 0), truncated=flags(0, 0, 0), **common)
    cut = compute_gae(terminated=flags(0, 0, 0), truncated=flags(0, 1, 0), **common)
    # step 2 belongs to the next episode: delta = 0.9*0.2 - 0.1 = 0.08, and reaches no further
    np.testing.assert_allclose(ended[:, 0], [0.04 + 0.45 * 0.4, 1 - 0.6, 0.08])
    np.testing.assert_allclose(cut[:, 0], [0.04 + 0.45 * 1.12, 1 + 0.72 - 0.6, 0.08])


def test_ratio_clip_is_pessimistic():
    log_ratio = torch.log(torch.tensor([1.5, 0.5, 1.5, 0.5]))
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    # min(1.5, 1.2), min(0.5, 0.8), min(-1.5, -1.2), min(-0.5, -0.8)
    expected = -(1.2 + 0.5 - 1.5 - 0.8)
    assert clipped_policy_loss(log_ratio, advantages, 0.2).item() == pytest.approx(expected)


def test_log_prob_and_kl():
    actions = torch.tensor([[0.5, 0.0]])
    value = gaussian_log_prob(actions, torch.zeros(1, 2), -1.0).item()
    std = math.exp(-1)
    expected = -0.5 * (0.5 / std) ** 2 + 2 * (1 - 0.5 * math.log(2 * math.pi))
    assert value == pytest.approx(expected)
    assert approximate_kl(torch.zeros(3)).item() == 0
    assert approximate_kl(torch.tensor([0.1])).item() == pytest.approx(
        math.exp(0.1) - 1.1, abs=1e-6
    )


def test_cosine_schedule():
    assert [round(cosine_factor(p), 6) for p in (0, 0.5, 1, 2)] == [1, 0.5, 0, 0]
    learner = build_residual_learner(PPOConfig(), 3, 2, seed=0)
    learner.set_progress(0.5)
    rates = [group["lr"] for group in learner.optimiser.param_groups]
    assert rates == pytest.approx([1.5e-4, 2.5e-3])


def test_starts_at_the_base_with_the_papers_critic_bias():
    learner = build_residual_learner(PPOConfig(), 3, 2, seed=0)
    inputs = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    assert not learner.act(inputs).any()
    assert learner.critic[-1].bias.item() == 0.25
    spread = (learner.sample(np.repeat(inputs, 2000, axis=0))).std()
    assert spread == pytest.approx(math.exp(-1), rel=0.02)


def bandit_rollout(learner: PPOLearner, rng: np.random.Generator) -> Rollout:
    """One-step episodes; the reward is highest where the residual cancels the observed error."""
    rollout = Rollout.empty(1, 512, 1, 1)
    rollout.inputs[0] = rng.uniform(-1, 1, (512, 1))
    rollout.actions[0] = learner.sample(rollout.inputs[0])
    error = (rollout.actions[0] + rollout.inputs[0])[:, 0]
    rollout.rewards[0] = np.exp(-(error**2))
    rollout.terminated[:] = True
    return rollout


def test_kl_stop_ends_the_epochs():
    config = PPOConfig(actor_lr=0.05, target_kl=0.05, hidden=32)
    learner = build_residual_learner(config, 1, 1, seed=0)
    metrics = learner.update([bandit_rollout(learner, np.random.default_rng(0))])
    assert metrics["approximate_kl"] > 0.05
    assert 1 <= metrics["gradient_steps"] < 10
    # checked before a step is taken, not after the one that went too far
    strict = build_residual_learner(PPOConfig(target_kl=-1.0, hidden=32), 1, 1, seed=0)
    assert strict.update([bandit_rollout(strict, np.random.default_rng(0))])["gradient_steps"] == 0


def test_learns_a_correction():
    config = PPOConfig(epochs=10, actor_lr=3e-3, hidden=32)
    learner = build_residual_learner(config, 1, 1, seed=0)
    rng = np.random.default_rng(0)
    for _ in range(60):
        learner.update([bandit_rollout(learner, rng)])
    probe = np.linspace(-0.9, 0.9, 7, dtype=np.float32)[:, None]
    assert np.abs(learner.act(probe) + probe).max() < 0.25


def test_state_round_trip_continues_identically():
    rng = np.random.default_rng(0)
    learner = build_residual_learner(PPOConfig(epochs=3, hidden=16), 1, 1, seed=0)
    learner.update([bandit_rollout(learner, rng)])
    copy = build_residual_learner(PPOConfig(epochs=3, hidden=16), 1, 1, seed=0)
    copy.load_state(deepcopy(learner.state()))
    rollouts = [bandit_rollout(each, np.random.default_rng(5)) for each in (learner, copy)]
    metrics = [
        each.update([rollout]) for each, rollout in zip((learner, copy), rollouts, strict=True)
    ]
    assert metrics[0] == metrics[1]
