# SPDX-License-Identifier: Apache-2.0
import dataclasses

import torch

from resip_ros.policy.networks import ARCHITECTURES, build_residual_actor
from resip_ros.policy.plan_network import NetworkSpec


def test_architectures_are_named_after_themselves() -> None:
    for name, spec in ARCHITECTURES.items():
        assert issubclass(spec, NetworkSpec)
        assert spec.architecture == name
        # The card writes the name beside the sizes.
        assert "architecture" not in {item.name for item in dataclasses.fields(spec)}


def test_residual_actor_starts_at_zero_and_can_learn() -> None:
    actor = build_residual_actor(89, 10)
    assert [m.out_features for m in actor if isinstance(m, torch.nn.Linear)] == [256, 256, 10]
    output = actor(torch.randn(5, 89))
    assert torch.equal(output, torch.zeros(5, 10))
    (output - 1).square().sum().backward()
    assert actor[-1].weight.grad.any()
