# SPDX-License-Identifier: Apache-2.0
"""The transformer of Diffusion Policy (arXiv 2303.04137, section IV-A).

Steps of the noisy plan are tokens: each attends to itself and the steps before it, and to the
condition, which is two more tokens (noise level and observation) passed through a small MLP.
ResiP uses it on the real robot (Table X: 8 layers, 4 heads, width 256, attention dropout 0.3).

Shape letters: B batch, T prediction horizon (steps), Da action dimension, Di input dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from resip_ros.policy.denoiser import Denoiser, StepEmbedding
from resip_ros.policy.plan_network import NetworkSpec, check_dropout, check_heads, check_positive

_INIT_STD = 0.02
"""Spread of the learned positions at the start, as usual for transformers (GPT, BERT)."""


@dataclass(frozen=True)
class TransformerSpec(NetworkSpec):
    """Sizes of the denoising transformer; stored in the bundle's card."""

    architecture: ClassVar[str] = "transformer"
    denoises: ClassVar[bool] = True

    layers: int
    heads: int
    """Attention heads of every layer."""
    width: int
    """Features of a token, even; feed-forward layers have four times as many."""
    attention_dropout: float = 0.3
    """Share dropped inside the layers in training."""
    embedding_dropout: float = 0.0
    """Share of the embedded tokens dropped in training."""

    def __post_init__(self) -> None:
        """Refuse sizes the network cannot have."""
        check_positive(self, "layers", "heads", "width")
        check_heads(self.width, self.heads)
        if self.width < 4 or self.width % 2:
            raise ValueError(f"width must be even and >= 4, got {self.width}")
        check_dropout(
            attention_dropout=self.attention_dropout, embedding_dropout=self.embedding_dropout
        )

    def build(self, action_dim: int, input_dim: int, horizon: int) -> DenoisingTransformer:
        """Build the network."""
        return DenoisingTransformer(action_dim, input_dim, horizon, self)


class DenoisingTransformer(Denoiser):
    """Predicts the noise in a noisy plan, given the noise level and the input."""

    causal: Tensor

    def __init__(
        self, action_dim: int, input_dim: int, horizon: int, spec: TransformerSpec
    ) -> None:
        super().__init__()
        width = spec.width
        self.action_embedding = nn.Linear(action_dim, width)
        self.step_embedding = StepEmbedding(width)
        self.input_embedding = nn.Linear(input_dim, width)
        self.plan_position = nn.Parameter(_INIT_STD * torch.randn(horizon, width))
        self.condition_position = nn.Parameter(_INIT_STD * torch.randn(2, width))
        self.dropout = nn.Dropout(spec.embedding_dropout)
        self.condition_encoder = nn.Sequential(
            nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width)
        )
        layer = nn.TransformerDecoderLayer(
            width,
            spec.heads,
            4 * width,
            spec.attention_dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.decoder = nn.TransformerDecoder(layer, spec.layers, norm=nn.LayerNorm(width))
        self.head = nn.Linear(width, action_dim)
        mask = nn.Transformer.generate_square_subsequent_mask(horizon)
        # Derived from the horizon, so it is not part of the stored weights.
        self.register_buffer("causal", mask, persistent=False)

    def forward(self, noisy: Tensor, step: Tensor, inputs: Tensor) -> Tensor:
        """Predict the noise (B, T, Da) in `noisy`, of level `step` (B,), for inputs (B, Di)."""
        condition = torch.stack((self.step_embedding(step), self.input_embedding(inputs)), dim=1)
        condition = self.dropout(condition + self.condition_position)
        tokens = self.dropout(self.action_embedding(noisy) + self.plan_position)
        tokens = self.decoder(
            tokens, self.condition_encoder(condition), tgt_mask=self.causal, tgt_is_causal=True
        )
        return self.head(tokens)
