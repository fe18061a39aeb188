# SPDX-License-Identifier: Apache-2.0
"""Plot and video of an episode of the live graph."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from resip_ros.core.errors import ResipError
from resip_ros.core.results import write_bytes_atomically
from resip_ros.nodes.recording import EpisodeRecording, decode_picture
from resip_ros.sim.action_plot import FRAME_HEIGHT, FRAME_WIDTH, compose_frame, draw_action_plot
from resip_ros.sim.video import VideoWriter


def write_plot(path: Path, recording: EpisodeRecording, title: str) -> None:
    """Writes base action, correction and net action over time as PNG.

    Raises:
        ResipError: when it cannot be written.
    """
    time_s, base, net = recording.actions()
    image, _ = draw_action_plot(time_s, base, net, title)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    write_bytes_atomically(path, buffer.getvalue())


def write_video(path: Path, recording: EpisodeRecording, title: str) -> None:
    """Writes the pictures, at the speed they were taken, with the plot beside them as MP4.

    Raises:
        ResipError: when there are no pictures or the file cannot be written.
    """
    if not recording.pictures:
        raise ResipError(f"no pictures were recorded, so there is no {path.name}")
    time_s, base, net = recording.actions()
    plot, ends = draw_action_plot(time_s, base, net, title)
    length_s = max(0.1, float(time_s[-1])) if len(time_s) else 0.1
    # ffmpeg appends; only a finished video takes the place of an older one
    with tempfile.TemporaryDirectory(prefix="resip_video_") as folder:
        temporary = Path(folder) / path.name
        rate_hz = picture_rate_hz([stamp for stamp, _ in recording.pictures])
        with VideoWriter(temporary, rate_hz, FRAME_HEIGHT, FRAME_WIDTH) as writer:
            for stamp_ns, data in recording.pictures:
                share = (stamp_ns - recording.start_ns) / 1e9 / length_s
                writer.add(compose_frame(decode_picture(data), plot, ends, share))
        payload = temporary.read_bytes()
    write_bytes_atomically(path, payload)


def picture_rate_hz(stamps_ns: list[int]) -> float:
    """Pictures per second: the median spacing, so that a late picture does not count; else 10."""
    spacing_ns = np.median(np.diff(stamps_ns)) if len(stamps_ns) > 1 else 0.0
    return float(1e9 / spacing_ns) if spacing_ns > 0 else 10.0
