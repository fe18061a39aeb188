# SPDX-License-Identifier: Apache-2.0
"""Bundles of untrained networks, as small as they get."""

from pathlib import Path
from typing import Any

import numpy as np

from resip_ros.core.action import action_names
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.observation import observation_names, proprioception_names
from resip_ros.core.tasks import get_task
from resip_ros.policy.bundle import save_base
from resip_ros.policy.card import BaseCard, Provenance, StudentCard
from resip_ros.policy.image_encoder import EncoderSpec, StudentNetwork
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import NetworkSpec
from resip_ros.policy.sampler import SamplerSpec

PROVENANCE = Provenance("python -m training.bc", "abc123", "d" * 64, 2, 0, 0)


def _fields(task_name: str, network: NetworkSpec, horizon: int) -> dict[str, Any]:
    """What the cards of both kinds of base say; 8 steps of a plan are executed."""
    task = get_task(task_name)
    return {
        "task": task.name,
        "rate_hz": task.rate_hz,
        "action": action_names(task),
        "prediction_horizon": horizon,
        "action_horizon": 8,
        "network": network,
        "sampler": SamplerSpec() if network.denoises else None,
        "provenance": PROVENANCE,
    }


def make_base_card(
    network: NetworkSpec, horizon: int = 32, task_name: str = "one_leg"
) -> BaseCard:
    """Card of a base that sees the state."""
    names = observation_names(get_task(task_name))
    return BaseCard(observation=names, **_fields(task_name, network, horizon))


def save_student(
    folder: Path, task_name: str, network: NetworkSpec, horizon: int, encoder: EncoderSpec
) -> StudentCard:
    """Write an untrained student that sees all cameras."""
    names = proprioception_names(get_task(task_name))
    fields = _fields(task_name, network, horizon)
    card = StudentCard(observation=names, images=POLICY_CAMERAS, encoder=encoder, **fields)
    student = StudentNetwork(
        network, card.images, encoder, (len(card.action), len(names), horizon)
    )
    saved = save_base(folder, card, make_unit_normalizer(card), student)
    assert isinstance(saved, StudentCard)
    return saved


def make_unit_normalizer(card: BaseCard) -> Normalizer:
    """Leaves every number within -1 and 1 as it is."""
    obs, action = (np.ones(len(n), np.float32) for n in (card.observation, card.action))
    return Normalizer(-obs, obs, -action, action)
