# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from resip_ros.policy.mlp import Block, MlpSpec

INPUTS, PLANS = torch.randn(4, 58), torch.rand(4, 3, 10) * 2 - 1


def test_block_adds_to_its_input() -> None:
    block = Block(8, dropout=0.1).eval()
    x = torch.randn(2, 8)
    torch.nn.init.zeros_(block.layers[-1].weight)
    torch.nn.init.constant_(block.layers[-1].bias, 0.25)
    torch.testing.assert_close(block(x), x + 0.25)


def test_loss_is_the_mean_squared_error_of_the_plan() -> None:
    network = MlpSpec(width=8, blocks=1).build(10, 58, 3).eval()
    expected = ((network(INPUTS) - PLANS) ** 2).mean()
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    torch.testing.assert_close(network.compute_loss(INPUTS, PLANS, generator, None), expected)
    assert torch.equal(generator.get_state(), before)


def test_plan_is_the_output_within_its_bounds() -> None:
    network = MlpSpec(width=8, blocks=1).build(10, 58, 3).eval()
    torch.nn.init.normal_(network.layers[-1].weight, std=3.0)
    output = network(INPUTS)
    assert output.abs().max() > 1
    plan = network.compute_plan(INPUTS, torch.randn(4, 3, 10), None)
    torch.testing.assert_close(plan, output.clamp(-1, 1))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_acts_in_training_only(share: float) -> None:
    block = Block(1000, share)
    kept = (block.train().layers[:4](torch.randn(50, 1000)) != 0).float().mean().item()
    assert kept == pytest.approx(0.5 * (1 - share), abs=0.02)  # ReLU lets half through
    x = torch.randn(2, 1000)
    assert torch.equal(block.eval()(x), block(x))


@pytest.mark.parametrize("change", [{"width": 0}, {"blocks": 0}, {"dropout": 1.0}])
def test_impossible_sizes_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        MlpSpec(**{"width": 8, "blocks": 1} | change)
