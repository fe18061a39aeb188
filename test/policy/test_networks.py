# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from resip_ros.policy.networks import ConditionalUNet, FilmBlock, UNetSpec, build_residual_actor
from training.presets import PRESETS, paper_preset, small_preset

TINY = UNetSpec(down_dims=(8, 16), kernel_size=3, groups=4, step_embed_dim=8)


def test_paper_preset_has_the_papers_parameter_count() -> None:
    with torch.device("meta"):
        network = ConditionalUNet(10, 58, paper_preset().network)
    count = sum(p.numel() for p in network.parameters())
    # ResiP Table IV says 66 M; its published code has 66.06 M for this task.
    assert count == pytest.approx(66.06e6, abs=0.01e6)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_fit_their_horizon(name: str) -> None:
    preset = PRESETS[name]()
    assert preset.prediction_horizon % preset.network.horizon_divisor == 0


def test_small_preset_stays_small() -> None:
    network = ConditionalUNet(10, 58, small_preset().network)
    assert sum(p.numel() for p in network.parameters()) < 2e6


def test_output_has_the_shape_of_the_input_and_every_weight_matters() -> None:
    network = ConditionalUNet(10, 58, TINY)
    noisy = torch.randn(3, 32, 10)
    output = network(noisy, torch.tensor([0, 5, 99]), torch.randn(3, 58))
    assert output.shape == noisy.shape
    output.square().sum().backward()
    unused = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_rows_of_a_batch_do_not_mix() -> None:
    network = ConditionalUNet(10, 58, TINY).eval()
    noisy, step, obs = torch.randn(4, 8, 10), torch.arange(4), torch.randn(4, 58)
    with torch.inference_mode():
        together = network(noisy, step, obs)
        alone = network(noisy[2:3], step[2:3], obs[2:3])
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)


def test_observation_and_step_both_condition_the_output() -> None:
    network = ConditionalUNet(10, 58, TINY).eval()
    noisy, obs = torch.randn(1, 8, 10), torch.randn(1, 58)
    with torch.inference_mode():
        reference = network(noisy, torch.tensor([10]), obs)
        assert not torch.allclose(reference, network(noisy, torch.tensor([11]), obs))
        assert not torch.allclose(reference, network(noisy, torch.tensor([10]), obs + 0.1))


def test_plain_torch_convolution_gives_the_same_block() -> None:
    """The one-row-picture layout computes what a 1-D convolution computes."""
    network = ConditionalUNet(10, 58, TINY)
    block = network.down_levels[0].first.first
    x = torch.randn(2, 10, 1, 32)
    expected = torch.nn.functional.conv1d(
        x.squeeze(2), block.conv.weight.squeeze(2), block.conv.bias, padding=1
    )
    torch.testing.assert_close(block.conv(x).squeeze(2), expected, rtol=1e-4, atol=1e-5)


def test_film_scales_and_shifts_the_first_convolution() -> None:
    block = FilmBlock(8, 8, 5, TINY)
    block.film.weight.data.zero_()
    block.film.bias.data[:8] = 3.0
    block.film.bias.data[8:] = 0.5
    x = torch.randn(2, 8, 1, 16)
    expected = block.second(3.0 * block.first(x) + 0.5) + x
    torch.testing.assert_close(block(x, torch.randn(2, 5)), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"down_dims": (8,)},
        {"kernel_size": 4},
        {"groups": 3},
        {"step_embed_dim": 7},
        {"activation": "relu6"},
    ],
)
def test_impossible_sizes_are_refused(change: dict) -> None:
    values = {"down_dims": (8, 16), "kernel_size": 3, "groups": 4, "step_embed_dim": 8} | change
    with pytest.raises(ValueError, match=next(iter(change))):
        UNetSpec(**values)


def test_residual_actor_starts_at_zero_and_can_learn() -> None:
    actor = build_residual_actor(89, 10)
    assert [m.out_features for m in actor if isinstance(m, torch.nn.Linear)] == [256, 256, 10]
    output = actor(torch.randn(5, 89))
    assert torch.equal(output, torch.zeros(5, 10))
    (output - 1).square().sum().backward()
    assert actor[-1].weight.grad.any()
