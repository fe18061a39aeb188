# SPDX-License-Identifier: Apache-2.0
"""Sizes and optimiser settings of behaviour cloning, for each network in two sizes.

`paper`: ResiP's Tables III-V and X on raw observations and absolute actions. `small`: for two
CPU cores, on the parts' relative poses, planning relative to the hand.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from resip_ros.core.errors import ConfigError
from resip_ros.policy.act import ActSpec
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.mlp import MlpSpec
from resip_ros.policy.plan_network import NetworkSpec
from resip_ros.policy.sampler import SamplerSpec
from resip_ros.policy.transformer import TransformerSpec
from resip_ros.policy.unet import UNetSpec

SIZES = ("small", "paper")
PAPER_STEPS = 400_000
SMALL_STEPS = 6_000
SMALL_ADAMW_STEPS = 20_000
STUDENT_STEPS = 3_000


@dataclass(frozen=True)
class StudentPreset:
    """What a policy that sees pictures has beside its plan network."""

    encoder: EncoderSpec
    encoder_rate_scale: float
    """Learning rate of the encoders, relative to the plan network's: a tenth in Table X."""
    encoder_warmup_steps: int


@dataclass(frozen=True)
class BcPreset:
    """Everything that defines a base policy but its data, length of training and seed."""

    network: NetworkSpec
    learning_rate: float
    """Peak of the schedule."""
    steps: int
    """Gradient steps if the command line names none."""
    prediction_horizon: int = 32
    action_horizon: int = 8
    features: str = "absolute"
    """Of `core.observation.FEATURES`: which relative poses it is conditioned on as well."""
    plan_frame: str = "base"
    """Predict absolute actions, or (`hand`) their difference from the hand's present pose."""
    optimizer: str = "adamw"
    """`adamw` (the paper's), or `muon` for matrices and kernels (training.muon)."""
    weight_decay: float = 1e-6
    """AdamW's."""
    warmup_steps: int = 500
    student: StudentPreset | None = None
    """Of a policy that sees pictures."""

    @property
    def sampler(self) -> SamplerSpec | None:
        """100 levels in training, 4 steps of a plan (Table IV); None if nothing is denoised."""
        return SamplerSpec() if self.network.denoises else None


def unet_preset(size: str) -> BcPreset:
    """Diffusion policy with the U-Net: 66 M parameters (Table IV), or 1.8 M."""
    if size == "paper":
        network = UNetSpec(down_dims=(256, 512, 1024), kernel_size=5, groups=8, step_embed_dim=256)
        return BcPreset(network, learning_rate=1e-4, steps=PAPER_STEPS)
    network = UNetSpec(
        down_dims=(64, 96, 128),
        kernel_size=3,
        groups=8,
        step_embed_dim=64,
        activation="silu",
        encoder_dim=256,
    )
    return _small(network, learning_rate=1e-3)


def transformer_preset(size: str) -> BcPreset:
    """Diffusion policy with the transformer: 9.5 M parameters (Table X), or 0.6 M."""
    if size == "paper":
        return BcPreset(
            TransformerSpec(layers=8, heads=4, width=256),
            learning_rate=1e-4,
            steps=500_000,
            weight_decay=1e-3,
            warmup_steps=1000,
        )
    # No dropout: on a CPU it costs a third of a step's time.
    network = TransformerSpec(layers=3, heads=4, width=96, attention_dropout=0.0)
    return _small(network, learning_rate=1e-3)


def mlp_preset(size: str, steps: int) -> BcPreset:
    """MLP that predicts and executes `steps`: 11 M parameters (Table V), or 1.6 M."""
    if size == "paper":
        preset = BcPreset(MlpSpec(width=1024, blocks=5), learning_rate=1e-4, steps=PAPER_STEPS)
    else:
        preset = _small(MlpSpec(width=512, blocks=3), learning_rate=1e-3)
        # its steps take so little that Muon would make them five times as long
        preset = dataclasses.replace(preset, optimizer="adamw", steps=SMALL_ADAMW_STEPS)
    return dataclasses.replace(preset, prediction_horizon=steps, action_horizon=steps)


def act_preset(size: str) -> BcPreset:
    """ACT: sizes of its own paper, optimiser of ResiP's Table III; or 0.36 M."""
    if size == "paper":
        network = ActSpec(encoder_layers=4, decoder_layers=7, heads=8, width=512, feedforward=3200)
        return BcPreset(network, learning_rate=1e-4, steps=PAPER_STEPS)
    network = ActSpec(encoder_layers=2, decoder_layers=2, heads=4, width=64, feedforward=256)
    return _small(network, learning_rate=1e-3)


def _small(network: NetworkSpec, learning_rate: float) -> BcPreset:
    return BcPreset(
        network,
        learning_rate=learning_rate,
        optimizer="muon",
        steps=SMALL_STEPS,
        features="relative",
        plan_frame="hand",
    )


def student_preset(network: str, size: str, *, pretrained: bool = False) -> BcPreset:
    """The same networks behind ResNet-18s: Table X, or 0.2 M parameters a camera.

    `pretrained` encoders keep their normalisation's statistics (see `policy.resnet`).
    """
    preset = get_preset(network, size)
    if size == "paper":
        encoder = EncoderSpec(norm="frozen_batch" if pretrained else "group")
        student = StudentPreset(encoder, encoder_rate_scale=0.1, encoder_warmup_steps=5000)
        return dataclasses.replace(
            preset, student=student, weight_decay=1e-3, warmup_steps=1000, steps=500_000
        )
    if pretrained:
        raise ConfigError("encoder_weights are of a whole ResNet-18: use --preset paper")
    encoder = EncoderSpec(size=112, width=16, stages=3, pool="keypoints", features=64)
    return dataclasses.replace(
        preset,
        student=StudentPreset(encoder, encoder_rate_scale=1.0, encoder_warmup_steps=100),
        # also for an MLP: the encoders' time is far more than Muon's
        optimizer="muon",
        features="absolute",
        steps=STUDENT_STEPS,
        warmup_steps=100,
    )


NETWORKS = {
    "mlp_s": lambda size: mlp_preset(size, steps=1),
    "mlp_c": lambda size: mlp_preset(size, steps=8),
    "unet": unet_preset,
    "transformer": transformer_preset,
    "act": act_preset,
}


def get_preset(network: str, size: str) -> BcPreset:
    """Preset of a network (a key of `NETWORKS`) in a size.

    Raises:
        ConfigError: for an unknown name.
    """
    if network not in NETWORKS:
        raise ConfigError(f"unknown network {network!r}; known networks: {', '.join(NETWORKS)}")
    if size not in SIZES:
        raise ConfigError(f"unknown preset {size!r}; known presets: {', '.join(SIZES)}")
    return NETWORKS[network](size)
