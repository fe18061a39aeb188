# SPDX-License-Identifier: Apache-2.0
"""Plain regression of a plan by a residual MLP: ResiP's MLP-S (one step) and MLP-C (a chunk).

Sizes: ResiP, Table V: 5 blocks of two layers, width 1024, 11 M parameters.

Shape letters: B batch, T prediction horizon (steps), Da action dimension, Di input dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from resip_ros.policy.plan_network import (
    NetworkSpec,
    PlanNetwork,
    check_dropout,
    check_positive,
)
from resip_ros.policy.sampler import SamplerSpec


@dataclass(frozen=True)
class MlpSpec(NetworkSpec):
    """Sizes of the residual MLP; stored in the bundle's card."""

    architecture: ClassVar[str] = "mlp"

    width: int
    """Features between blocks and inside them."""
    blocks: int
    """Residual blocks of two layers."""
    dropout: float = 0.1
    """Share of activations dropped in training, after each block's first layer."""

    def __post_init__(self) -> None:
        """Refuse sizes the network cannot have."""
        check_positive(self, "width", "blocks")
        check_dropout(dropout=self.dropout)

    def build(self, action_dim: int, input_dim: int, horizon: int) -> ResidualMlp:
        """Build the network."""
        return ResidualMlp(action_dim, input_dim, horizon, self)


class Block(nn.Module):
    """Adds two layers' output to its input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width) to (B, width)."""
        return x + self.layers(x)


class ResidualMlp(PlanNetwork):
    """Predicts the whole plan at once; deterministic."""

    def __init__(self, action_dim: int, input_dim: int, horizon: int, spec: MlpSpec) -> None:
        super().__init__()
        self.action_dim = action_dim
        blocks = [Block(spec.width, spec.dropout) for _ in range(spec.blocks)]
        self.layers = nn.Sequential(
            nn.Linear(input_dim, spec.width),
            *blocks,
            nn.LayerNorm(spec.width),
            nn.Linear(spec.width, horizon * action_dim),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (B, Di) to plans (B, T, Da)."""
        return self.layers(inputs).unflatten(-1, (-1, self.action_dim))

    def compute_loss(
        self,
        inputs: Tensor,
        plans: Tensor,
        generator: torch.Generator,
        sampler: SamplerSpec | None,
    ) -> Tensor:
        """Mean squared error of the plans (B, T, Da); draws nothing from `generator`."""
        return functional.mse_loss(self(inputs), plans)

    def compute_plan(self, inputs: Tensor, noise: Tensor, sampler: SamplerSpec | None) -> Tensor:
        """Plans (B, T, Da), the same whatever the noise."""
        return self(inputs).clamp(-1.0, 1.0)
