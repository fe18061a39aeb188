# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from resip_ros.cameras.files import FilesSource
from resip_ros.core.errors import CameraError
from resip_ros.sim.video import VideoWriter

from .conftest import noise


def read_all(source, count):
    source.open()
    frames = [source.read()[0] for _ in range(count)]
    source.close()
    return frames


def test_a_folder_is_given_in_order_and_again(settings):
    times = iter(range(100, 200))
    frames = read_all(FilesSource(settings, lambda: next(times)), 7)
    assert [frame.stamp_ns for frame in frames] == list(range(100, 107))
    assert len({frame.mark for frame in frames}) == 7
    for number, frame in enumerate(frames):
        np.testing.assert_array_equal(frame.picture, noise(number % 5))


def test_a_video_is_given_again(settings, tmp_path):
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 30, 240, 320) as video:
        for value in (30, 120, 220):
            video.add(np.full((240, 320, 3), value, dtype=np.uint8))
    source = FilesSource(dataclasses.replace(settings, path=str(path)), lambda: 0)
    means = [frame.picture.mean() for frame in read_all(source, 5)]
    np.testing.assert_allclose(means, [30, 120, 220, 30, 120], atol=4)


def test_what_cannot_be_read_is_named(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    for path, fault in (("empty", "has no .jpg"), ("text.mp4", "not a video"), ("x", "not exist")):
        with pytest.raises(CameraError, match=fault):
            FilesSource(dataclasses.replace(settings, path=str(tmp_path / path)), int).open()


def test_a_damaged_picture_is_skipped_after_it_was_named(settings, folder):
    (folder / "1.png").write_bytes(b"damaged")
    source = FilesSource(settings, int)
    source.open()
    source.read()
    with pytest.raises(CameraError, match=r"1\.png"):
        source.read()
    np.testing.assert_array_equal(source.read()[0].picture, noise(2))
