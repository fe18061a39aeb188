# SPDX-License-Identifier: Apache-2.0
"""Pictures become features: cropped where they should be, rows apart, refused when wrong."""

import numpy as np
import pytest
import torch

from resip_ros.core.errors import DataError
from resip_ros.policy.image_encoder import (
    EncoderSpec,
    StudentNetwork,
    check_images,
    find_keypoints,
    prepare_images,
)
from resip_ros.policy.mlp import MlpSpec

SPEC = EncoderSpec(size=32, width=8, stages=2, pool="keypoints", features=6)


def gradient() -> np.ndarray:
    """A picture (1, 240, 320, 3) whose red is the row and whose green is half the column."""
    rows, columns = np.mgrid[:240, :320]
    return np.stack([rows, columns // 2, 0 * rows], axis=-1).astype(np.uint8)[None]


def test_front_is_cropped_in_the_middle_or_where_told():
    image = prepare_images("front", gradient(), 224)
    assert image.shape == (1, 3, 224, 224)
    assert (255 * image[0, 0, 0, 0]).round() == 8
    assert (255 * image[0, 1, 0, 0]).round() == 24
    moved = prepare_images("front", gradient(), 224, np.array([[16, 76]]))
    assert (255 * moved[0, :2, 0, 0]).round().tolist() == [16, 38]
    # twice as small: the mean of 2 x 2 pixels
    stripes = (gradient() % 2) * np.array([200, 0, 0], dtype=np.uint8)
    half = prepare_images("front", stripes, 112)
    torch.testing.assert_close(half[0, 0] * 255, torch.full((112, 112), 100.0))


def test_wrist_is_squashed_whole():
    image = prepare_images("wrist", gradient(), 224)[0] * 255
    assert image.shape == (3, 224, 224)
    assert image[0, 0, 0] < 1.1
    assert image[0, -1, 0] > 237.9
    assert image[1, 0, -1] > 157.9


def test_keypoints_find_the_peak():
    maps = torch.full((1, 2, 5, 9), -50.0)
    maps[0, 0, 0, 8] = maps[0, 1, 2, 0] = 50.0
    assert find_keypoints(maps).round(decimals=4).tolist() == [[1.0, -1.0, -1.0, 0.0]]


def student() -> StudentNetwork:
    torch.manual_seed(0)
    spec = MlpSpec(width=16, blocks=1, dropout=0.0)
    return StudentNetwork(spec, ("front", "wrist"), SPEC, (10, 16, 4))


def test_rows_do_not_mix_and_every_camera_counts():
    network = student().eval()
    proprio = torch.rand(3, 16)
    images = {name: torch.rand(3, 3, 32, 32) for name in ("front", "wrist")}
    features = network.encode(proprio, images)
    assert features.shape == (3, 16 + 12)
    torch.testing.assert_close(features[:, :16], proprio)
    for at, name in ((16, "front"), (22, "wrist")):
        changed = {k: v.clone() for k, v in images.items()}
        changed[name][1] = torch.rand(3, 32, 32)
        differs = (network.encode(proprio, changed) - features).abs() > 1e-5
        assert differs[1, at : at + 6].any()
        differs[1, at : at + 6] = False
        assert not differs.any()


def test_gradient_reaches_every_parameter():
    network = student().train()
    images = {name: torch.rand(4, 3, 32, 32) for name in ("front", "wrist")}
    inputs = network.encode(torch.rand(4, 16), images)
    network.compute_loss(inputs, torch.rand(4, 4, 10), torch.Generator(), None).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "no picture of camera front"),
        ({"front": np.zeros((1, 240, 320, 3), np.uint8)}, "no picture of camera wrist"),
        ({"front": np.zeros((1, 480, 640, 3), np.uint8)}, r"\(1, 480, 640, 3\), expected uint8"),
        ({"front": np.zeros((1, 240, 320, 3), np.float32)}, "float32"),
        ({"front": np.zeros((2, 240, 320, 3), np.uint8)}, r"\(2, 240, 320, 3\), expected"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(images, message):
    with pytest.raises(DataError, match=message):
        check_images(("front", "wrist"), images, 1)


@pytest.mark.parametrize("wrong", [{"size": 300}, {"width": 12}, {"stages": 5}, {"pool": "max"}])
def test_impossible_sizes(wrong):
    with pytest.raises(ValueError, match="got"):
        EncoderSpec(**wrong)
