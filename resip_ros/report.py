# SPDX-License-Identifier: Apache-2.0
"""Plot and video of an episode: base action, correction and net action beside the picture."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array, rot6d_to_matrix, rotation_angle
from resip_ros.core.results import write_bytes_atomically
from resip_ros.nodes.recording import EpisodeRecording, decode_picture
from resip_ros.sim.video import VideoWriter

VIDEO_HEIGHT = 480
PICTURE_WIDTH = 640
PLOT_WIDTH = 720
DPI = 100
FPS = 10
AXIS_COLOURS = ("tab:red", "tab:green", "tab:blue")


def draw_plot(recording: EpisodeRecording, title: str) -> tuple[np.ndarray, tuple[float, float]]:
    """Draws position, rotation and gripper of base and net action, and the correction.

    Returns:
        Picture (480, 720, 3) uint8, and the horizontal pixels of the axes' left and right end.
    """
    time_s, base, correction, net = recording.actions()
    figure = Figure(figsize=(PLOT_WIDTH / DPI, VIDEO_HEIGHT / DPI), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(4, 1, sharex=True))
    for i, (name, colour) in enumerate(zip("xyz", AXIS_COLOURS, strict=True)):
        axes[0].plot(time_s, base[:, i], "--", color=colour, lw=0.8)
        axes[0].plot(time_s, net[:, i], color=colour, lw=1.2, label=name)
        axes[1].plot(time_s, 1e3 * correction[:, i], color=colour, lw=1.0)
    turn = rotation_angle(
        rot6d_to_matrix(net[:, 3:9]) @ rot6d_to_matrix(base[:, 3:9]).swapaxes(-1, -2)
    )
    axes[2].plot(time_s, np.degrees(turn), color="tab:purple", lw=1.0)
    axes[3].step(time_s, base[:, 9], "--", color="black", lw=0.8, where="post", label="base")
    axes[3].step(time_s, net[:, 9], color="tab:orange", lw=1.2, where="post", label="net")
    labels = (
        "position m\n-- base, net",
        "correction\nmm",
        "correction\ndegrees",
        "gripper\n+1 close",
    )
    for axis, label in zip(axes, labels, strict=True):
        axis.set_ylabel(label, fontsize=7)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7, ncols=3, loc="upper right")
    axes[0].set_title(title, fontsize=8)
    axes[-1].set_xlabel("s", fontsize=7)
    axes[0].set_xlim(0.0, max(0.1, float(time_s[-1]) if len(time_s) else 0.1))
    canvas.draw()
    box = axes[0].get_window_extent()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy(), (box.x0, box.x1)


def write_plot(path: Path, recording: EpisodeRecording, title: str) -> None:
    """Writes the plot as PNG.

    Raises:
        ResipError: when it cannot be written.
    """
    image, _ = draw_plot(recording, title)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    write_bytes_atomically(path, buffer.getvalue())


def compose_frame(
    picture: np.ndarray, plot: np.ndarray, ends: tuple[float, float], share: float
) -> np.ndarray:
    """Picture at the left, plot with a line at the present time at the right.

    Args:
        picture: (H, W, 3) uint8.
        plot: (480, 720, 3) uint8.
        ends: Pixels of the plot's left and right end.
        share: Present time as a share of the plotted time, 0..1.

    Returns:
        (480, 1360, 3) uint8.
    """
    left = Image.fromarray(picture).resize((PICTURE_WIDTH, VIDEO_HEIGHT))
    right = plot.copy()
    column = round(ends[0] + min(max(share, 0.0), 1.0) * (ends[1] - ends[0]))
    right[:, column : column + 2] = (200, 0, 0)
    return np.concatenate([np.asarray(left), right], axis=1)


def write_video(path: Path, recording: EpisodeRecording, title: str) -> None:
    """Writes the video as MP4 (H.264), whole or not at all.

    Raises:
        ResipError: when there are no pictures or the file cannot be written.
    """
    if not recording.pictures:
        raise ResipError(f"no pictures were recorded, so there is no {path.name}")
    plot, ends = draw_plot(recording, title)
    end_s = _end_s(recording.actions()[0])
    with tempfile.TemporaryDirectory(prefix="resip_video_") as folder:
        temporary = Path(folder) / path.name
        with VideoWriter(temporary, FPS, VIDEO_HEIGHT, PICTURE_WIDTH + PLOT_WIDTH) as writer:
            for stamp_ns, data in recording.pictures:
                share = (stamp_ns - recording.start_ns) / 1e9 / end_s
                writer.add(compose_frame(decode_picture(data), plot, ends, share))
        payload = temporary.read_bytes()
    write_bytes_atomically(path, payload)


def _end_s(time_s: Array) -> float:
    """Length of the plotted time, s; never 0."""
    return max(0.1, float(time_s[-1])) if len(time_s) else 0.1
