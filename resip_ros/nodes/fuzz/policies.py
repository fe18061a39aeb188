# SPDX-License-Identifier: Apache-2.0
"""Untrained policies for what no trained one is shipped for: two arms, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from resip_ros.core.action import ACTION_DIM, action_names
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.observation import observation_names, proprioception_names
from resip_ros.core.tasks import TaskSpec
from resip_ros.policy.bundle import save_addition, save_base
from resip_ros.policy.card import BaseCard, Provenance, ResidualCard, StudentCard
from resip_ros.policy.image_encoder import EncoderSpec, StudentNetwork
from resip_ros.policy.networks import ConditionalUNet, UNetSpec, build_residual_actor
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.runtime import residual_input_dim
from resip_ros.policy.sampler import SamplerSpec

SPEC = UNetSpec(down_dims=(8, 16), kernel_size=3, groups=4, step_embed_dim=8)
HORIZON = 32
HIDDEN = (16, 16)
SIZE = 32
"""Of what an encoder sees, pixels."""


def _common(task: TaskSpec, observation: tuple[str, ...]) -> dict[str, Any]:
    return {
        "task": task.name,
        "rate_hz": task.rate_hz,
        "observation": observation,
        "action": action_names(task),
        "provenance": Provenance("untrained", "none", "none", 0, 0, 0),
    }


def _plan() -> dict[str, Any]:
    return {
        "prediction_horizon": HORIZON,
        "action_horizon": 8,
        "network": SPEC,
        "sampler": SamplerSpec(),
    }


def _normalizer(observed: int, acted: int) -> Normalizer:
    ones = [np.ones(size, np.float32) for size in (observed, acted)]
    return Normalizer(-ones[0], ones[0], -ones[1], ones[1])


def write_policy(folder: Path, task: TaskSpec) -> Path:
    """Writes base and residual of small untrained networks for a task, and gives the folder."""
    torch.manual_seed(0)
    names, acted = observation_names(task), ACTION_DIM * len(task.arms)
    normalizer = _normalizer(len(names), acted)
    common = _common(task, names)
    card = BaseCard(**common, **_plan())
    network = ConditionalUNet(acted, len(names), SPEC)
    card = save_base(folder / "base", card, normalizer, network)
    residual = ResidualCard(
        **common,
        base_hash=card.weights_hash,
        hidden=HIDDEN,
        alpha=0.1,
        bound="tanh",
        features="relative" if len(task.arms) == 1 else "absolute",
    )
    inputs = residual_input_dim(task, normalizer, residual.features)
    actor = build_residual_actor(inputs, acted, HIDDEN)
    save_addition(folder / "residual", residual, normalizer, actor)
    return folder


def write_student(folder: Path, task: TaskSpec) -> Path:
    """Writes a small untrained policy that sees pictures, and gives the folder."""
    torch.manual_seed(0)
    names = proprioception_names(task)
    encoder = EncoderSpec(size=SIZE, width=8, stages=1, features=4)
    card = StudentCard(**_common(task, names), **_plan(), images=POLICY_CAMERAS, encoder=encoder)
    shape = ACTION_DIM, len(names), HORIZON
    network = StudentNetwork(SPEC, card.images, encoder, shape)
    save_base(folder, card, _normalizer(len(names), ACTION_DIM), network)
    return folder
