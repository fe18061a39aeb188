# SPDX-License-Identifier: Apache-2.0
"""A complete but tiny policy folder: what the bundle and runtime tests start from."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from resip_ros.core.action import action_names
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.policy.act import ActSpec
from resip_ros.policy.bundle import save_addition, save_base
from resip_ros.policy.card import BaseCard, ResidualCard
from resip_ros.policy.mlp import MlpSpec
from resip_ros.policy.networks import ARCHITECTURES, build_residual_actor
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import NetworkSpec
from resip_ros.policy.runtime import residual_input_dim
from resip_ros.policy.transformer import TransformerSpec
from resip_ros.policy.unet import ConditionalUNet, UNetSpec

from ..bundles import PROVENANCE, make_base_card

TINY_SPECS: dict[str, NetworkSpec] = {
    "unet": UNetSpec(down_dims=(8, 16), kernel_size=3, groups=4, step_embed_dim=8, encoder_dim=8),
    "transformer": TransformerSpec(layers=2, heads=2, width=16),
    "mlp": MlpSpec(width=16, blocks=2),
    "act": ActSpec(encoder_layers=1, decoder_layers=2, heads=2, width=16, feedforward=32),
}


@pytest.fixture(params=sorted(ARCHITECTURES))
def spec(request: pytest.FixtureRequest) -> NetworkSpec:
    """Each network that a bundle can hold, as small as it gets."""
    return TINY_SPECS[request.param]


@pytest.fixture
def task() -> TaskSpec:
    return get_task("one_leg")


@pytest.fixture
def normalizer(task: TaskSpec) -> Normalizer:
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(64, len(observation_names(task)))).astype(np.float32)
    return Normalizer.fit(obs, rng.normal(size=(64, len(action_names(task)))).astype(np.float32))


@pytest.fixture
def base_card(task: TaskSpec) -> BaseCard:
    network = UNetSpec(down_dims=(8, 16), kernel_size=3, groups=4, step_embed_dim=8)
    return make_base_card(network, task_name=task.name)


@pytest.fixture
def residual_card(task: TaskSpec, base_card: BaseCard) -> ResidualCard:
    return ResidualCard(
        task=task.name,
        rate_hz=task.rate_hz,
        observation=base_card.observation,
        action=base_card.action,
        base_hash="",
        hidden=(16, 16),
        alpha=0.2,
        bound="tanh",
        features="relative",
        provenance=PROVENANCE,
    )


@pytest.fixture
def network(base_card: BaseCard) -> ConditionalUNet:
    return ConditionalUNet(len(base_card.action), len(base_card.observation), base_card.network)


@pytest.fixture
def actor(task: TaskSpec, normalizer: Normalizer) -> torch.nn.Sequential:
    """A residual that has learned something, and asks for more than its bound."""
    actor = build_residual_actor(residual_input_dim(task, normalizer, "relative"), 10, (16, 16))
    torch.nn.init.normal_(actor[-1].weight, std=3.0)
    return actor


@pytest.fixture
def policy_folder(
    tmp_path: Path,
    base_card: BaseCard,
    residual_card: ResidualCard,
    normalizer: Normalizer,
    network: ConditionalUNet,
    actor: torch.nn.Sequential,
) -> Path:
    folder = tmp_path / "one_leg"
    saved = save_base(folder / "base", base_card, normalizer, network)
    residual_card = dataclasses.replace(residual_card, base_hash=saved.weights_hash)
    save_addition(folder / "residual", residual_card, normalizer, actor)
    return folder
