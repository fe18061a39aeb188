# SPDX-License-Identifier: Apache-2.0
"""Diffusion policies: a network that predicts the noise in a noisy plan.

Loss and sampling are the same for every such network (Diffusion Policy, arXiv 2303.04137).

Shape letters: B batch, T prediction horizon (steps), Da action dimension, Di input dimension.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from resip_ros.policy.plan_network import PlanNetwork
from resip_ros.policy.sampler import SamplerSpec, add_noise, sample_ddim


class Denoiser(PlanNetwork):
    """Predicts noise; its plan is denoised from pure noise by DDIM."""

    @abstractmethod
    def forward(self, noisy: Tensor, step: Tensor, inputs: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            noisy: (B, T, Da) plans with noise.
            step: (B,) integer noise level.
            inputs: (B, Di) `base_input`.

        Returns:
            (B, T, Da) predicted noise.
        """

    def compute_loss(
        self,
        inputs: Tensor,
        plans: Tensor,
        generator: torch.Generator,
        sampler: SamplerSpec | None,
    ) -> Tensor:
        """Mean squared error of the predicted noise, at a random noise level for each plan."""
        assert sampler is not None, "a denoiser needs a noise schedule"
        step = torch.randint(sampler.train_steps, (len(inputs),), generator=generator)
        noise = torch.randn(plans.shape, generator=generator).to(plans.device)
        step = step.to(plans.device)
        noisy = add_noise(plans, noise, step, sampler.train_steps)
        return functional.mse_loss(self(noisy, step, inputs), noise)

    def compute_plan(self, inputs: Tensor, noise: Tensor, sampler: SamplerSpec | None) -> Tensor:
        """Denoise `noise` (B, T, Da) into plans (B, T, Da)."""
        assert sampler is not None, "a denoiser needs a noise schedule"
        return sample_ddim(
            lambda noisy, step: self(noisy, step, inputs),
            noise,
            sampler.timesteps,
            sampler.train_steps,
        )


class StepEmbedding(nn.Module):
    """Sinusoidal embedding of the denoising step, then a two-layer MLP."""

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        frequencies = torch.exp(torch.arange(half) * (-math.log(10_000) / (half - 1)))
        # Derived from `dim`, so it is not part of the stored weights.
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.Mish(), nn.Linear(4 * dim, dim))

    def forward(self, step: Tensor) -> Tensor:
        """Embed integer steps (B,) as (B, dim)."""
        phase = step.to(self.frequencies.dtype)[:, None] * self.frequencies[None, :]
        return self.mlp(torch.cat((phase.sin(), phase.cos()), dim=-1))
