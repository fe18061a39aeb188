# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from resip_ros.core.errors import DataError
from resip_ros.policy.normalizer import MIN_RANGE, OBS_CLAMP, Normalizer


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def normalizer(rng: np.random.Generator) -> Normalizer:
    obs = rng.normal(size=(50, 6)).astype(np.float32)
    action = rng.normal(size=(50, 4)).astype(np.float32)
    return Normalizer.fit(obs, action)


def test_demonstrations_span_exactly_minus_one_to_one(rng: np.random.Generator) -> None:
    obs = rng.normal(size=(50, 6)).astype(np.float32)
    action = rng.normal(size=(50, 4)).astype(np.float32)
    fitted = Normalizer.fit(obs, action)
    for scaled in (fitted.normalize_obs(obs), fitted.normalize_action(action)):
        np.testing.assert_allclose(scaled.min(axis=0), -1, atol=1e-6)
        np.testing.assert_allclose(scaled.max(axis=0), 1, atol=1e-6)


def test_action_round_trip_also_outside_the_range(
    normalizer: Normalizer, rng: np.random.Generator
) -> None:
    action = rng.normal(size=(7, 3, 4)) * 10
    back = normalizer.denormalize_action(normalizer.normalize_action(action))
    np.testing.assert_allclose(back, action, rtol=1e-6, atol=1e-6)
    assert back.dtype == np.float64


def test_observations_are_clamped_and_actions_are_not(normalizer: Normalizer) -> None:
    far = normalizer.normalize_obs(np.full((1, 6), 1e3))
    np.testing.assert_array_equal(far, OBS_CLAMP)
    assert far.dtype == np.float32
    assert (normalizer.normalize_action(np.full((1, 4), 1e3)) > OBS_CLAMP).all()


@pytest.mark.parametrize("spread", [0.0, 0.5 * MIN_RANGE])
def test_constant_dimension_is_widened_by_one(spread: float) -> None:
    obs = np.tile(np.float32([[0.7, 0.0]]), (3, 1))
    obs[1] += (spread, 2.0)
    fitted = Normalizer.fit(obs, obs)
    assert fitted.obs_min[0] == pytest.approx(-0.3)
    assert fitted.obs_max[0] == pytest.approx(1.7 + spread)
    assert abs(fitted.normalize_obs(obs)[:, 0]).max() < MIN_RANGE
    np.testing.assert_array_equal(fitted.normalize_obs(obs)[:, 1], [-1, 1, -1])


def test_hash_sees_every_number(normalizer: Normalizer) -> None:
    hashes = {normalizer.hash}
    for field in dataclasses.fields(normalizer):
        changed = getattr(normalizer, field.name).copy()
        changed[-1] += np.float32(1e-3)
        hashes.add(dataclasses.replace(normalizer, **{field.name: changed}).hash)
    assert len(hashes) == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -100.0])
def test_empty_and_infinite_ranges_are_refused(normalizer: Normalizer, bad: float) -> None:
    changed = normalizer.obs_max.copy()
    changed[2] = bad
    with pytest.raises(DataError, match=r"observation range .*\[2\]"):
        dataclasses.replace(normalizer, obs_max=changed)


def test_each_arms_hand_is_taken_from_its_own_block(rng: np.random.Generator) -> None:
    """An action that asks for the hands' poses, normalised, is the hand in all but grippers."""
    obs = rng.normal(size=(50, 46)).astype(np.float32)
    action = np.concatenate([obs[:, :9], obs[:, :1], obs[:, 16:25], obs[:, :1]], axis=1)
    fitted = Normalizer.fit(obs, action)
    hand, expected = fitted.normalize_hand(obs), fitted.normalize_action(action)
    poses = np.r_[0:9, 10:19]
    np.testing.assert_allclose(hand[:, poses], expected[:, poses], atol=1e-6)
    np.testing.assert_array_equal(hand[:, [9, 19]], 0.0)
