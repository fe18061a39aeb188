# SPDX-License-Identifier: Apache-2.0
import errno

import imageio_ffmpeg
import numpy as np
import pytest

from resip_ros.core.errors import ResipError
from resip_ros.nodes import report
from resip_ros.nodes.recording import EpisodeRecording


@pytest.fixture
def recording(rng):
    made = EpisodeRecording(start_ns=0)
    for step in range(20):
        base = np.r_[0.5, 0.0, 0.3, 1, 0, 0, 0, -1, 0, -1.0]
        made.base[step * 100_000_000] = base
        made.net[step * 100_000_000] = base + 0.01 * rng.normal(size=10)
        if step % 2 == 0:
            made.add_picture(step * 100_000_000, np.full((48, 64, 3), 10 * step, np.uint8))
    return made


def test_plot_is_a_picture(tmp_path, recording):
    report.write_plot(tmp_path / "a.png", recording, "title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_video_plays_as_long_as_the_episode(tmp_path, recording):
    report.write_video(tmp_path / "a.mp4", recording, "title")
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert frames == 10
    assert seconds == pytest.approx(2.0, abs=0.1)


def test_no_pictures_is_an_error_that_says_so(tmp_path, recording):
    recording.pictures.clear()
    with pytest.raises(ResipError, match="no pictures"):
        report.write_video(tmp_path / "a.mp4", recording, "title")


def test_full_disk_leaves_nothing(tmp_path, recording, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResipError, match="No space left"):
        report.write_plot(tmp_path / "a.png", recording, "title")
    assert list(tmp_path.iterdir()) == []


def test_rate_is_the_usual_spacing():
    assert report.picture_rate_hz([0, 200_000_000, 400_000_000, 1_000_000_000]) == 5.0
    assert report.picture_rate_hz([5]) == 10.0
