# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from resip_ros.policy.act import ActSpec, compute_kl

TINY = ActSpec(encoder_layers=1, decoder_layers=1, heads=2, width=16, feedforward=32, latent_dim=3)
INPUTS, PLANS = torch.randn(4, 58), torch.rand(4, 5, 10) * 2 - 1


def test_divergence_by_hand() -> None:
    # N(1, 1): 1/2. N(0, 4): (4 - 1 - ln 4) / 2. N(0, 1): 0. Summed over z, averaged over rows.
    mean = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    log_variance = torch.log(torch.tensor([[1.0, 4.0], [1.0, 1.0]]))
    expected = (0.5 + (3 - math.log(4)) / 2 + 0) / 2
    assert compute_kl(mean, log_variance).item() == pytest.approx(expected, abs=1e-6)


def test_divergence_equals_torchs() -> None:
    mean, log_variance = torch.randn(6, 3), torch.randn(6, 3)
    exact = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(compute_kl(mean, log_variance), exact.sum(-1).mean())


def test_loss_is_the_absolute_error_plus_the_weighted_divergence() -> None:
    network = TINY.build(10, 58, 5).eval()
    mean, log_variance = network.encode_style(INPUTS, PLANS)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(2))
    plan = network(INPUTS, mean + log_variance.div(2).exp() * noise)
    expected = (plan - PLANS).abs().mean() + 10.0 * compute_kl(mean, log_variance)
    loss = network.compute_loss(INPUTS, PLANS, torch.Generator().manual_seed(2), None)
    torch.testing.assert_close(loss, expected)


def test_plan_is_that_of_style_zero() -> None:
    network = TINY.build(10, 58, 5).eval()
    plan = network.compute_plan(INPUTS, torch.randn(4, 5, 10), None)
    torch.testing.assert_close(plan, network(INPUTS, torch.zeros(4, 3)).clamp(-1, 1))
    assert not torch.allclose(plan, network(INPUTS, torch.ones(4, 3)), atol=1e-4)


def test_style_is_read_from_the_whole_plan() -> None:
    network = TINY.build(10, 58, 5).eval()
    reference = network.encode_style(INPUTS, PLANS)[0]
    for step in range(5):
        changed = PLANS.clone()
        changed[:, step] += 1
        assert not torch.allclose(network.encode_style(INPUTS, changed)[0], reference, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder_layers": 0},
        {"decoder_layers": 0},
        {"feedforward": 0},
        {"latent_dim": 0},
        {"heads": 3},
        {"dropout": 1.0},
        {"kl_weight": -1.0},
    ],
)
def test_impossible_sizes_are_refused(change: dict) -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "heads": 2, "width": 16, "feedforward": 32}
    with pytest.raises(ValueError, match=next(iter(change))):
        ActSpec(**sizes | change)
