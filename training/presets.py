# SPDX-License-Identifier: Apache-2.0
"""Sizes and optimiser settings of behaviour cloning."""

from __future__ import annotations

from dataclasses import dataclass, field

from resip_ros.core.errors import ConfigError
from resip_ros.policy.networks import UNetSpec
from resip_ros.policy.sampler import SamplerSpec


@dataclass(frozen=True)
class BcPreset:
    """Everything that defines a base policy but its data, length of training and seed."""

    network: UNetSpec
    learning_rate: float
    """Peak of the schedule."""
    steps: int
    """Gradient steps if the command line names none."""
    sampler: SamplerSpec = field(default_factory=SamplerSpec)
    prediction_horizon: int = 32
    action_horizon: int = 8
    relative_features: bool = False
    """Condition on the parts' relative poses as well as on the state observation."""
    plan_frame: str = "base"
    """Denoise absolute actions, or (`hand`) their difference from the hand's present pose."""
    weight_decay: float = 1e-6
    warmup_steps: int = 500


def small_preset() -> BcPreset:
    """1.2 M parameters, for 2 CPU cores: about 0.13 s a step, 0.3 % of the paper's arithmetic."""
    network = UNetSpec(
        down_dims=(64, 96, 128),
        kernel_size=3,
        groups=8,
        step_embed_dim=64,
        activation="silu",
        encoder_dim=256,
    )
    return BcPreset(
        network=network,
        learning_rate=1e-3,
        steps=20_000,
        relative_features=True,
        plan_frame="hand",
    )


def paper_preset() -> BcPreset:
    """66 M parameters: ResiP's Tables III and IV. Meant for a GPU."""
    network = UNetSpec(
        down_dims=(256, 512, 1024), kernel_size=5, groups=8, step_embed_dim=256, activation="mish"
    )
    return BcPreset(network=network, learning_rate=1e-4, steps=400_000)


PRESETS = {"small": small_preset, "paper": paper_preset}


def get_preset(name: str) -> BcPreset:
    """Preset by name.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; known presets: {', '.join(PRESETS)}")
    return PRESETS[name]()
