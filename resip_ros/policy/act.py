# SPDX-License-Identifier: Apache-2.0
"""ACT, the action chunking transformer (arXiv 2304.13705), on the state observation.

A conditional VAE: in training an encoder sees the demonstrated plan and describes its style by
a few numbers z; the decoder makes the plan from the observation and z. At run time z is 0, the
middle of what the encoder is pulled towards, and ACT is deterministic.

Differences from the paper: the observation is one token instead of camera features; layers
normalise their input ("pre-norm"), which trains without tuning. There is no temporal
ensembling: it needs a new plan at every step and would blend the chunk that the residual
policy was trained on, whereas here a chunk is executed as it was planned.

Shape letters: B batch, T prediction horizon (steps), Da action dimension, Di input dimension,
Z size of z.
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
    check_heads,
    check_positive,
)
from resip_ros.policy.sampler import SamplerSpec

_INIT_STD = 0.02


@dataclass(frozen=True)
class ActSpec(NetworkSpec):
    """Sizes of ACT; stored in the bundle's card."""

    architecture: ClassVar[str] = "act"

    encoder_layers: int
    """Of the style encoder and, again, of the encoder of observation and style."""
    decoder_layers: int
    heads: int
    """Attention heads of every layer."""
    width: int
    """Features of a token."""
    feedforward: int
    """Features inside the feed-forward layers."""
    latent_dim: int = 32
    """Z."""
    dropout: float = 0.1
    """Share dropped inside the layers in training."""
    kl_weight: float = 10.0
    """Weight of the style's divergence beside the error of the plan."""

    def __post_init__(self) -> None:
        """Refuse sizes the network cannot have."""
        check_positive(self, "encoder_layers", "decoder_layers", "heads", "width")
        check_positive(self, "feedforward", "latent_dim")
        check_heads(self.width, self.heads)
        check_dropout(dropout=self.dropout)
        if self.kl_weight < 0:
            raise ValueError(f"kl_weight must not be negative, got {self.kl_weight}")

    def build(self, action_dim: int, input_dim: int, horizon: int) -> ActNetwork:
        """Build the network."""
        return ActNetwork(action_dim, input_dim, horizon, self)


def compute_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of N(mean, variance) (B, Z) from N(0, 1): summed over Z, averaged over B.

    Kingma & Welling (arXiv 1312.6114), appendix B.
    """
    per_dim = -0.5 * (1 + log_variance - mean.square() - log_variance.exp())
    return per_dim.sum(dim=-1).mean()


def _positions(count: int, width: int) -> nn.Parameter:
    return nn.Parameter(_INIT_STD * torch.randn(count, width))


class ActNetwork(PlanNetwork):
    """Plan from the observation, with a style z in training."""

    def __init__(self, action_dim: int, input_dim: int, horizon: int, spec: ActSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.width
        # style encoder: [summary, observation, plan step 1 .. T] -> mean and log variance of z
        self.summary = _positions(1, width)
        self.style_input = nn.Linear(input_dim, width)
        self.style_action = nn.Linear(action_dim, width)
        self.style_position = _positions(2 + horizon, width)
        self.style_encoder = self._build_encoder()
        self.style_head = nn.Linear(width, 2 * spec.latent_dim)
        # plan: [z, observation] -> memory, to which one query for each step attends
        self.latent_token = nn.Linear(spec.latent_dim, width)
        self.input_token = nn.Linear(input_dim, width)
        self.memory_position = _positions(2, width)
        self.encoder = self._build_encoder()
        self.queries = _positions(horizon, width)
        self.decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(
                width,
                spec.heads,
                spec.feedforward,
                spec.dropout,
                batch_first=True,
                norm_first=True,
            ),
            spec.decoder_layers,
            norm=nn.LayerNorm(width),
        )
        self.head = nn.Linear(width, action_dim)

    def _build_encoder(self) -> nn.TransformerEncoder:
        spec = self.spec
        layer = nn.TransformerEncoderLayer(
            spec.width,
            spec.heads,
            spec.feedforward,
            spec.dropout,
            batch_first=True,
            norm_first=True,
        )
        norm = nn.LayerNorm(spec.width)
        return nn.TransformerEncoder(
            layer, spec.encoder_layers, norm=norm, enable_nested_tensor=False
        )

    def encode_style(self, inputs: Tensor, plans: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of z, each (B, Z), for inputs (B, Di) and plans (B, T, Da)."""
        tokens = torch.cat(
            (
                self.summary.expand(len(inputs), 1, -1),
                self.style_input(inputs)[:, None],
                self.style_action(plans),
            ),
            dim=1,
        )
        summary = self.style_encoder(tokens + self.style_position)[:, 0]
        mean, log_variance = self.style_head(summary).chunk(2, dim=-1)
        return mean, log_variance

    def forward(self, inputs: Tensor, latent: Tensor) -> Tensor:
        """Map inputs (B, Di) and style (B, Z) to plans (B, T, Da)."""
        tokens = torch.stack((self.latent_token(latent), self.input_token(inputs)), dim=1)
        memory = self.encoder(tokens + self.memory_position)
        return self.head(self.decoder(self.queries.expand(len(inputs), -1, -1), memory))

    def compute_loss(
        self,
        inputs: Tensor,
        plans: Tensor,
        generator: torch.Generator,
        sampler: SamplerSpec | None,
    ) -> Tensor:
        """Mean absolute error of the plans (B, T, Da) plus the weighted divergence of z."""
        mean, log_variance = self.encode_style(inputs, plans)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        latent = mean + (0.5 * log_variance).exp() * noise
        error = functional.l1_loss(self(inputs, latent), plans)
        return error + self.spec.kl_weight * compute_kl(mean, log_variance)

    def compute_plan(self, inputs: Tensor, noise: Tensor, sampler: SamplerSpec | None) -> Tensor:
        """Plans (B, T, Da) of style 0, the same whatever the noise."""
        latent = inputs.new_zeros(len(inputs), self.spec.latent_dim)
        return self(inputs, latent).clamp(-1.0, 1.0)
