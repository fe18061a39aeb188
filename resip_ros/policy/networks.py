# SPDX-License-Identifier: Apache-2.0
"""The networks that a bundle can hold: those of base policies by name, and the residual's.

A base network is one file with a spec (sizes) and a module; it is known to cards, bundles,
runtime and training by its line in `ARCHITECTURES`.
"""

from __future__ import annotations

from torch import nn

from resip_ros.policy.act import ActSpec
from resip_ros.policy.mlp import MlpSpec
from resip_ros.policy.plan_network import NetworkSpec
from resip_ros.policy.transformer import TransformerSpec
from resip_ros.policy.unet import ConditionalUNet, UNetSpec

ARCHITECTURES: dict[str, type[NetworkSpec]] = {
    spec.architecture: spec for spec in (UNetSpec, TransformerSpec, MlpSpec, ActSpec)
}
__all__ = ["ARCHITECTURES", "ConditionalUNet", "UNetSpec", "build_residual_actor"]


def build_residual_actor(
    input_dim: int, action_dim: int, hidden: tuple[int, ...] = (256, 256)
) -> nn.Sequential:
    """Build the residual's MLP (ReLU) with a zero head, so that training starts at the base.

    Args:
        input_dim: size of `residual_input`.
        action_dim: Da.
        hidden: widths of the hidden layers.

    Returns:
        A network (B, input_dim) -> (B, Da); the last layer has no bias.
    """
    layers: list[nn.Module] = []
    width = input_dim
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    head = nn.Linear(width, action_dim, bias=False)
    nn.init.zeros_(head.weight)
    return nn.Sequential(*layers, head)
