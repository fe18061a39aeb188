# SPDX-License-Identifier: Apache-2.0
"""Residual env, curriculum and trainers on a small deterministic env of ours.

`LineEnv` has the interface of `training.env.AssemblyEnv` and none of its physics: a point on a
line that the action moves, so that every number can be followed by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from training import residual_report
from training.curriculum import Curriculum, CurriculumConfig
from training.demonstration_replay import ResidualEpisode, fill_replay
from training.offpolicy import OffPolicyConfig
from training.offpolicy_trainer import OffPolicyTrainer
from training.ppo import PPOConfig
from training.ppo_learner import build_residual_learner
from training.ppo_trainer import PPOTrainer
from training.replay import BOUNDARY, TRUNCATED
from training.residual_env import ResidualEnv
from training.residual_report import TrainingWindow, evaluate

GOAL = 1.0


@dataclass
class LineSnapshot:
    x: np.ndarray
    t: np.ndarray

    def __getitem__(self, index):
        return LineSnapshot(self.x[index], self.t[index])

    @staticmethod
    def concatenate(parts):
        joined = [np.concatenate([getattr(p, name) for p in parts]) for name in ("x", "t")]
        return LineSnapshot(*joined)


class LineEnv:
    """Point x, moved by action[0]; success beyond GOAL, failure below -GOAL."""

    def __init__(self, starts, episode_steps=20):
        self.starts = np.asarray(starts, float)
        self.num_envs, self.episode_steps = len(starts), episode_steps
        self.x, self.t = self.starts.copy(), np.zeros(len(starts), int)
        self.actions, self.fresh_resets = [], []

    def observe(self):
        return np.stack([self.x, np.arange(self.num_envs, dtype=float)], axis=1)

    def step(self, action):
        self.actions.append(np.array(action))
        self.x = self.x + action[:, 0]
        self.t += 1
        success, failed = self.x > GOAL, self.x < -GOAL
        ended = success | failed
        return SimpleNamespace(
            obs=np.where(failed[:, None], np.nan, self.observe()),
            reward=success.astype(np.float32),
            terminated=ended,
            truncated=(self.t >= self.episode_steps) & ~ended,
            success=success,
            failure=np.where(failed, "thrown", ""),
            force=np.abs(self.x),
            refused=np.zeros(self.num_envs, bool),
        )

    def reset(self, ids, states=None):
        if states is None:
            self.fresh_resets.append(list(ids))
            self.x[ids], self.t[ids] = self.starts[ids], 0
        else:
            self.x[ids], self.t[ids] = states.x, states.t

    def snapshot(self, ids):
        return LineSnapshot(self.x[ids].copy(), self.t[ids].copy())


class LineBase:
    """Plans -0.01 * x of the planning moment, plus 0.001 per step of the chunk."""

    action_steps = 4
    normalizer = SimpleNamespace(
        denormalize_action=lambda action: 2.0 * np.asarray(action, np.float64)
    )

    def __init__(self):
        self.planned = []

    def predict_chunk(self, obs, generator):
        assert np.isfinite(obs).all()
        torch.randn(1, generator=generator)
        self.planned.append(obs[:, 1].astype(int).tolist())
        ramp = 0.001 * np.arange(8)
        return (-0.01 * obs[:, :1] + ramp)[:, :, None].astype(np.float32)


FAST = OffPolicyConfig(
    hidden=32, batch_size=64, capacity=20_000, prefill_episodes=16, actor_warmup=50,
    critic_lr=2e-3, actor_lr=2e-3, gamma=0.95, noise=0.5, update_ratio=0.25, ema_decay=0.98,
)  # fmt: skip


def build_input(obs, base_action):
    return np.concatenate([obs[:, :1], base_action], axis=1).astype(np.float32)


def make(starts, curriculum=None, episode_steps=20):
    env = LineEnv(starts, episode_steps)
    chosen = Curriculum(curriculum, env, seed=0) if curriculum else None
    wrapped = ResidualEnv(env, LineBase(), build_input, 0.1, seed=0, curriculum=chosen)
    return wrapped, env, wrapped.base


def still(n):
    return np.zeros((n, 1), np.float32)


def test_zero_residual_is_bitwise_the_base():
    wrapped, env, base = make([0.3, -0.2])
    wrapped.reset()
    for _ in range(10):
        expected = base.normalizer.denormalize_action(wrapped.base_action.copy())
        wrapped.step(still(2))
        assert env.actions[-1].tobytes() == expected.tobytes()


def test_residual_is_scaled_and_added_in_normalised_space():
    wrapped, env, _ = make([0.0])
    wrapped.reset()
    wrapped.step(np.full((1, 1), 0.5, np.float32))
    assert env.actions[0][0, 0] == pytest.approx(2.0 * 0.1 * 0.5)


def test_each_env_plans_when_its_own_chunk_is_used_up():
    wrapped, _, base = make([0.0, 0.0, 0.0])
    wrapped.reset()
    assert base.planned == [[0, 1, 2]]
    kick = still(3)
    for step in range(8):
        kick[:] = 0
        if step == 1:
            kick[1] = 6.0  # env 1 succeeds and starts again at once
        outcome = wrapped.step(kick)
        if step == 1:
            assert outcome.success.tolist() == [False, True, False]
            assert outcome.inputs[1, 0] == 0.0
    # env 1 planned after its reset in step 1, hence again in step 5; the others in 3 and 7
    assert base.planned[1:] == [[1], [0, 2], [1], [0, 2]]


def test_only_finished_envs_restart_and_failures_stay_finite():
    wrapped, env, _ = make([0.1, 0.2, 0.3])
    wrapped.reset()
    env.fresh_resets.clear()
    outcome = wrapped.step(np.array([[0.0], [-9.0], [0.0]], np.float32))
    assert env.fresh_resets == [[1]]
    assert outcome.terminated.tolist() == [False, True, False]
    assert outcome.reward.tolist() == [0, 0, 0]
    assert np.isfinite(outcome.bootstrap).all()
    assert outcome.inputs[:, 0] == pytest.approx([0.1 - 0.002, 0.2, 0.3 - 0.006])
    (end,) = outcome.episodes
    assert (end.env, end.success, end.failure, end.steps, end.fresh) == (1, False, "thrown", 1, 1)


def test_truncation_bootstraps_with_the_action_that_would_follow():
    wrapped, env, base = make([0.4], episode_steps=4)  # ends together with its chunk
    wrapped.reset()
    for _ in range(4):
        outcome = wrapped.step(still(1))
    assert outcome.truncated.all()
    assert not outcome.terminated.any()
    final_x = 0.4 + sum(action[0, 0] for action in env.actions)
    assert outcome.bootstrap[0] == pytest.approx([final_x, -0.01 * final_x])
    assert outcome.inputs[0] == pytest.approx([0.4, -0.004])
    assert base.planned == [[0], [0], [0]]  # start, bootstrap, new episode
    assert outcome.episodes[0].failure == "timeout"


def test_plan_for_the_bootstrap_is_the_one_that_is_executed():
    wrapped, _, base = make([0.4])
    wrapped.reset()
    for _ in range(4):
        outcome = wrapped.step(still(1))
    np.testing.assert_array_equal(outcome.bootstrap, outcome.inputs)
    assert len(base.planned) == 2


def test_curriculum_starts_from_states_of_successes_and_keeps_their_time():
    settings = CurriculumConfig(start_probability=1.0, snapshot_every=1, min_remaining=0)
    wrapped, env, _ = make([0.0], settings)
    wrapped.reset()
    push = np.full((1, 1), 1.6, np.float32)  # 0.32 a step: three steps and a bit
    outcome = wrapped.step(push)
    while not outcome.episodes:
        outcome = wrapped.step(push)
    assert outcome.episodes[0].fresh
    assert env.t[0] > 0
    assert env.x[0] == pytest.approx(0.32 * env.t[0], abs=0.05)
    while not (outcome := wrapped.step(push)).episodes:
        pass
    assert not outcome.episodes[0].fresh
    assert outcome.success[0]


def test_curriculum_prefers_uncertain_states_and_drops_hopeless_ones():
    env = LineEnv([0.0])
    settings = CurriculumConfig(
        start_probability=1.0, snapshot_every=1, min_remaining=0, failure_margin=0, per_success=3
    )
    curriculum = Curriculum(settings, env, seed=0)

    def play(success):
        for t in range(1, 4):
            env.t[0], env.x[0] = t, t
            curriculum.record(np.array([0]))
        curriculum.end_episode(0, success)

    play(True)
    certain = curriculum.pools[True][0]
    certain.successes = 98
    drawn = []
    for _ in range(300):
        drawn.append(int(curriculum.choose(0).x[0]))
    counts = np.bincount(drawn, minlength=4)
    assert counts[int(certain.snapshot.x[0])] < 0.1 * 300

    play(False)
    hopeless = curriculum.pools[False][0]
    hopeless.failures = 4
    play(False)
    assert hopeless not in curriculum.pools[False]

    copy = Curriculum(settings, env, seed=1)
    copy.load_state(curriculum.state(), LineSnapshot)
    assert len(copy) == len(curriculum)
    assert copy.pools[True][0].successes == 98
    assert copy.choose(0).x == curriculum.choose(0).x


def test_curriculum_keeps_no_states_close_to_the_time_limit():
    env = LineEnv([0.0], episode_steps=10)
    settings = CurriculumConfig(snapshot_every=1, min_remaining=6, per_success=9)
    curriculum = Curriculum(settings, env, seed=0)
    for t in range(1, 10):
        env.t[0] = t
        curriculum.record(np.array([0]))
    curriculum.end_episode(0, True)
    assert sorted(state.t for state in curriculum.pools[True]) == [1, 2, 3, 4]


def test_saved_replay_closes_running_episodes(tmp_path):
    wrapped, _, _ = make(np.zeros(16), episode_steps=1000)
    wrapped.reset()
    trainers = [OffPolicyTrainer(FAST, wrapped, 1, 0, TrainingWindow(), False) for _ in "ab"]
    for _ in range(6):
        trainers[0].advance(0.0)
    trainers[0].save_replay(tmp_path / "replay.npz")
    trainers[1].load_replay(tmp_path / "replay.npz")
    trainers[1].advance(0.0)  # an episode that has nothing to do with the stored one
    replay = trainers[1].replay
    last_stored = replay.inputs[:, 6]
    np.testing.assert_array_equal(last_stored, trainers[0].replay.inputs[:, 6])
    assert (replay.kinds[:, 5] == TRUNCATED).all()
    assert (replay.kinds[:, 6] == BOUNDARY).all()


def test_evaluation_counts_the_first_episode_of_each_env():
    wrapped, _, _ = make([0.9, 0.0, -0.9])
    result = evaluate(wrapped, lambda inputs: np.full((3, 1), 0.6, np.float32))
    # 0.12 a step: 1, 9 and 16 steps, all within 20; env 0 succeeds many times meanwhile
    assert (result.n, result.successes) == (3, 3)
    assert result.mean_steps == pytest.approx((1 + 9 + 16) / 3, abs=1)
    low, high = result.ci95
    assert 0.4 < low < high == 1.0


@pytest.mark.parametrize("parallel", [False, True])
def test_offpolicy_trainer_learns_to_reach_the_goal(parallel):
    wrapped, _, _ = make(np.linspace(-0.8, 0.4, 16), CurriculumConfig(snapshot_every=2))
    wrapped.reset()
    window = TrainingWindow()
    trainer = OffPolicyTrainer(FAST, wrapped, 1, 0, window, parallel)
    try:
        while trainer.updates < 600:
            trainer.advance(0.0)
    finally:
        trainer.close()
    assert trainer.updates <= 0.25 * trainer.steps
    test_env, _, _ = make(np.linspace(-0.8, 0.4, 16))
    before = evaluate(test_env, lambda inputs: still(16))
    after = evaluate(test_env, trainer.learner.act_ema)
    assert before.successes == 0
    assert after.successes >= 14


def test_half_of_each_batch_are_demonstrations():
    wrapped, _, _ = make(np.linspace(-0.8, 0.4, 16))
    wrapped.reset()
    marked = np.full((6, wrapped.inputs.shape[1]), 7, np.float32)
    shown = ResidualEpisode(marked, np.full((6, 1), 0.5, np.float32), np.eye(6, dtype="f4")[-1])
    demonstrations = fill_replay([shown], FAST.n_step)
    trainer = OffPolicyTrainer(FAST, wrapped, 1, 0, TrainingWindow(), False, demonstrations)
    batches = []
    learn = trainer.learner.update
    trainer.learner.update = lambda batch: batches.append(batch) or learn(batch)
    while trainer.updates < 3:
        trainer.advance(0.0)
    for batch in batches:
        assert len(batch.inputs) == FAST.batch_size
        assert (batch.inputs[:, 0] == 7).sum() == FAST.batch_size // 2
        assert batch.returns[batch.inputs[:, 0] == 7].max() == 1


def test_learner_error_in_the_thread_reaches_the_caller():
    wrapped, _, _ = make(np.linspace(-0.8, 0.4, 16))
    wrapped.reset()
    trainer = OffPolicyTrainer(FAST, wrapped, 1, 0, TrainingWindow(), True)

    def fail(batch):
        raise ValueError("broken on purpose")

    trainer.learner.update = fail

    def go_on():
        for _ in range(2000):
            trainer.advance(0.0)

    with pytest.raises(ValueError, match="on purpose"):
        go_on()
    trainer.close()


def test_ppo_trainer_learns_to_reach_the_goal():
    wrapped, _, _ = make(np.linspace(-0.8, 0.8, 32))
    wrapped.reset()
    config = PPOConfig(rollout_steps=32, epochs=10, actor_lr=3e-3, hidden=32, gamma=0.95)
    learner = build_residual_learner(config, wrapped.inputs.shape[1], 1, 0)
    trainer = PPOTrainer(learner, [wrapped], 1, TrainingWindow())
    for _ in range(25):
        trainer.advance(0.0)
    test_env, _, _ = make(np.linspace(-0.8, 0.4, 16))
    assert evaluate(test_env, trainer.learner.act).successes >= 14


def test_the_time_of_an_evaluation_does_not_count_in_speeds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(residual_report.time, "monotonic", lambda: now[0])
    window = TrainingWindow()
    now[0] += 20.0
    window.leave_out(5.0)
    assert window.summary(3000, 300)["env_steps_per_s"] == pytest.approx(200.0)
    now[0] += 10.0
    assert window.summary(4000, 300)["env_steps_per_s"] == pytest.approx(100.0)
