# SPDX-License-Identifier: Apache-2.0
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from resip_ros.core.errors import DataError
from resip_ros.core.observation import build_relative_features
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.policy.bundle import load_base, save_base
from resip_ros.policy.card import BaseCard, ResidualCard
from resip_ros.policy.networks import ConditionalUNet, build_residual_actor
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import NetworkSpec
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.runtime import (
    AssemblyPolicy,
    BasePolicy,
    ResidualPolicy,
    base_input_dim,
    residual_input,
    residual_input_dim,
)


@pytest.fixture
def base(base_card: BaseCard, normalizer: Normalizer, network: ConditionalUNet) -> BasePolicy:
    return BasePolicy(base_card, normalizer, network)


@pytest.fixture
def obs() -> np.ndarray:
    """Raw observations (4, 58) with unit quaternions and rotations that can be decoded."""
    rng = np.random.default_rng(1)
    obs = rng.normal(size=(4, 58)) * 0.1
    obs[:, 3:9] = (1, 0, 0, 0, 1, 0)
    for start in range(16, 58, 7):
        quat = rng.normal(size=(4, 4))
        obs[:, start + 3 : start + 7] = quat / np.linalg.norm(quat, axis=-1, keepdims=True)
    return obs


@pytest.fixture
def base_action() -> np.ndarray:
    return np.random.default_rng(2).uniform(-1, 1, size=(4, 10)).astype(np.float32)


def test_chunk_is_normalised_float32_of_the_cards_horizon(
    base: BasePolicy, obs: np.ndarray
) -> None:
    chunk = base.predict_chunk(obs)
    assert chunk.shape == (4, 32, 10)
    assert chunk.dtype == np.float32
    assert np.abs(chunk).max() <= 1
    assert (base.horizon, base.action_steps) == (32, 8)


def test_equal_seeds_give_equal_plans_and_others_differ(base: BasePolicy, obs: np.ndarray) -> None:
    base.reset(5)
    first, second = base.predict_chunk(obs), base.predict_chunk(obs)
    base.reset(5)
    np.testing.assert_array_equal(base.predict_chunk(obs), first)
    np.testing.assert_array_equal(base.predict_chunk(obs), second)
    assert not np.array_equal(first, second)
    base.reset(6)
    assert not np.array_equal(base.predict_chunk(obs), first)


