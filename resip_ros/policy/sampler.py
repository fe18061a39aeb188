# SPDX-License-Identifier: Apache-2.0
"""DDIM sampling and the forward noising it inverts; the whole diffusion maths of the package.

Epsilon prediction, "squared cosine" betas (Nichol & Dhariwal 2021, arXiv 2102.09672), eta 0
(Song et al. 2021, arXiv 2010.02502, eq. 12): equal noise gives equal actions.

Shape letters: B batch, T prediction horizon, Da action dimension.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_COSINE_OFFSET = 0.008
_MAX_BETA = 0.999


START_LEVEL = 0.9
"""Noise level, as a share of the trained ones, at which pure noise enters the denoiser.

The usual even spacing ("leading") starts 4 of 100 steps at level 75, where a training sample
still holds 37 % of the action and pure noise holds none; at level 99 the prediction is divided
by nearly zero. On held-out demonstrations, plans of 4 steps from level 90 miss the demonstrated
position by 20-25 % less than from 75 or 99.
"""


@dataclass(frozen=True)
class SamplerSpec:
    """Denoising schedule; stored in the bundle's card."""

    train_steps: int = 100
    """Noise levels that the network was trained on."""
    inference_steps: int = 4
    """Denoising steps of one plan."""

    def __post_init__(self) -> None:
        """Refuse a schedule that would visit a level twice."""
        if self.train_steps < 1 or self.inference_steps < 1:
            raise ValueError(f"steps must be positive, got {self}")
        if self.inference_steps > START_LEVEL * self.train_steps:
            raise ValueError(
                f"inference_steps must be at most {START_LEVEL} of {self.train_steps} "
                f"(train_steps), got {self.inference_steps}"
            )

    @property
    def timesteps(self) -> tuple[int, ...]:
        """Noise levels visited, noisiest first: 90, 60, 30, 0 for 4 of 100."""
        start = round(START_LEVEL * self.train_steps)
        gaps = max(1, self.inference_steps - 1)
        return tuple(round(start * (gaps - i) / gaps) for i in range(self.inference_steps))


@lru_cache(maxsize=8)
def compute_signal_levels(train_steps: int) -> Tensor:
    """Cumulative products of (1 - beta), (train_steps,) float32, from nearly 1 to nearly 0."""

    def level(t: float) -> float:
        return math.cos((t + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * math.pi / 2) ** 2

    betas = [
        min(1 - level((i + 1) / train_steps) / level(i / train_steps), _MAX_BETA)
        for i in range(train_steps)
    ]
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float32), dim=0)


def add_noise(clean: Tensor, noise: Tensor, step: Tensor, train_steps: int) -> Tensor:
    """Noise clean chunks (B, T, Da) to level `step` (B,)."""
    signal = compute_signal_levels(train_steps).to(clean.device)[step][:, None, None]
    return signal.sqrt() * clean + (1 - signal).sqrt() * noise


def sample_ddim(
    predict_noise: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    timesteps: Sequence[int],
    train_steps: int,
) -> Tensor:
    """Denoise pure noise into a chunk.

    Args:
        predict_noise: maps (noisy (B, T, Da), step (B,) int64) to the noise (B, T, Da).
        noise: (B, T, Da) standard normal.
        timesteps: noise levels to visit, falling.
        train_steps: noise levels in all.

    Returns:
        (B, T, Da) actions within [-1, 1].
    """
    levels = compute_signal_levels(train_steps).tolist()
    x = noise
    clean = noise
    for t, previous in zip(timesteps, (*timesteps[1:], None), strict=True):
        step = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        epsilon = predict_noise(x, step)
        clean = (x - math.sqrt(1 - levels[t]) * epsilon) / math.sqrt(levels[t])
        clean = clean.clamp(-1.0, 1.0)
        if previous is not None:
            signal = levels[previous]
            x = math.sqrt(signal) * clean + math.sqrt(1 - signal) * epsilon
    return clean
