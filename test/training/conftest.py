# SPDX-License-Identifier: Apache-2.0
"""What the tests of the training programs share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from resip_ros.policy.bundle import save_base
from resip_ros.policy.networks import ConditionalUNet, UNetSpec
from resip_ros.policy.normalizer import Normalizer
from training.env import AssemblyEnv

from ..bundles import make_base_card, make_unit_normalizer


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Policy folder with an untrained base of a very small network."""
    folder = tmp_path_factory.mktemp("tiny_policy")
    card = make_base_card(UNetSpec(down_dims=(8, 8), kernel_size=3, groups=4, step_embed_dim=8))
    torch.manual_seed(0)
    network = ConditionalUNet(10, len(card.observation), card.network)
    save_base(folder / "base", card, make_unit_normalizer(card), network)
    return folder


@pytest.fixture(scope="session")
def near_start() -> Normalizer:
    """Of one_leg, with actions that stay near where the arm starts."""
    env = AssemblyEnv("one_leg", 4, num_threads=1, pool_size=4)
    env.reset()
    obs = env.observe().astype(np.float32)
    action = np.concatenate([obs[:, :9], -np.ones((4, 1))], axis=1)
    half = np.array([0.01] * 3 + [0.05] * 6 + [1.0])
    action = np.concatenate([action - half, action + half]).astype(np.float32)
    action[:, 9] = np.tile([-1, 1], 4)
    return Normalizer.fit(obs, action)


@pytest.fixture
def shorten_episodes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the time limit of environments in steps, and nothing else."""

    def shorten(steps: int) -> None:
        original = AssemblyEnv.__init__

        def build(self: AssemblyEnv, *args: object, **kwargs: object) -> None:
            original(self, *args, **kwargs)
            self.episode_steps = steps

        monkeypatch.setattr(AssemblyEnv, "__init__", build)

    return shorten
