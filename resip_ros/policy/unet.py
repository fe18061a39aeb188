# SPDX-License-Identifier: Apache-2.0
"""The 1-D conditional U-Net of Diffusion Policy (arXiv 2303.04137, CNN variant with FiLM).

ResiP's own base policy; its sizes (Table IV) are one preset.

Shape letters: B batch, T prediction horizon (steps), Da action dimension, Do observation
dimension, C channels of a level, E size of the FiLM condition (step embedding + observation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from resip_ros.policy.denoiser import Denoiser, StepEmbedding
from resip_ros.policy.plan_network import NetworkSpec

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mish": functional.mish,
    "silu": functional.silu,
}


@dataclass(frozen=True)
class UNetSpec(NetworkSpec):
    """Sizes of the denoising U-Net; stored in the bundle's card."""

    architecture: ClassVar[str] = "unet"
    denoises: ClassVar[bool] = True

    down_dims: tuple[int, ...]
    """Channels of each level; every level but the last halves the time resolution."""
    kernel_size: int
    """Taps of every residual convolution, odd."""
    groups: int
    """Groups of every GroupNorm; divides each entry of `down_dims`."""
    step_embed_dim: int
    """Size of the denoising step's embedding, even."""
    activation: str = "mish"
    """`mish` as in the paper, or `silu`, whose CPU kernels are 8 times as fast."""
    encoder_dim: int = 0
    """Width of a two-layer encoder of the observation; 0: FiLM sees the observation itself, as in
    the paper. FiLM is linear in its input, so a small network profits from an encoder."""

    def __post_init__(self) -> None:
        """Refuse sizes the network cannot have."""
        if len(self.down_dims) < 2 or min(self.down_dims) < 1:
            raise ValueError(f"down_dims needs at least two positive sizes, got {self.down_dims}")
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {self.kernel_size}")
        if self.groups < 1 or any(dim % self.groups for dim in self.down_dims):
            raise ValueError(
                f"groups must divide every one of {self.down_dims}, got {self.groups}"
            )
        if self.step_embed_dim < 4 or self.step_embed_dim % 2:
            raise ValueError(f"step_embed_dim must be even and >= 4, got {self.step_embed_dim}")

        if self.encoder_dim < 0:
            raise ValueError(f"encoder_dim must not be negative, got {self.encoder_dim}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be in {sorted(ACTIVATIONS)}: {self.activation!r}")

    def check_horizon(self, horizon: int) -> None:
        """Refuse a horizon that cannot be halved from level to level."""
        divisor = 2 ** (len(self.down_dims) - 1)
        if horizon % divisor:
            raise ValueError(
                f"prediction_horizon must be a multiple of {divisor} for down_dims "
                f"{self.down_dims}, got {horizon}"
            )

    def build(self, action_dim: int, input_dim: int, horizon: int) -> ConditionalUNet:
        """Build the network; it takes any horizon that `check_horizon` takes."""
        return ConditionalUNet(action_dim, input_dim, self)


