# SPDX-License-Identifier: Apache-2.0
"""Demonstrations as the residual's environment would have told them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resip_ros.core.errors import ConfigError
from resip_ros.core.observation import POSE_DIM, PROPRIO_DIM, observation_names
from resip_ros.core.tasks import get_task, goal_poses
from resip_ros.policy.bundle import load_base
from resip_ros.policy.runtime import BasePolicy, residual_input
from training.demonstration_replay import (
    ResidualEpisode,
    compute_rewards,
    fill_replay,
    join_batches,
    plan_open_loop,
    residual_episode,
)
from training.env import AssemblyEnv
from training.residual_env import ResidualEnv

LIFTED = np.array([0.0, 0.0, 0.3])
BESIDE = np.array([0.2, 0.0, 0.0])


def observe(task, offsets):
    """(n, Do) every pair's child this far from its goal, (n, P, 3) m; parents at the origin."""
    obs = np.zeros((len(offsets), len(observation_names(task))))
    parts = obs[:, len(task.arms) * PROPRIO_DIM :].reshape(len(obs), -1, POSE_DIM)
    parts[..., 6] = 1
    for number, pair in enumerate(task.pairs):
        (goal, *_), (turn, *_) = goal_poses(pair)
        assert np.allclose(turn, np.eye(3)), "the test takes a goal without a turn"
        parent, child = (task.observed.index(body) for body in (pair.parent, pair.child))
        parts[:, child, :3] = parts[:, parent, :3] + goal + offsets[:, number]
    return obs


def test_last_step_joins_what_was_not_seen_joined():
    obs = observe(get_task("peg_in_hole"), np.tile(LIFTED, (4, 1, 1)))
    assert compute_rewards(get_task("peg_in_hole"), obs).tolist() == [0, 0, 0, 1]


def test_an_episode_ends_when_it_was_seen_joined():
    offsets = np.tile(LIFTED, (6, 1, 1))
    offsets[3:] = 0
    obs = observe(get_task("peg_in_hole"), offsets)
    assert compute_rewards(get_task("peg_in_hole"), obs).tolist() == [0, 0, 1]


def test_a_part_that_lies_on_the_bench_is_no_success():
    obs = observe(get_task("peg_in_hole"), np.tile(BESIDE, (4, 1, 1)))
    assert compute_rewards(get_task("peg_in_hole"), obs) is None


@pytest.mark.parametrize("first", [True, False])
def test_every_pair_pays_once(first):
    task = get_task("lamp")
    offsets = np.tile(LIFTED, (6, 2, 1))
    offsets[2:, 0] = 0 if first else 0.2
    rewards = compute_rewards(task, observe(task, offsets))
    assert rewards is None if not first else rewards.tolist() == [0, 1, 0, 0, 0, 1]


class Ramp:
    """Plans onwards from what it sees."""

    normalizer, action_steps = None, 3

    def predict_chunk(self, obs, generator):
        del generator
        return obs[:, :1, None] + np.arange(5, dtype=np.float32)[:, None] / 10


def test_a_chunk_is_executed_open_loop_from_its_first_observation():
    obs = np.array([[0, 10, 20, 30, 40, 50, 60, 70]], np.float32).T
    planned = plan_open_loop(Ramp(), obs, torch.Generator())
    np.testing.assert_allclose(planned[:, 0], [0, 0.1, 0.2, 30, 30.1, 30.2, 60, 60.1], rtol=1e-6)


def test_is_what_the_environment_tells_the_learner(tiny_base, near_start):
    """Observations and actions recorded there give its inputs and residuals back."""
    tiny = load_base(tiny_base / "base")
    base = BasePolicy(tiny.card, near_start, tiny.copy_network())
    alpha = 0.1

    def build_input(obs, action):
        return residual_input(base.task, base.normalizer, obs, action, "relative")

    env = AssemblyEnv("one_leg", 1, seed=5, num_threads=1, pool_size=2)
    wrapped = ResidualEnv(env, base, build_input, alpha, seed=3)
    wrapped.reset()
    rng = np.random.default_rng(0)
    told, applied, obs, actions = [], [], [], []
    for _ in range(20):
        residual = rng.uniform(-1, 1, (1, 10)).astype(np.float32)
        told.append(wrapped.inputs[0])
        applied.append(residual[0])
        obs.append(env.observe()[0])
        actions.append(wrapped.net_action(residual)[0])
        assert not wrapped.step(residual).episodes

    recorded = np.array(obs, np.float32), np.array(actions, np.float32), np.zeros(20, np.float32)
    generator = torch.Generator().manual_seed(3)
    episode = residual_episode(base, build_input, alpha, recorded, generator)
    np.testing.assert_allclose(episode.inputs, told, atol=1e-3)
    np.testing.assert_allclose(episode.residuals, applied, atol=1e-3)


def episode_of(residuals, first=0):
    """Inputs count from `first`; the last step is the success."""
    steps = len(residuals)
    inputs = np.arange(first, first + steps, dtype=np.float32)[:, None]
    rewards = np.eye(steps, dtype=np.float32)[-1]
    return ResidualEpisode(inputs, np.array(residuals, np.float32)[:, None], rewards)


def test_steps_out_of_reach_are_left_out_and_not_crossed():
    out = 1.5
    episodes = [
        episode_of([0.1, 0.2, out, out, 0.5, 0.6], first=0),
        episode_of([out, 0.2, -1.0], first=10),
        episode_of([0.1, 0.2, -out], first=20),
    ]
    replay = fill_replay(episodes, n_step=3)
    batch = replay.sample(400, 3, 0.5, 0.0, np.random.default_rng(0))
    drawn = {
        int(i): (float(a), float(r), float(d), int(n) if d else None)
        for i, a, r, d, n in zip(
            batch.inputs[:, 0], batch.actions[:, 0], batch.returns, batch.discounts,
            batch.next_inputs[:, 0], strict=True,
        )
    }  # fmt: skip
    expected = {
        0: (0.1, 0, 0.25, 2), 1: (0.2, 0, 0.5, 2), 4: (0.5, 0.5, 0, None), 5: (0.6, 1, 0, None),
        11: (0.2, 0.5, 0, None), 12: (-1.0, 1, 0, None),
        20: (0.1, 0, 0.25, 22), 21: (0.2, 0, 0.5, 22),
    }  # fmt: skip
    assert drawn.keys() == expected.keys()
    for first, (action, *rest) in expected.items():
        assert drawn[first][0] == pytest.approx(action)
        assert drawn[first][1:] == tuple(rest)


def test_nothing_in_reach_is_an_error():
    with pytest.raises(ConfigError, match="cannot take any of their 2 steps; raise --alpha"):
        fill_replay([episode_of([2.0, -3.0])], n_step=3)


def test_batches_are_joined_in_order():
    replay = fill_replay([episode_of([0.1, 0.2])], n_step=2)
    rng = np.random.default_rng(0)
    first, second = (replay.sample(3, 2, 0.9, 0.0, rng) for _ in range(2))
    joined = join_batches(first, second)
    for name in ("inputs", "actions", "returns", "next_inputs", "discounts"):
        halves = np.split(getattr(joined, name), 2)
        np.testing.assert_array_equal(halves, [getattr(b, name) for b in (first, second)])
