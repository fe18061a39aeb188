# SPDX-License-Identifier: Apache-2.0
"""Off-policy learner: its maths by hand, and learning on a toy correction."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from resip_ros.core.errors import ConfigError
from training.offpolicy import (
    CriticEnsemble,
    OffPolicyConfig,
    OffPolicyLearner,
    cautious_value,
    compute_td_target,
    exploration_std,
)
from training.replay import Replay, TransitionBatch

SMALL = OffPolicyConfig(
    hidden=32,
    batch_size=64,
    actor_warmup=50,
    n_step=2,
    gamma=0.9,
    critic_lr=3e-3,
    actor_lr=3e-3,
    ema_decay=0.98,
)


def test_td_target_takes_the_minimum_and_clips_the_bootstrap():
    target = compute_td_target(
        returns=torch.tensor([0.0, 0.0, 1.0, 0.0]),
        discounts=torch.tensor([0.9, 0.9, 0.0, 0.81]),
        next_values=torch.tensor([[0.5, 2.0, 7.0, -3.0], [0.4, 3.0, 9.0, 1.0]]),
        target_min=-0.05,
        target_max=1.0,
    )
    assert target.tolist() == pytest.approx([0.36, 0.9, 1.0, -0.0405])


def test_ensemble_equals_separate_critics():
    torch.manual_seed(0)
    critic = CriticEnsemble(3, 5, 8)
    inputs, actions = torch.randn(7, 3), torch.randn(7, 2)
    values = critic(inputs, actions)
    x = torch.cat([inputs, actions], dim=1)
    for k in range(3):
        h = x
        for weight, bias in zip(critic.weights[:-1], critic.biases[:-1], strict=True):
            h = h @ weight[k] + bias[k]
            h = (h - h.mean(1, keepdim=True)) / (
                h.var(1, correction=0, keepdim=True) + 1e-5
            ).sqrt()
            h = h.relu()
        expected = (h @ critic.weights[-1][k] + critic.biases[-1][k])[:, 0]
        torch.testing.assert_close(values[k], expected)
    drawn = critic(inputs, actions, torch.tensor([2, 0]))
    torch.testing.assert_close(drawn, values[[2, 0]])


def test_frozen_critic_passes_gradients_to_actions_only():
    critic = CriticEnsemble(2, 3, 4)
    actions = torch.zeros(5, 1, requires_grad=True)
    critic(torch.randn(5, 2), actions, frozen=True).sum().backward()
    assert actions.grad is not None
    assert actions.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critic.parameters())


def test_the_actor_is_promised_less_where_critics_disagree():
    agreed, disputed = [0.5, 0.5, 0.5], [0.1, 0.6, 1.1]
    values = torch.tensor([agreed, disputed]).T
    assert cautious_value(values, 0.0).tolist() == pytest.approx([0.5, 0.6])
    assert cautious_value(values, 1.0).tolist() == pytest.approx([0.5, 0.1])
    assert cautious_value(values[:1], 1.0).tolist() == pytest.approx([0.5, 0.1]), "one critic"


def test_a_cautious_actor_stays_where_critics_agree():
    """Critics that agree at 0 and dispute the rest pull an actor that trusts them away from it."""

    def trained(pessimism):
        config = replace(SMALL, pessimism=pessimism, action_penalty=0.0, actor_warmup=0)
        learner = OffPolicyLearner(config, 1, 1, seed=0)
        slopes = torch.tensor([2.0, 1.0, 0.0, -1.0])[:, None]
        learner.critic.forward = lambda i, a, which=None, frozen=False: slopes * a[:, 0]
        for _ in range(300):
            learner._update_actor(torch.ones(8, 1))
        return float(learner.actor(torch.ones(1, 1)).tanh().detach())

    assert trained(0.0) > 0.9
    assert abs(trained(1.0)) < 0.1


def test_exploration_spreads_from_greedy_to_twice_the_mean():
    std = exploration_std(5, 0.2)
    np.testing.assert_allclose(std[:, 0], [0, 0.1, 0.2, 0.3, 0.4], rtol=1e-6)


def test_starts_at_the_base():
    learner = OffPolicyLearner(SMALL, 3, 2, seed=0)
    inputs = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    assert not learner.act(inputs).any()
    assert not learner.act_ema(inputs).any()


def toy_steps(learner: OffPolicyLearner, replay: Replay, steps: int, seed: int) -> None:
    """1-D: the input is an error; the residual should cancel it; success within 0.1 of zero."""
    rng = np.random.default_rng(seed)
    n = len(replay.written)
    error = rng.uniform(-1, 1, (n, 1)).astype(np.float32)
    age = np.zeros(n, int)
    for _ in range(steps):
        noise = rng.standard_normal((n, 1)).astype(np.float32) * exploration_std(n, 0.4)
        action = np.clip(learner.act(error) + noise, -1, 1)
        after = np.clip(error + 0.5 * action, -1.5, 1.5).astype(np.float32)
        age += 1
        success = np.abs(after[:, 0]) < 0.1
        late = (age >= 10) & ~success
        replay.add(error, action, success.astype(np.float32), success, late, after, success)
        done = success | late
        error = np.where(done[:, None], rng.uniform(-1, 1, (n, 1)), after).astype(np.float32)
        age[done] = 0


def test_learns_a_correction():
    learner = OffPolicyLearner(SMALL, 1, 1, seed=0)
    replay = Replay(20_000, 16, 1, 1)
    rng = np.random.default_rng(3)
    for k in range(20):
        toy_steps(learner, replay, 40, seed=k)
        for _ in range(100):
            learner.update(
                replay.sample(
                    SMALL.batch_size, SMALL.n_step, SMALL.gamma, SMALL.success_fraction, rng
                )
            )
    probe = np.array([[-0.9], [-0.5], [0.5], [0.9]], np.float32)
    residual = learner.act_ema(probe)
    assert (np.sign(residual) == -np.sign(probe)).all()
    reached = np.abs(probe + 0.5 * residual)
    assert (reached[1:3] < 0.2).all()
    assert (reached[[0, 3]] < 0.6).all()


def random_batch(seed: int) -> TransitionBatch:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    return TransitionBatch(draw(64, 3), draw(64, 2), draw(64), draw(64, 3), np.full(64, 0.8, "f4"))


def test_state_round_trip_continues_identically():
    learner = OffPolicyLearner(SMALL, 3, 2, seed=0)
    for k in range(60):
        learner.update(random_batch(k))
    copy = OffPolicyLearner(SMALL, 3, 2, seed=7)
    copy.load_state(deepcopy(learner.state()))
    for each in (learner, copy):
        for k in range(10):
            each.update(random_batch(100 + k))
    inputs = random_batch(0).inputs
    np.testing.assert_array_equal(learner.act_ema(inputs), copy.act_ema(inputs))
    assert np.abs(learner.act_ema(inputs)).max() > 0
    assert copy.updates == 70


def test_acting_sees_the_actor_only_when_published():
    learner = OffPolicyLearner(SMALL, 3, 2, seed=0)
    with torch.no_grad():
        learner.actor[-1].weight.fill_(0.1)
    inputs = np.ones((1, 3), np.float32)
    assert not learner.act(inputs).any()
    learner.publish()
    assert learner.act(inputs).any()


def test_refuses_impossible_settings():
    with pytest.raises(ConfigError, match="target_critics"):
        OffPolicyConfig(critics=2, target_critics=3)
    with pytest.raises(ConfigError, match="pessimism must be at least 0"):
        OffPolicyConfig(pessimism=-1.0)
    with pytest.raises(ConfigError, match="gamma"):
        OffPolicyConfig(gamma=1.0)
