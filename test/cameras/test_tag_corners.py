# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.cameras.tag_corners import refine_corners

TRUE = np.array([[40.3, 30.7], [71.2, 36.1], [66.4, 65.9], [36.9, 60.2]])


def draw(corners, finer=16):
    """A dark square on white, every pixel the mean of 256 points."""
    v, u = (np.mgrid[0 : 100 * finer, 0 : 100 * finer] + 0.5) / finer - 0.5
    inside = np.ones(u.shape, dtype=bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = end - start
        inside &= along[0] * (v - start[1]) - along[1] * (u - start[0]) > 0
    return np.where(inside, 30, 220).reshape(100, finer, 100, finer).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).normal(0, 3, (100, 100))
    return np.clip(draw(TRUE) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_corners_that_are_a_pixel_off_are_put_right(picture, seed):
    rough = TRUE + np.random.default_rng(seed).uniform(-1, 1, (4, 2))
    found = refine_corners(picture, rough)
    assert found is not None
    assert np.abs(found - TRUE).max() < 0.1


def test_where_there_is_no_edge_there_is_no_corner(picture):
    assert refine_corners(np.full((100, 100), 128, dtype=np.uint8), TRUE) is None
    small = TRUE.mean(axis=0) + 0.2 * (TRUE - TRUE.mean(axis=0))
    assert refine_corners(picture, small) is None
