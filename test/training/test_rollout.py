# SPDX-License-Identifier: Apache-2.0
"""Rollouts: a plan lasts eight steps, restarts plan anew, slots do not mix."""

import numpy as np
import pytest
import torch

from resip_ros.core.errors import ConfigError
from resip_ros.policy.bundle import load_policy
from training.rollout import PolicyRollout


@pytest.fixture(scope="module")
def policy(tiny_base):
    return load_policy(tiny_base)


@pytest.fixture
def obs(rng):
    values = rng.uniform(-0.5, 0.5, (3, 58))
    values[:, 3:9] = [1, 0, 0, 0, 1, 0]
    return values


def _expected(policy, chunk, step):
    return policy.compute_action(chunk[:, step], np.zeros_like(chunk[:, step]))


def test_a_plan_lasts_eight_steps(policy, obs):
    rollout, ids = PolicyRollout(policy, 3, seed=4), np.arange(3)
    generator = torch.Generator().manual_seed(4)
    for _ in range(2):
        chunk = policy.base.predict_chunk(obs, generator)
        for step in range(8):
            np.testing.assert_array_equal(rollout.act(obs, ids), _expected(policy, chunk, step))


def test_restart_plans_for_that_slot_only(policy, obs):
    rollout, ids = PolicyRollout(policy, 3, seed=4), np.arange(3)
    generator = torch.Generator().manual_seed(4)
    first = policy.base.predict_chunk(obs, generator)
    for _ in range(3):
        rollout.act(obs, ids)
    rollout.restart(np.array([1]))
    fresh = policy.base.predict_chunk(obs[1:2], generator)
    found = rollout.act(obs, ids)
    np.testing.assert_array_equal(found[[0, 2]], _expected(policy, first[[0, 2]], 3))
    np.testing.assert_array_equal(found[[1]], _expected(policy, fresh, 0))


def test_only_the_given_slots_advance(policy, obs):
    rollout = PolicyRollout(policy, 3, seed=4)
    rollout.act(obs, np.arange(3))
    kept = [rollout.act(obs[[2]], np.array([2])) for _ in range(3)]
    assert np.abs(kept[0] - kept[2]).max() > 0
    other = PolicyRollout(policy, 3, seed=4)
    chunk = policy.base.predict_chunk(obs, torch.Generator().manual_seed(4))
    other.act(obs, np.arange(3))
    np.testing.assert_array_equal(
        rollout.act(obs, np.arange(3))[:2], other.act(obs, np.arange(3))[:2]
    )
    np.testing.assert_array_equal(kept[2], _expected(policy, chunk[[2]], 3))


def test_same_seed_same_actions(policy, obs):
    ids = np.arange(3)
    one, two, other = (PolicyRollout(policy, 3, seed=s).act(obs, ids) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("delay", [1, 2, 7])
def test_a_delayed_plan_leaves_out_what_was_executed_meanwhile(policy, obs, delay):
    """The second chunk is step `delay` and on of a plan made `delay` steps before it."""
    rollout, ids = PolicyRollout(policy, 3, seed=4, plan_delay=delay), np.arange(3)
    generator = torch.Generator().manual_seed(4)
    first = policy.base.predict_chunk(obs, generator)
    second = policy.base.predict_chunk(obs + 0.01, generator)
    for step in range(8):
        seen = obs + 0.01 * (step == 8 - delay)
        np.testing.assert_array_equal(rollout.act(seen, ids), _expected(policy, first, step))
    for step in range(8):
        expected = _expected(policy, second, delay + step)
        np.testing.assert_array_equal(rollout.act(obs, ids), expected)


def test_the_first_plan_after_a_restart_starts_in_full(policy, obs):
    rollout, ids = PolicyRollout(policy, 3, seed=4, plan_delay=2), np.arange(3)
    generator = torch.Generator().manual_seed(4)
    policy.base.predict_chunk(obs, generator)
    for _ in range(3):
        rollout.act(obs, ids)
    rollout.restart(ids)
    fresh = policy.base.predict_chunk(obs, generator)
    np.testing.assert_array_equal(rollout.act(obs, ids), _expected(policy, fresh, 0))


@pytest.mark.parametrize("delay", [-1, 9])
def test_a_delay_beyond_the_plan_is_refused(policy, delay):
    with pytest.raises(ConfigError, match="plan delay"):
        PolicyRollout(policy, 3, seed=4, plan_delay=delay)


class Seeing:
    """Stands in for a student: notes what it is given and plans zeros."""

    images = ("front",)
    action_steps, horizon, obs_dim = 8, 8, 16

    def __init__(self) -> None:
        self.given: list[tuple[tuple[int, ...], list[int]]] = []


def test_a_student_gets_proprioception_and_the_pictures_of_the_slots_that_plan(policy, obs):
    base = Seeing()
    given = base.given

    class Student:
        base, decides_per_chunk = None, False
        normalizer = policy.normalizer

        def plan(self, seen, generator, images):
            given.append((seen.shape, images["front"].tolist()))
            return np.zeros((len(seen), 8, 10), np.float32)

        def correct(self, obs, base):
            return np.zeros_like(base)

        def compute_action(self, base, correction):
            return policy.compute_action(base, correction)

    student = Student()
    student.base = base
    rollout = PolicyRollout(student, 3, 0, look=lambda ids: {"front": ids * 10})
    rollout.act(obs, np.arange(3))
    for _ in range(3):
        rollout.act(obs, np.arange(3))
    rollout.restart(np.array([2]))
    rollout.act(obs[1:], np.array([1, 2]))
    assert given == [((3, 16), [0, 10, 20]), ((1, 16), [20])]
