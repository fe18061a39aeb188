# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from resip_ros.policy.unet import ConditionalUNet, FilmBlock, UNetSpec

TINY = UNetSpec(down_dims=(8, 16), kernel_size=3, groups=4, step_embed_dim=8)


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


def test_horizon_must_halve_from_level_to_level() -> None:
    spec = UNetSpec(down_dims=(8, 8, 8), kernel_size=3, groups=4, step_embed_dim=8)
    spec.check_horizon(12)
    with pytest.raises(ValueError, match="multiple of 4"):
        spec.check_horizon(14)