def test_a_plan_keeps_nothing_from_the_plan_before(base: BasePolicy, obs: np.ndarray) -> None:
    fresh = base.predict_chunk(obs, torch.Generator().manual_seed(3))
    base.predict_chunk(obs[::-1] + 1, torch.Generator().manual_seed(9))
    again = base.predict_chunk(obs, torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(again, fresh)


def test_own_generator_is_untouched_by_a_given_one(base: BasePolicy, obs: np.ndarray) -> None:
    base.reset(1)
    expected = base.predict_chunk(obs)
    base.reset(1)
    base.predict_chunk(obs, torch.Generator().manual_seed(4))
    np.testing.assert_array_equal(base.predict_chunk(obs), expected)


def test_residual_input_is_observation_action_and_features(
    task: TaskSpec, normalizer: Normalizer, obs: np.ndarray, base_action: np.ndarray
) -> None:
    full = residual_input(task, normalizer, obs, base_action, "relative")
    assert full.dtype == np.float32
    assert full.shape == (4, residual_input_dim(task, normalizer, "relative"))
    np.testing.assert_array_equal(full[:, :58], normalizer.normalize_obs(obs))
    np.testing.assert_array_equal(full[:, 58:68], base_action)
    base_si = normalizer.denormalize_action(base_action)
    features = build_relative_features(task, obs, base_si).astype(np.float32)
    np.testing.assert_array_equal(full[:, 68:], features)
    plain = residual_input(task, normalizer, obs, base_action, "absolute")
    np.testing.assert_array_equal(plain, full[:, :68])
    assert plain.shape[1] == residual_input_dim(task, normalizer, "absolute")
    precise = residual_input(task, normalizer, obs, base_action, "precise")
    features = build_relative_features(task, obs, base_si, precise=True).astype(np.float32)
    np.testing.assert_array_equal(precise, np.concatenate([plain, features], axis=1))
    assert precise.shape[1] == residual_input_dim(task, normalizer, "precise")


@pytest.mark.parametrize("features", ["relative", "precise"])
@pytest.mark.parametrize("shape", [(10,), (8, 10)])
def test_residual_input_of_no_rows_keeps_its_width(
    task: TaskSpec, normalizer: Normalizer, shape: tuple[int, ...], features: str
) -> None:
    """All episodes of a batch may end in the same step."""
    obs, action = np.zeros((0, 58)), np.zeros((0, *shape), np.float32)
    width = residual_input_dim(task, normalizer, features, chunk_steps=int(np.prod(shape[:-1])))
    assert residual_input(task, normalizer, obs, action, features).shape == (0, width)


@pytest.mark.parametrize(("bound", "limited"), [("tanh", True), ("none", False)])
def test_correction_is_scaled_and_bounded_as_the_card_says(
    bound: str,
    limited: bool,
    residual_card: ResidualCard,
    normalizer: Normalizer,
    actor: torch.nn.Sequential,
    obs: np.ndarray,
    base_action: np.ndarray,
) -> None:
    card = dataclasses.replace(residual_card, bound=bound)
    correction = ResidualPolicy(card, normalizer, actor).correct(obs, base_action)
    features = residual_input(get_task(card.task), normalizer, obs, base_action, "relative")
    raw = actor(torch.from_numpy(features)).detach().numpy()
    expected = card.alpha * (np.tanh(raw) if limited else raw)
    np.testing.assert_allclose(correction, expected, rtol=1e-5, atol=1e-6)
    assert (np.abs(correction).max() <= card.alpha) == limited


@pytest.mark.parametrize("bound", ["tanh", "none"])
def test_zero_residual_is_bit_exactly_the_base(
    bound: str,
    base: BasePolicy,
    residual_card: ResidualCard,
    normalizer: Normalizer,
    obs: np.ndarray,
) -> None:
    untrained = build_residual_actor(residual_input_dim(base.task, normalizer, "relative"), 10)
    card = dataclasses.replace(residual_card, bound=bound, hidden=(256, 256))
    with_residual = AssemblyPolicy(base, ResidualPolicy(card, normalizer, untrained))
    alone = AssemblyPolicy(base)
    for step in range(base.action_steps):
        base_action = base.predict_chunk(obs)[:, step]
        corrected = with_residual.compute_action(
            base_action, with_residual.correct(obs, base_action)
        )
        assert corrected.tobytes() == normalizer.denormalize_action(base_action).tobytes()
        plain = alone.compute_action(base_action, alone.correct(obs, base_action))
        assert corrected.tobytes() == plain.tobytes()


def test_a_residual_corrects_any_base_step_by_step(
    spec: NetworkSpec,
    base_card: BaseCard,
    residual_card: ResidualCard,
    normalizer: Normalizer,
    actor: torch.nn.Sequential,
    obs: np.ndarray,
) -> None:
    sampler = base_card.sampler if spec.denoises else None
    card = dataclasses.replace(
        base_card, network=spec, sampler=sampler, prediction_horizon=2, action_horizon=2
    )
    base = BasePolicy(card, normalizer, spec.build(10, 58, 2))
    policy = AssemblyPolicy(base, ResidualPolicy(residual_card, normalizer, actor))
    chunk = base.predict_chunk(obs)
    for step in range(base.action_steps):
        correction = policy.correct(obs, chunk[:, step])
        assert 0 < np.abs(correction).max() <= residual_card.alpha
        net = policy.compute_action(chunk[:, step], correction)
        expected = normalizer.denormalize_action(chunk[:, step] + correction)
        np.testing.assert_array_equal(net, expected)


def test_net_action_is_base_plus_correction_in_si(
    base: BasePolicy, normalizer: Normalizer, base_action: np.ndarray
) -> None:
    correction = np.full_like(base_action, 0.1)
    net = AssemblyPolicy(base).compute_action(base_action, correction)
    half_range = (normalizer.action_max - normalizer.action_min) / 2
    np.testing.assert_allclose(
        net - normalizer.denormalize_action(base_action),
        np.tile(0.1 * half_range, (4, 1)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("shape", [(58,), (1, 57)])
def test_wrong_observation_shape_is_refused(base: BasePolicy, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"observation has shape .* expects \(B, 58\)"):
        base.predict_chunk(np.zeros(shape))


def test_missing_numbers_are_refused_not_planned_on(base: BasePolicy, obs: np.ndarray) -> None:
    obs[2, 20] = np.nan
    with pytest.raises(DataError, match=r"not finite in dimensions \[20\]"):
        base.predict_chunk(obs)


@pytest.mark.parametrize("task", [get_task("biman_insert")], ids=["biman_insert"])
def test_two_arms_go_through_the_same_policy(
    task: TaskSpec,
    base_card: BaseCard,
    residual_card: ResidualCard,
    normalizer: Normalizer,
    tmp_path: Path,
) -> None:
    """Plans about both hands, correction of both, saved and loaded again."""
    card = dataclasses.replace(base_card, features="relative", plan_frame="hand")
    network = card.network.build(20, base_input_dim(task, normalizer, "relative"), 32)
    ones = np.ones((32, 20), np.float32)
    save_base(tmp_path, card, normalizer, network, PlanRange(-ones, ones))
    base = load_base(tmp_path)
    obs = np.random.default_rng(1).normal(size=(3, 46))
    chunk = base.predict_chunk(obs, torch.Generator().manual_seed(0))
    assert chunk.shape == (3, 32, 20)
    # clipped to one unit about the hands, which are those of the observation
    poses = np.r_[0:9, 10:19]
    seen = obs[:, np.r_[0:9, 16:25]]
    hands = normalizer.normalize_action(np.insert(seen, [9, 18], 0.0, axis=1))
    assert np.abs(chunk - hands[:, None])[..., poses].max() <= 1.0 + 1e-5
    card = dataclasses.replace(residual_card, features="relative")
    width = residual_input_dim(task, normalizer, "relative")
    assert residual_input(task, normalizer, obs, chunk[:, 0], "relative").shape == (3, width)
    residual = ResidualPolicy(card, normalizer, build_residual_actor(width, 20, (16, 16)))
    policy = AssemblyPolicy(base, residual)
    net = policy.compute_action(chunk[:, 0], policy.correct(obs, chunk[:, 0]))
    assert net.shape == (3, 20)