def build_conv(dim_in: int, dim_out: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Build a convolution over time, "same" padding.

    Time is the width of a one-row picture (B, C, 1, T): only 2-D convolutions have a
    channels-last layout in torch, and on CPUs that layout is 1.5 to 5 times as fast.
    """
    return nn.Conv2d(
        dim_in, dim_out, (1, kernel_size), stride=(1, stride), padding=(0, kernel_size // 2)
    )


class ConvBlock(nn.Module):
    """Convolution over time, GroupNorm, activation."""

    def __init__(self, dim_in: int, dim_out: int, spec: UNetSpec) -> None:
        super().__init__()
        self.conv = build_conv(dim_in, dim_out, spec.kernel_size)
        self.norm = nn.GroupNorm(spec.groups, dim_out)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, 1, T) to (B, C_out, 1, T)."""
        return self.activation(self.norm(self.conv(x)))


class FilmBlock(nn.Module):
    """Residual block whose features the condition scales and shifts (FiLM)."""

    def __init__(self, dim_in: int, dim_out: int, film_dim: int, spec: UNetSpec) -> None:
        super().__init__()
        self.first = ConvBlock(dim_in, dim_out, spec)
        self.film = nn.Linear(film_dim, 2 * dim_out)
        self.second = ConvBlock(dim_out, dim_out, spec)
        self.skip = build_conv(dim_in, dim_out, 1) if dim_in != dim_out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (B, C_in, 1, T) to (B, C_out, 1, T) given the activated condition (B, E)."""
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        hidden = torch.addcmul(shift, scale, self.first(x))
        return self.second(hidden) + self.skip(x)


class Level(nn.Module):
    """Two residual blocks at one time resolution."""

    def __init__(self, dim_in: int, dim_out: int, film_dim: int, spec: UNetSpec) -> None:
        super().__init__()
        self.first = FilmBlock(dim_in, dim_out, film_dim, spec)
        self.second = FilmBlock(dim_out, dim_out, film_dim, spec)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (B, C_in, 1, T) to (B, C_out, 1, T) given the activated condition (B, E)."""
        return self.second(self.first(x, condition), condition)


class ConditionalUNet(Denoiser):
    """Predicts the noise in a noisy action chunk, given the step and the observation."""

    def __init__(self, action_dim: int, obs_dim: int, spec: UNetSpec) -> None:
        super().__init__()
        self.spec = spec
        film_dim = spec.step_embed_dim + (spec.encoder_dim or obs_dim)
        dims = (action_dim, *spec.down_dims)
        self.step_embedding = StepEmbedding(spec.step_embed_dim)
        self.encoder = (
            nn.Identity()
            if not spec.encoder_dim
            else nn.Sequential(
                nn.Linear(obs_dim, spec.encoder_dim),
                nn.SiLU(),
                nn.Linear(spec.encoder_dim, spec.encoder_dim),
            )
        )

        self.down_levels = nn.ModuleList()
        self.down_samples = nn.ModuleList()
        for level, (dim_in, dim_out) in enumerate(pairwise(dims)):
            last = level == len(spec.down_dims) - 1
            self.down_levels.append(Level(dim_in, dim_out, film_dim, spec))
            self.down_samples.append(
                nn.Identity() if last else build_conv(dim_out, dim_out, 3, stride=2)
            )

        self.middle = Level(spec.down_dims[-1], spec.down_dims[-1], film_dim, spec)

        self.up_levels = nn.ModuleList()
        self.up_samples = nn.ModuleList()
        for dim_out, dim_in in pairwise(reversed(spec.down_dims)):
            # Twice the channels: the level below and the skip connection.
            self.up_levels.append(Level(2 * dim_out, dim_in, film_dim, spec))
            self.up_samples.append(
                nn.ConvTranspose2d(dim_in, dim_in, (1, 4), stride=(1, 2), padding=(0, 1))
            )

        start = spec.down_dims[0]
        self.final = nn.Sequential(ConvBlock(start, start, spec), build_conv(start, action_dim, 1))
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, noisy: Tensor, step: Tensor, inputs: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            noisy: (B, T, Da) normalised actions with noise; T as `check_horizon` says.
            step: (B,) integer denoising step.
            inputs: (B, Do) `base_input`.

        Returns:
            (B, T, Da) predicted noise.
        """
        condition = torch.cat((self.step_embedding(step), self.encoder(inputs)), dim=-1)
        # Every FiLM layer sees the same activated condition: activate it once.
        condition = ACTIVATIONS[self.spec.activation](condition)
        # (B, T, Da) read as (B, Da, 1, T) is channels-last already: no copy.
        x = noisy.transpose(1, 2).unsqueeze(2)
        skips: list[Tensor] = []
        for level, down in zip(self.down_levels, self.down_samples, strict=True):
            x = level(x, condition)
            skips.append(x)
            x = down(x)
        x = self.middle(x, condition)
        # As in Diffusion Policy, the finest level has no skip connection.
        for level, up in zip(self.up_levels, self.up_samples, strict=True):
            x = up(level(torch.cat((x, skips.pop()), dim=1), condition))
        return self.final(x).squeeze(2).transpose(1, 2)
