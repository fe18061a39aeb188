# SPDX-License-Identifier: Apache-2.0
"""Augmentation of pictures in training, batched, with parameters of its own for every picture.

ResiP Tables XI (front) and XII (wrist), all of it at the encoder's size. Random numbers come from
torch's global generator. Letters: B batch, S encoder's size in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import kornia.augmentation as kornia
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resip_ros.core.images import IMAGE_HEIGHT, IMAGE_WIDTH
from resip_ros.policy.image_encoder import CROP, CROP_AREA_WIDTH, SQUASHED, prepare_images


@dataclass(frozen=True)
class AugmentSettings:
    """Strengths."""

    jitter: float = 0.3
    """Of brightness, contrast, saturation and hue."""
    blur_kernel: int = 5
    blur_sigma: tuple[float, float] = (0.01, 1.2)
    erase_share: float = 0.2
    """Share of cropped pictures with a rectangle of noise."""
    erase_scale: tuple[float, float] = (0.02, 0.33)
    """Its area, relative to the picture's."""
    erase_ratio: tuple[float, float] = (0.3, 3.3)
    """Its height to its width."""


PAPER = AugmentSettings()


class Augment:
    """Prepares and augments one camera's pictures."""

    def __init__(self, camera: str, size: int, settings: AugmentSettings = PAPER) -> None:
        """The wrist's pictures are neither cropped nor erased."""
        self._camera, self._size = camera, size
        self._cropped = not camera.startswith(SQUASHED)
        jitter, kernel = settings.jitter, (settings.blur_kernel, settings.blur_kernel)
        self._jitter = kornia.ColorJitter(jitter, jitter, jitter, jitter, p=1.0)
        self._blur = kornia.RandomGaussianBlur(kernel, settings.blur_sigma, p=1.0)
        self._erase = kornia.RandomErasing(
            p=settings.erase_share, scale=settings.erase_scale, ratio=settings.erase_ratio
        )

    def __call__(self, pictures: NDArray[np.uint8]) -> Tensor:
        """(B, 240, 320, 3) uint8 RGB to (B, 3, S, S) in [0, 1]."""
        corners = draw_corners(len(pictures)) if self._cropped else None
        image = prepare_images(self._camera, pictures, self._size, corners)
        image = self._blur(self._jitter(image)).clamp(0.0, 1.0)
        if not self._cropped:
            return image
        kept = self._erase(torch.ones_like(image[:, :1])) > 0.5
        return torch.where(kept, image, torch.rand_like(image))


def draw_corners(count: int) -> NDArray[np.int64]:
    """Top rows and left columns (count, 2) of crops inside the middle 280 x 240."""
    margin = (IMAGE_WIDTH - CROP_AREA_WIDTH) // 2
    top = torch.randint(IMAGE_HEIGHT - CROP + 1, (count,))
    left = torch.randint(margin, margin + CROP_AREA_WIDTH - CROP + 1, (count,))
    return torch.stack([top, left], dim=-1).numpy()
