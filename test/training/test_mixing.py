# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from resip_ros.core.errors import ConfigError
from training.mixing import balanced_share, check_share, draw_mixed


def test_cube_root_rule():
    assert balanced_share(10, 10) == 0.5
    assert balanced_share(1, 1000) == pytest.approx(1 / 11)
    assert balanced_share(10, 400) == pytest.approx(0.2262, abs=1e-4)


def test_every_batch_has_exactly_its_share():
    is_real = torch.arange(100) >= 90
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_mixed(is_real, 32, 0.25, generator) for _ in range(50)]
    assert {int(is_real[index].sum()) for index in drawn} == {8}
    seen = torch.cat(drawn).unique()
    assert seen.min() == 0
    assert set(range(90, 100)) <= set(seen.tolist())
    # also every second one, as a shard takes them
    halves = torch.stack([is_real[index[::2]].float().mean() for index in drawn])
    assert abs(halves.mean() - 0.25) < 0.05


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0])
def test_shares_that_are_none(share):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        check_share(share, 32)


@pytest.mark.parametrize(("share", "real"), [(0.01, 0), (0.999, 8)])
def test_shares_that_a_batch_is_too_small_for(share, real):
    check_share(share, 1000)
    with pytest.raises(ConfigError, match=f"{share} makes {real} real steps of 8.*larger --batch"):
        check_share(share, 8)
    check_share(None, 1)
