# SPDX-License-Identifier: Apache-2.0
"""What every network of a base policy can do, whatever it is: learn from plans, and make one.

Training, runtime and bundles know a network by these two classes only.

Shape letters: B batch, T prediction horizon (steps), Da action dimension, Di input dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from resip_ros.policy.sampler import SamplerSpec


class PlanNetwork(nn.Module, ABC):
    """Maps the base's input to a plan; plans are scaled to [-1, 1]."""

    @abstractmethod
    def compute_loss(
        self,
        inputs: Tensor,
        plans: Tensor,
        generator: torch.Generator,
        sampler: SamplerSpec | None,
    ) -> Tensor:
        """Loss of a batch, averaged.

        Args:
            inputs: (B, Di) `base_input`.
            plans: (B, T, Da) demonstrated plans.
            generator: CPU generator of all random numbers that the loss itself needs.
            sampler: noise schedule; None for a network that does not denoise.
        """

    @abstractmethod
    def compute_plan(self, inputs: Tensor, noise: Tensor, sampler: SamplerSpec | None) -> Tensor:
        """Make a plan.

        Args:
            inputs: (B, Di) `base_input`.
            noise: (B, T, Da) standard normal, where sampling starts; a deterministic network
                ignores it.
            sampler: denoising steps; None for a network that does not denoise.

        Returns:
            (B, T, Da) within [-1, 1].
        """


class NetworkSpec(ABC):
    """Sizes of a network: a frozen dataclass of numbers, stored in the bundle's card."""

    architecture: ClassVar[str]
    """Name in the card."""
    denoises: ClassVar[bool] = False
    """Whether the network needs a `SamplerSpec`."""

    def check_horizon(self, horizon: int) -> None:  # noqa: B027  (any horizon, unless overridden)
        """Refuse a prediction horizon that the network cannot have.

        Raises:
            ValueError: naming the horizons that it can have.
        """

    @abstractmethod
    def build(self, action_dim: int, input_dim: int, horizon: int) -> PlanNetwork:
        """Build the network, untrained, for inputs (B, Di) and plans (B, T, Da)."""


def check_positive(spec: NetworkSpec, *names: str) -> None:
    """Refuse a size below 1."""
    for name in names:
        if getattr(spec, name) < 1:
            raise ValueError(f"{name} must be positive, got {getattr(spec, name)}")


def check_heads(width: int, heads: int) -> None:
    """Refuse a width that the attention heads cannot share."""
    if width % heads:
        raise ValueError(f"width must be a multiple of heads ({heads}), got {width}")


def check_dropout(**shares: float) -> None:
    """Refuse a share of dropped activations outside [0, 1)."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ValueError(f"{name} must be in [0, 1), got {share}")
