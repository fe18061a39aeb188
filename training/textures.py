# SPDX-License-Identifier: Apache-2.0
"""Surfaces that pictures are drawn with: grey patterns made from numbers, coloured by the look."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

_SIZE = 128
_SEED = 20


def _smooth(noise: NDArray[np.float64], cells: tuple[int, int]) -> NDArray[np.float64]:
    """Noise of (S, S) averaged over cells of (rows, columns), by periodic sums in both axes."""
    for axis, width in enumerate(cells):
        shifted = [np.roll(noise, k, axis=axis) for k in range(width)]
        noise = np.mean(shifted, axis=0)
    low, high = noise.min(), noise.max()
    return (noise - low) / (high - low)


def _patterns() -> dict[str, NDArray[np.float64]]:
    """Grey patterns (S, S) in [0, 1] by name; equal on every machine."""
    rng = np.random.default_rng(_SEED)
    rows, columns = np.mgrid[:_SIZE, :_SIZE]
    bricks = (rows % 16 < 2) | ((columns + 16 * ((rows // 16) % 2)) % 32 < 2)
    weave = ((rows // 4) + (columns // 4)) % 2
    return {
        "plain": np.ones((_SIZE, _SIZE)),
        "speckle": 0.7 + 0.3 * _smooth(rng.random((_SIZE, _SIZE)), (2, 2)),
        "wood": 0.55 + 0.45 * _smooth(rng.random((_SIZE, _SIZE)), (3, 48)),
        "check": 0.6 + 0.4 * (((rows // 32) + (columns // 32)) % 2),
        "bricks": 1.0 - 0.5 * bricks,
        "weave": 0.75 + 0.25 * weave * _smooth(rng.random((_SIZE, _SIZE)), (2, 2)),
    }


TEXTURES: tuple[str, ...] = tuple(_patterns())
"""Names of the materials that `add_textures` adds."""


def add_textures(spec: mujoco.MjSpec) -> None:
    """Add a material of each name, to be given to a geom with a colour of its own."""
    for name, pattern in _patterns().items():
        grey = np.repeat((255 * pattern).astype(np.uint8)[..., None], 3, axis=-1)
        texture = spec.add_texture(
            name=name,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            width=_SIZE,
            height=_SIZE,
            nchannel=3,
        )
        texture.data = grey.tobytes()
        material = spec.add_material(name=name, texuniform=True, texrepeat=[4.0, 4.0])
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
        material.specular = 0.3
