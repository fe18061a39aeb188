# SPDX-License-Identifier: Apache-2.0
"""What the tests of the training programs share."""

from pathlib import Path

import numpy as np
import pytest
import torch

from resip_ros.core.action import ACTION_NAMES
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task
from resip_ros.policy.bundle import save_base
from resip_ros.policy.card import BaseCard, Provenance
from resip_ros.policy.networks import ConditionalUNet, UNetSpec
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.sampler import SamplerSpec


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Policy folder with an untrained base of a very small network."""
    folder = tmp_path_factory.mktemp("tiny_policy")
    task = get_task("one_leg")
    names = observation_names(task)
    spec = UNetSpec(down_dims=(8, 8), kernel_size=3, groups=4, step_embed_dim=8)
    card = BaseCard(
        task=task.name,
        rate_hz=task.rate_hz,
        observation=names,
        action=ACTION_NAMES,
        prediction_horizon=32,
        action_horizon=8,
        network=spec,
        sampler=SamplerSpec(),
        provenance=Provenance("test", "none", "none", 0, 0, 0),
    )
    low, high = -np.ones(len(names), np.float32), np.ones(len(names), np.float32)
    action = np.ones(len(ACTION_NAMES), np.float32)
    normalizer = Normalizer(low, high, -action, action)
    torch.manual_seed(0)
    save_base(folder / "base", card, normalizer, ConditionalUNet(10, len(names), spec))
    return folder
