# SPDX-License-Identifier: Apache-2.0
"""What every network of a base policy promises, tried on each of them."""

import pytest
import torch

from resip_ros.policy.plan_network import NetworkSpec, PlanNetwork, check_heads
from resip_ros.policy.sampler import SamplerSpec

B, T, A, D = 3, 8, 7, 12
"""Neither action nor input has the size of any task."""


@pytest.fixture
def sampler(spec: NetworkSpec) -> SamplerSpec | None:
    return SamplerSpec() if spec.denoises else None


@pytest.fixture
def network(spec: NetworkSpec) -> PlanNetwork:
    torch.manual_seed(0)
    spec.check_horizon(T)
    return spec.build(A, D, T)


INPUTS, PLANS, NOISE = torch.randn(B, D), torch.rand(B, T, A) * 2 - 1, torch.randn(B, T, A)


def test_loss_is_one_number_whose_gradient_reaches_every_parameter(
    network: PlanNetwork, sampler: SamplerSpec | None
) -> None:
    loss = network.compute_loss(INPUTS, PLANS, torch.Generator().manual_seed(0), sampler)
    assert loss.shape == ()
    loss.backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_plan_has_its_shape_and_bounds(network: PlanNetwork, sampler: SamplerSpec | None) -> None:
    with torch.inference_mode():
        plan = network.eval().compute_plan(10 * INPUTS, NOISE, sampler)
    assert plan.shape == (B, T, A)
    assert plan.abs().max() <= 1


def test_only_a_denoiser_depends_on_the_noise(
    network: PlanNetwork, spec: NetworkSpec, sampler: SamplerSpec | None
) -> None:
    with torch.inference_mode():
        plan = network.eval().compute_plan(INPUTS, NOISE, sampler)
        other = network.compute_plan(INPUTS, NOISE + 0.3, sampler)
        moved = network.compute_plan(INPUTS + 0.3, NOISE, sampler)
    assert torch.equal(plan, other) == (not spec.denoises)
    assert not torch.allclose(plan, moved, atol=1e-4)


def test_rows_of_a_batch_do_not_mix(network: PlanNetwork, sampler: SamplerSpec | None) -> None:
    with torch.inference_mode():
        together = network.eval().compute_plan(INPUTS, NOISE, sampler)
        alone = network.compute_plan(INPUTS[1:2], NOISE[1:2], sampler)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_loss_is_a_function_of_its_generator(
    network: PlanNetwork, sampler: SamplerSpec | None
) -> None:
    """Apart from dropout, which is off here, nothing else is random."""
    network.eval()
    losses = [
        network.compute_loss(INPUTS, PLANS, torch.Generator().manual_seed(0), sampler).item()
        for _ in range(2)
    ]
    assert losses[0] == losses[1]


def test_heads_share_the_width() -> None:
    check_heads(12, 3)
    with pytest.raises(ValueError, match=r"multiple of heads \(5\), got 12"):
        check_heads(12, 5)
