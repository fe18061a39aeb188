# SPDX-License-Identifier: Apache-2.0
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from resip_ros.core.errors import CheckpointMismatch, DataError
from resip_ros.core.observation import build_part_features
from resip_ros.core.tasks import TaskSpec
from resip_ros.policy.bundle import load_base, save_base, save_bundle
from resip_ros.policy.bundle_folder import WEIGHTS_FILE
from resip_ros.policy.card import BaseCard
from resip_ros.policy.networks import ConditionalUNet
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.runtime import BasePolicy, base_input, base_input_dim

OBS = np.random.default_rng(3).normal(size=(2, 58))


@pytest.fixture
def plan_range() -> PlanRange:
    low = -np.linspace(0.05, 0.6, 320, dtype=np.float32).reshape(32, 10)
    return PlanRange(low, -0.5 * low)


@pytest.fixture
def hand_card(base_card: BaseCard) -> BaseCard:
    return dataclasses.replace(base_card, plan_frame="hand", features="relative")


@pytest.fixture
def hand_network(task: TaskSpec, hand_card: BaseCard, normalizer: Normalizer) -> ConditionalUNet:
    return ConditionalUNet(10, base_input_dim(task, normalizer, "relative"), hand_card.network)


def test_fitted_plans_fill_the_range_at_every_step(rng: np.random.Generator) -> None:
    hand = rng.normal(size=(50, 10)).astype(np.float32)
    growing = np.linspace(0.1, 2, 32)[:, None]
    plans = (hand[:, None] + growing * rng.normal(size=(50, 32, 10))).astype(np.float32)
    fitted = PlanRange.fit(plans, hand)
    scaled = fitted.encode(plans, hand)
    np.testing.assert_allclose(scaled.min(axis=0), -1, atol=1e-5)
    np.testing.assert_allclose(scaled.max(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(fitted.decode(scaled, hand), plans, atol=1e-5)


def test_a_constant_step_does_not_scale_to_infinity() -> None:
    still = np.zeros((4, 3, 10), np.float32)
    fitted = PlanRange.fit(still, np.zeros((4, 10), np.float32))
    np.testing.assert_array_equal(fitted.encode(still, np.zeros((4, 10), np.float32)), 0.0)


@pytest.mark.parametrize("bad", [np.nan, -1.0])
def test_empty_and_broken_ranges_are_refused(plan_range: PlanRange, bad: float) -> None:
    high = plan_range.high.copy()
    high[3, 2] = bad
    with pytest.raises(DataError, match="empty or not finite"):
        PlanRange(plan_range.low, high)
    with pytest.raises(DataError, match=r"two \(T, A\) arrays"):
        PlanRange(plan_range.low, plan_range.high[:5])


def test_the_hand_as_an_action_holds_its_pose(normalizer: Normalizer) -> None:
    hand = normalizer.denormalize_action(normalizer.normalize_hand(OBS))
    np.testing.assert_allclose(hand[:, :9], OBS[:, :9], atol=1e-6)


def test_plans_are_the_networks_scaled_and_moved_to_the_hand(
    hand_card: BaseCard,
    hand_network: ConditionalUNet,
    normalizer: Normalizer,
    plan_range: PlanRange,
) -> None:
    plain = dataclasses.replace(hand_card, plan_frame="base")
    scaled = BasePolicy(plain, normalizer, hand_network).predict_chunk(OBS)
    policy = BasePolicy(hand_card, normalizer, hand_network, plan_range=plan_range)
    expected = plan_range.decode(scaled, normalizer.normalize_hand(OBS))
    np.testing.assert_array_equal(policy.predict_chunk(OBS), expected)
    assert policy.predict_chunk(OBS).dtype == np.float32


def test_a_card_with_the_wrong_range_is_refused(
    hand_card: BaseCard,
    hand_network: ConditionalUNet,
    normalizer: Normalizer,
    plan_range: PlanRange,
) -> None:
    with pytest.raises(DataError, match="plan_frame is hand.*no plan range"):
        BasePolicy(hand_card, normalizer, hand_network)
    plain = dataclasses.replace(hand_card, plan_frame="base")
    with pytest.raises(DataError, match="plan_frame is base.*a plan range"):
        BasePolicy(plain, normalizer, hand_network, plan_range=plan_range)
    short = PlanRange(plan_range.low[:8], plan_range.high[:8])
    with pytest.raises(DataError, match=r"plan range is \(8, 10\), expected \(32, 10\)"):
        BasePolicy(hand_card, normalizer, hand_network, plan_range=short)


def test_bundle_keeps_the_range(
    tmp_path: Path,
    hand_card: BaseCard,
    hand_network: ConditionalUNet,
    normalizer: Normalizer,
    plan_range: PlanRange,
) -> None:
    save_base(tmp_path / "base", hand_card, normalizer, hand_network, plan_range)
    loaded = load_base(tmp_path / "base")
    with torch.no_grad():
        for parameter in hand_network.parameters():
            parameter.copy_(parameter.half().float())
    policy = BasePolicy(hand_card, normalizer, hand_network, plan_range=plan_range)
    np.testing.assert_array_equal(loaded.predict_chunk(OBS), policy.predict_chunk(OBS))
    with pytest.raises(DataError, match="no plan range"):
        save_base(tmp_path / "lacking", hand_card, normalizer, hand_network)
    tensors = safetensors.torch.load_file(tmp_path / "base" / WEIGHTS_FILE)
    lacking = {name: value for name, value in tensors.items() if "plan_range" not in name}
    save_bundle(tmp_path / "lacking", loaded.card, lacking)
    with pytest.raises(CheckpointMismatch, match="no plan range"):
        load_base(tmp_path / "lacking")


def test_input_ends_with_the_part_features(task: TaskSpec, normalizer: Normalizer) -> None:
    full = base_input(task, normalizer, OBS, "relative")
    assert full.shape == (2, base_input_dim(task, normalizer, "relative"))
    np.testing.assert_array_equal(full[:, :58], base_input(task, normalizer, OBS, "absolute"))
    features = build_part_features(task, OBS).astype(np.float32)
    np.testing.assert_array_equal(full[:, 58:], features)
