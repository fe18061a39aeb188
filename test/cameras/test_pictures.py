# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from resip_ros.cameras.pictures import (
    decode_jpeg,
    decode_picture,
    encode_jpeg,
    fit_intrinsics,
    fit_picture,
)
from resip_ros.core import messages
from resip_ros.core.errors import DataError


def smooth(rows=240, columns=320):
    """Colours that differ in every channel and direction."""
    v, u = np.mgrid[0:rows, 0:columns]
    channels = [255 * u / columns, 255 * v / rows, 128 + 100 * np.sin(u / 40)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def message(**fields):
    stamp = SimpleNamespace(sec=3, nanosec=500)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=""), **fields)


def test_raw_and_jpeg_give_the_same_picture_in_the_same_colours():
    picture = smooth()
    raw = message(encoding="", data=b"")
    messages.fill_image_inplace(raw, 3_000_000_500, "f", picture)
    stamp_ns, decoded = decode_picture(raw)
    assert stamp_ns == 3_000_000_500
    np.testing.assert_array_equal(decoded, picture)
    stamp_ns, decoded = decode_picture(message(format="jpeg", data=encode_jpeg(picture)))
    assert stamp_ns == 3_000_000_500
    assert np.abs(decoded.astype(int) - picture).mean() < 2.0
    assert np.abs(decoded.astype(int) - picture[..., ::-1]).mean() > 20.0


def test_a_larger_picture_is_fitted_from_its_middle():
    """A realsense-ros at 640 x 480, or 16:9, gives what policies see."""
    large = np.zeros((480, 640, 3), dtype=np.uint8)
    large[:, :320] = 200
    small = decode_picture(message(format="png", data=png(large)))[1]
    assert small.shape == (240, 320, 3)
    assert (small[:, :160] == 200).all()
    assert (small[:, 160:] == 0).all()
    wide = fit_picture(smooth(720, 1280))
    # the middle 960 columns, from 160 on
    assert abs(int(wide[120, 0, 0]) - 255 * 160 / 1280) < 2
    assert abs(int(wide[120, -1, 0]) - 255 * 1120 / 1280) < 2


def png(picture):
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


@pytest.mark.parametrize(
    "data", [b"", b"no picture", encode_jpeg(smooth())[:3000], encode_jpeg(smooth())[1:]]
)
def test_damaged_bytes_are_refused(data):
    with pytest.raises(DataError, match="damaged"):
        decode_jpeg(data)


def test_small_pictures_are_refused():
    with pytest.raises(DataError, match="100 x 320 pixels; expected at least 240 x 320"):
        fit_picture(np.zeros((100, 320, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (600, 700), (240, 320)])
def test_intrinsics_follow_the_picture(size):
    """A spot is where the fitted camera matrix says, to a tenth of a pixel."""
    rows, columns = size
    matrix = np.array([[500.0, 0, 333.0], [0, 510.0, 250.0], [0, 0, 1.0]])
    picture = np.zeros((rows, columns, 3), dtype=np.uint8)
    top, left = rows // 3, columns // 3
    picture[top : top + 11, left : left + 21] = 255
    ray = np.linalg.inv(matrix) @ [left + 10, top + 5, 1.0]
    bright = fit_picture(picture)[..., 0].astype(float)
    v, u = np.mgrid[0:240, 0:320]
    middle = [(bright * axis).sum() / bright.sum() for axis in (u, v)]
    np.testing.assert_allclose((fit_intrinsics(matrix, size) @ ray)[:2], middle, atol=0.1)
