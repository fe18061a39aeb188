# SPDX-License-Identifier: Apache-2.0
"""Augmentation: every picture has parameters of its own, within the tables' limits."""

import numpy as np
import pytest
import torch

from training.augment import Augment, draw_corners

SIZE = 64


@pytest.fixture
def pictures() -> np.ndarray:
    """Eight times the same picture (8, 240, 320, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 200, (12, 16, 3))
    one = np.kron(coarse, np.ones((20, 20, 1))).astype(np.uint8)
    return np.repeat(one[None], 8, axis=0)


def test_crops_stay_inside_the_middle_280_columns():
    torch.manual_seed(0)
    corners = draw_corners(2000)
    assert corners.min(0).tolist() == [0, 20]
    assert corners.max(0).tolist() == [16, 76]


@pytest.mark.parametrize("camera", ["front", "wrist"])
def test_each_picture_is_changed_in_its_own_way(pictures, camera):
    torch.manual_seed(1)
    augment = Augment(camera, SIZE)
    out = augment(pictures)
    assert out.shape == (8, 3, SIZE, SIZE)
    assert out.min() >= 0.0
    assert out.max() <= 1.0
    means = out.mean((2, 3))
    spread = torch.cdist(means, means) + torch.eye(8)
    assert spread.min() > 1e-3, "two pictures got the same colours"
    torch.manual_seed(1)
    torch.testing.assert_close(augment(pictures), out)


def test_a_fifth_of_the_front_pictures_loses_a_rectangle():
    """A grey picture stays flat in any light; noise does not."""
    torch.manual_seed(2)
    grey = np.full((8, 240, 320, 3), 128, np.uint8)
    shares: dict[str, list[float]] = {}
    for name in ("front", "wrist"):
        augment = Augment(name, SIZE)
        out = torch.cat([augment(grey) for _ in range(25)])
        noisy = (out - out.median(-1, keepdim=True).values).abs().amax(1) > 0.02
        shares[name] = [float(s) for s in noisy.float().mean((1, 2)) if s > 0.001]
    assert 24 <= len(shares["front"]) <= 58, "of 200, a fifth is 40"
    assert min(shares["front"]) > 0.01
    assert max(shares["front"]) < 0.36
    assert shares["wrist"] == []
