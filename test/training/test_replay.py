# SPDX-License-Identifier: Apache-2.0
"""Replay with envs whose episodes end at different times."""

from __future__ import annotations

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError, DataError
from training.replay import Replay

LENGTHS = (3, 5)
"""Episode length of each env; env 0 succeeds at its last step, env 1 is truncated."""


def code(env: int, episode: int, step: int) -> float:
    return env * 1_000_000 + episode * 100 + step


def fill(replay: Replay, steps: int) -> np.ndarray:
    """Writes episodes whose inputs say where they come from; returns the next inputs."""
    place = np.zeros((2, 2), int)  # per env: episode, step
    for _ in range(steps):
        now = np.array([[code(e, *place[e])] for e in range(2)], np.float32)
        after = now + 1
        last = np.array([place[e, 1] == LENGTHS[e] - 1 for e in range(2)])
        success = last & np.array([True, False])
        replay.add(
            now,
            -now,
            success.astype(np.float32),
            terminated=success,
            truncated=last & ~success,
            bootstrap=after,
            success=success,
        )
        place[:, 1] += 1
        for env in np.nonzero(last)[0]:
            place[env] = place[env, 0] + 1, 0
    return np.array([[code(e, *place[e])] for e in range(2)], np.float32)


def check(batch, n_step: int, gamma: float) -> None:
    for k in range(len(batch.inputs)):
        value = int(batch.inputs[k, 0])
        env, step = value // 1_000_000, value % 100
        length = LENGTHS[env]
        left = length - step
        taken = min(n_step, left)
        assert left >= 1, "a bare boundary input was sampled as a transition"
        assert batch.actions[k, 0] == -value
        if env == 0 and left <= n_step:  # reaches the terminal success
            assert batch.returns[k] == pytest.approx(gamma ** (left - 1))
            assert batch.discounts[k] == 0
        else:
            assert batch.returns[k] == 0
            assert batch.discounts[k] == pytest.approx(gamma**taken)
            assert batch.next_inputs[k, 0] == value + taken


@pytest.mark.parametrize("n_step", [1, 3, 4])
@pytest.mark.parametrize("success_fraction", [0.0, 0.5])
def test_samples_are_exact_before_and_after_the_ring_wraps(n_step, success_fraction):
    rng = np.random.default_rng(0)
    for steps in (12, 400):
        replay = Replay(capacity=100, num_envs=2, input_dim=1, action_dim=1)
        fill(replay, steps)
        batch = replay.sample(512, n_step, 0.9, success_fraction, rng)
        check(batch, n_step, 0.9)


def test_truncation_bootstraps_from_the_input_before_the_reset():
    replay = Replay(capacity=100, num_envs=2, input_dim=1, action_dim=1)
    fill(replay, 12)
    batch = replay.sample(512, 3, 0.9, 0.0, np.random.default_rng(0))
    last = batch.inputs[:, 0] == code(1, 0, LENGTHS[1] - 1)
    assert last.any()
    assert (batch.next_inputs[last, 0] == code(1, 0, LENGTHS[1])).all()
    assert batch.discounts[last] == pytest.approx(0.9)


def test_share_of_successful_episodes():
    replay = Replay(capacity=4000, num_envs=2, input_dim=1, action_dim=1)
    fill(replay, 300)
    batch = replay.sample(1000, 1, 0.9, 1.0, np.random.default_rng(0))
    assert (batch.inputs[:, 0] < 1_000_000).mean() > 0.97
    steps = np.bincount(batch.inputs[:, 0].astype(int) % 100, minlength=3)[:3]
    assert steps.min() > 250  # every step of the episodes, evenly


def test_cut_closes_running_episodes_with_a_bootstrap():
    replay = Replay(capacity=100, num_envs=2, input_dim=1, action_dim=1)
    following = fill(replay, 4)
    replay.cut(following)
    replay.cut(following)
    assert replay.written.tolist() == [5, 5]
    batch = replay.sample(512, 1, 0.9, 0.0, np.random.default_rng(0))
    check(batch, 1, 0.9)
    assert (batch.inputs[:, 0] == code(1, 0, 3)).any()


def test_round_trip_through_a_file(tmp_path):
    replay = Replay(capacity=100, num_envs=2, input_dim=1, action_dim=1)
    replay.cut(fill(replay, 7))
    replay.save(tmp_path / "replay.npz")
    copy = Replay(capacity=100, num_envs=2, input_dim=1, action_dim=1)
    copy.load(tmp_path / "replay.npz")
    batches = [r.sample(64, 3, 0.9, 0.5, np.random.default_rng(1)) for r in (replay, copy)]
    np.testing.assert_array_equal(batches[0].inputs, batches[1].inputs)
    np.testing.assert_array_equal(batches[0].next_inputs, batches[1].next_inputs)
    np.testing.assert_array_equal(copy.episode_start, copy.written)

    other = Replay(capacity=100, num_envs=2, input_dim=2, action_dim=1)
    with pytest.raises(DataError, match="resume with the settings"):
        other.load(tmp_path / "replay.npz")


def test_refuses_what_cannot_work():
    with pytest.raises(ConfigError, match="replay capacity"):
        Replay(capacity=10, num_envs=2, input_dim=1, action_dim=1)
    replay = Replay(capacity=100, num_envs=2, input_dim=1, action_dim=1)
    with pytest.raises(DataError, match="before sampling"):
        replay.sample(4, 1, 0.9, 0.0, np.random.default_rng(0))
