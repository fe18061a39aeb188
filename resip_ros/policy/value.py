# SPDX-License-Identifier: Apache-2.0
"""Values of whole chunks, and choosing the best of several that a base samples (IDQL).

Source: IDQL, arXiv 2304.10573, as ResiP's Table VIII uses it.

Shape letters: B batch, S samples, D dimension of base input and chunk together, K executed steps,
A action dimension.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

if TYPE_CHECKING:
    from resip_ros.policy.card import ValueCard
    from resip_ros.policy.runtime import BasePolicy

Float32 = NDArray[np.float32]


class ChunkValue(nn.Module):
    """Value of an observation and a chunk: tanh layers, a sigmoid, the largest return."""

    def __init__(self, input_dim: int, hidden: tuple[int, ...], largest: float) -> None:
        """Build the network.

        Args:
            input_dim: D.
            hidden: Widths of the hidden layers.
            largest: Return of an episode in which every pair is assembled.
        """
        super().__init__()
        self.hidden = hidden
        self._largest = largest
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(input_dim, width), nn.Tanh()]
            input_dim = width
        self.layers = nn.Sequential(*layers, nn.Linear(input_dim, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (..., D) to (...)."""
        return self._largest * self.layers(inputs)[..., 0].sigmoid()


def value_input(base: BasePolicy, obs: NDArray[np.floating], chunks: Float32) -> Float32:
    """What the value sees (B, D): the base's input, then the chunk (B, K, A), flattened."""
    return np.concatenate([base.build_input(obs), chunks.reshape(len(chunks), -1)], axis=1)


def choose_chunk(
    base: BasePolicy,
    value: nn.Module,
    samples: int,
    obs: NDArray[np.floating],
    generator: torch.Generator | None = None,
) -> Float32:
    """The most valuable of the base's chunks.

    Args:
        base: Policy that samples chunks.
        value: Inputs (B, D) to values (B,).
        samples: S, chunks drawn for each observation.
        obs: (B, obs) raw observations, SI, base frame.
        generator: Of the sampling noise; the base's own if None.

    Returns:
        (B, K, A) normalised actions.
    """
    repeated = np.repeat(obs, samples, axis=0)
    chunks = base.predict_chunk(repeated, generator)[:, : base.action_steps]
    with torch.inference_mode():
        values = value(torch.from_numpy(value_input(base, repeated, chunks))).numpy()
    best = values.reshape(len(obs), samples).argmax(axis=1)
    return chunks.reshape(len(obs), samples, *chunks.shape[1:])[np.arange(len(obs)), best]


class ValuePolicy:
    """A base whose chunks are chosen by value."""

    def __init__(self, card: ValueCard, value: ChunkValue) -> None:
        """Take over trained values; they are frozen from here on."""
        self.card = card
        self._value = value.eval().requires_grad_(False)

    def choose(
        self,
        base: BasePolicy,
        obs: NDArray[np.floating],
        generator: torch.Generator | None = None,
    ) -> Float32:
        """Chunks (B, K, A), normalised, for raw observations (B, obs)."""
        return choose_chunk(base, self._value, self.card.samples, obs, generator)
