# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from resip_ros.core.errors import DataError
from resip_ros.sim.video import VideoWriter


def test_video_plays_with_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    with VideoWriter(path, 10.0, 48, 64) as video:
        for value in range(0, 200, 10):
            video.add(np.full((48, 64, 3), value, dtype=np.uint8))
    frames = imageio_ffmpeg.read_frames(str(path))
    meta = next(frames)
    assert meta["codec"] == "h264"
    assert "yuv420p" in meta["pix_fmt"]
    assert meta["size"] == (64, 48)
    assert meta["fps"] == pytest.approx(10.0)
    means = [np.frombuffer(frame, np.uint8).mean() for frame in frames]
    assert len(means) == 20
    np.testing.assert_allclose(means, np.arange(0, 200, 10), atol=6)


def test_wrong_picture_and_odd_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="even"):
        VideoWriter(tmp_path / "odd.mp4", 10.0, 47, 64)
    with (
        VideoWriter(tmp_path / "v.mp4", 10.0, 48, 64) as video,
        pytest.raises(DataError, match="shape"),
    ):
        video.add(np.zeros((10, 10, 3), np.uint8))


def test_file_that_cannot_be_written_is_a_clear_error(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    picture = rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)

    def record() -> None:
        with VideoWriter(tmp_path / "missing" / "v.mp4", 10.0, 48, 64) as video:
            for _ in range(200):
                video.add(picture)

    with pytest.raises(DataError, match="cannot be written"):
        record()
