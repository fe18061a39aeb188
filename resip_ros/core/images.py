# SPDX-License-Identifier: Apache-2.0
"""The pictures that policies see, as dataset, camera node and policies agree on them."""

from __future__ import annotations

IMAGE_HEIGHT, IMAGE_WIDTH = 240, 320
IMAGE_SHAPE = (IMAGE_HEIGHT, IMAGE_WIDTH, 3)
"""Rows, columns, RGB; uint8."""
IMAGE_MAX_AGE_S = 0.2
"""A picture that was taken further from an instant must not be acted on there, s."""
POLICY_CAMERAS: tuple[str, ...] = ("front", "wrist")


def image_array(camera: str) -> str:
    """Name of a camera's array (N, 240, 320, 3) in a dataset."""
    return f"image_{camera}"
