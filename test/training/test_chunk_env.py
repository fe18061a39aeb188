# SPDX-License-Identifier: Apache-2.0
"""Decisions per chunk on a point on a line, so that every number can be followed by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from training.chunk_env import ChunkEnv
from training.ppo import PPOConfig
from training.ppo_learner import build_residual_learner
from training.ppo_trainer import PPOTrainer
from training.residual_report import TrainingWindow, evaluate

GOAL = 1.0
STEPS = 4


class LineEnv:
    """Point x, moved by action[0]; success beyond GOAL, failure below -GOAL."""

    def __init__(self, starts, episode_steps=20):
        self.starts = np.asarray(starts, float)
        self.num_envs, self.episode_steps = len(starts), episode_steps
        self.x, self.t = self.starts.copy(), np.zeros(len(starts), int)
        self.actions, self.resets = [], []

    def observe(self):
        return self.x[:, None].copy()

    def hold_action(self):
        return np.zeros((self.num_envs, 1))

    def step(self, action):
        self.actions.append(np.array(action))
        self.x = self.x + action[:, 0]
        self.t += 1
        success, failed = self.x > GOAL, self.x < -GOAL
        return SimpleNamespace(
            obs=self.observe(),
            reward=success.astype(np.float32),
            terminated=success | failed,
            truncated=(self.t >= self.episode_steps) & ~success & ~failed,
            success=success,
            failure=np.where(failed, "thrown", ""),
            force=np.abs(self.x),
            refused=np.zeros(self.num_envs, bool),
        )

    def reset(self, ids, states=None):
        self.resets.append(list(ids))
        self.x[ids], self.t[ids] = self.starts[ids], 0


class LineHead:
    """Plans a ramp of 0.01 a step; the answer, one number a step, is added to it."""

    normalizer = SimpleNamespace(denormalize_action=lambda action: np.asarray(action, np.float64))
    steps = STEPS

    def plan(self, obs, generator):
        torch.randn(1, generator=generator)
        ramp = 0.01 * np.arange(STEPS, dtype=np.float32)
        return np.tile(ramp[:, None], (len(obs), 1, 1))

    def build_input(self, obs, plan):
        return np.concatenate([obs, plan[:, -1]], axis=1).astype(np.float32)

    def decode(self, obs, plan, answer):
        return plan + answer.reshape(plan.shape)


def make(starts, episode_steps=20):
    env = LineEnv(starts, episode_steps)
    wrapped = ChunkEnv(env, LineHead(), seed=0)
    wrapped.reset()
    return wrapped, env


def constant(value, n):
    return np.full((n, STEPS), value, np.float32)


def test_zero_answer_is_bitwise_the_plan():
    wrapped, env = make([0.0, -0.5])
    wrapped.step(constant(0.0, 2))
    expected = 0.01 * np.arange(STEPS, dtype=np.float32)
    assert np.array(env.actions)[:, 0, 0].astype(np.float32).tobytes() == expected.tobytes()


def test_an_episode_that_ends_inside_a_chunk_waits_and_is_paid_once():
    wrapped, env = make([0.7, 0.0])
    step = wrapped.step(constant(0.2, 2))  # 0.9, 1.11: success at the second of four steps
    assert step.reward.tolist() == [1.0, 0.0]
    assert step.terminated.tolist() == [True, False]
    assert [action[0, 0] for action in env.actions[2:]] == [0.0, 0.0]  # holds still
    assert [action[1, 0] > 0 for action in env.actions] == [True] * 4
    assert env.resets == [[0, 1], [0]]
    (end,) = step.episodes
    assert (end.env, end.success, end.steps, end.fresh) == (0, True, 2, True)
    assert step.inputs[0, 0] == pytest.approx(0.7)
    assert not step.bootstrap[0].any()
    assert step.force[0] == pytest.approx(1.11)  # not that of the steps it waited


def test_a_time_limit_inside_a_chunk_bootstraps_from_where_it_was_cut():
    wrapped, _ = make([0.0], episode_steps=6)
    wrapped.step(constant(0.0, 1))
    step = wrapped.step(constant(0.1, 1))
    assert step.truncated.tolist() == [True]
    # 0.06 after the first chunk, then 0.1 and 0.11 before the cut
    assert step.bootstrap[0, 0] == pytest.approx(0.06 + 0.21)
    assert step.inputs[0, 0] == 0.0
    assert step.episodes[0].failure == "timeout"
    assert step.reward[0] == 0.0


def test_failure_inside_a_chunk_pays_nothing():
    wrapped, _ = make([-0.9])
    step = wrapped.step(constant(-0.3, 1))
    assert step.terminated[0]
    assert step.reward[0] == 0.0
    assert step.episodes[0].failure == "thrown"


def test_ppo_learns_to_reach_the_goal_by_chunks():
    wrapped, _ = make(np.linspace(-0.8, 0.4, 32))
    config = PPOConfig(rollout_steps=8, epochs=10, actor_lr=3e-3, hidden=32, log_std=-2.0)
    learner = build_residual_learner(config, wrapped.inputs.shape[1], STEPS, 0)
    trainer = PPOTrainer(learner, [wrapped], STEPS, TrainingWindow())
    for _ in range(25):
        trainer.advance(0.0)
    assert trainer.steps == 25 * 8 * 32 * STEPS
    test_env, _ = make(np.linspace(-0.8, 0.4, 16))
    before = evaluate(test_env, lambda inputs: constant(0.0, len(inputs)))
    assert before.successes < 8
    assert evaluate(test_env, trainer.learner.act).successes >= 14


def test_a_rollout_is_an_episode_of_chunks_unless_told():
    wrapped, _ = make([0.0, 0.1], episode_steps=18)
    learner = build_residual_learner(PPOConfig(epochs=1), wrapped.inputs.shape[1], STEPS, 0)
    trainer = PPOTrainer(learner, [wrapped], STEPS, TrainingWindow())
    trainer.advance(0.0)
    assert trainer.steps == 2 * 5 * STEPS, "the last chunk is cut short by the limit"


def test_the_plans_noise_resumes():
    wrapped, _ = make([0.0])
    state = wrapped.state()
    other, _ = make([0.0])
    other.step(constant(0.0, 1))
    assert not torch.equal(other.state()["generator"], state["generator"])
    other.load_state(state)
    assert torch.equal(other.state()["generator"], state["generator"])
