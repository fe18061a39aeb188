# SPDX-License-Identifier: Apache-2.0
import math

import torch
from torch import Tensor

from resip_ros.policy.denoiser import Denoiser, StepEmbedding
from resip_ros.policy.sampler import SamplerSpec, compute_signal_levels


class Oracle(Denoiser):
    """Knows the clean plan, and so the noise."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean

    def forward(self, noisy: Tensor, step: Tensor, inputs: Tensor) -> Tensor:
        signal = compute_signal_levels(100)[step][:, None, None]
        return (noisy - signal.sqrt() * self.clean) / (1 - signal).sqrt() + inputs[:, :1, None]


CLEAN = torch.rand(64, 8, 10, generator=torch.Generator().manual_seed(1)) * 1.8 - 0.9


def test_loss_is_the_mean_squared_error_of_the_noise() -> None:
    oracle, generator = Oracle(CLEAN), torch.Generator().manual_seed(0)
    exact = oracle.compute_loss(torch.zeros(64, 3), CLEAN, generator, SamplerSpec())
    assert exact < 1e-4
    # every predicted number is off by 0.5
    off = oracle.compute_loss(torch.full((64, 3), 0.5), CLEAN, generator, SamplerSpec())
    assert abs(off - 0.25) < 0.01


def test_plan_is_the_clean_one_whatever_the_noise() -> None:
    for seed in range(2):
        noise = torch.randn(CLEAN.shape, generator=torch.Generator().manual_seed(seed))
        plan = Oracle(CLEAN).compute_plan(torch.zeros(64, 3), noise, SamplerSpec())
        torch.testing.assert_close(plan, CLEAN, rtol=1e-3, atol=1e-4)


def test_step_embedding_starts_from_sines_of_rising_wavelength() -> None:
    embedding = StepEmbedding(4)
    seen: list[Tensor] = []
    embedding.mlp.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    embedding(torch.tensor([3]))
    expected = [math.sin(3), math.sin(3e-4), math.cos(3), math.cos(3e-4)]
    torch.testing.assert_close(seen[0], torch.tensor([expected]))
