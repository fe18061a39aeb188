# SPDX-License-Identifier: Apache-2.0
"""Base action, correction and net action of an episode, drawn to stand beside its picture.

Shape letters: T policy steps, H and W pixels.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from resip_ros.core.action import ACTION_DIM
from resip_ros.core.geometry import Array, rot6d_to_matrix, rotation_angle

Picture = NDArray[np.uint8]

FRAME_HEIGHT = 480
PICTURE_WIDTH = 640
PLOT_WIDTH = 720
FRAME_WIDTH = PICTURE_WIDTH + PLOT_WIDTH
_DPI = 100
_AXIS_COLOURS = ("tab:red", "tab:green", "tab:blue")
_LABELS = (
    "position m\n-- base, net",
    "correction\nmm",
    "correction\ndegrees",
    "gripper\n+1 close",
)
_CURSOR_RGB = (200, 0, 0)


def draw_action_plot(
    time_s: Array, base: Array, net: Array, title: str
) -> tuple[Picture, tuple[float, float]]:
    """Draw positions, the correction's size, and the gripper command over time.

    Args:
        time_s: (T,) since the episode's start.
        base: (T, 10 A) the base policy's actions, SI; the second arm's lines are paler.
        net: (T, 10 A) base plus residual, SI; equal to `base` where there is no residual.
        title: Line above the plot.

    Returns:
        Picture (480, 720, 3), and the pixel columns at which the time axis starts and ends.
    """
    figure = Figure(figsize=(PLOT_WIDTH / _DPI, FRAME_HEIGHT / _DPI), dpi=_DPI)
    figure.set_layout_engine("constrained")
    canvas = FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(4, 1, sharex=True))
    for start in range(0, base.shape[1], ACTION_DIM):
        arm = slice(start, start + ACTION_DIM)
        _draw_arm(axes, time_s, base[:, arm], net[:, arm], 1.0 if start == 0 else 0.45)
    for axis, label in zip(axes, _LABELS, strict=True):
        axis.set_ylabel(label, fontsize=7)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    axes[0].legend(handles=axes[0].lines[1:6:2], fontsize=7, ncols=3, loc="upper right")
    axes[0].set_title(title, fontsize=8)
    axes[-1].set_xlabel("s", fontsize=7)
    axes[0].set_xlim(0.0, max(0.1, float(time_s[-1]) if len(time_s) else 0.1))
    canvas.draw()
    box = axes[0].get_window_extent()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy(), (box.x0, box.x1)


def _draw_arm(axes: list[Axes], time_s: Array, base: Array, net: Array, alpha: float) -> None:
    """Lines of one arm's actions (T, 10)."""
    for i, (name, colour) in enumerate(zip("xyz", _AXIS_COLOURS, strict=True)):
        axes[0].plot(time_s, base[:, i], "--", color=colour, lw=0.8, alpha=alpha)
        axes[0].plot(time_s, net[:, i], color=colour, lw=1.2, alpha=alpha, label=name)
        axes[1].plot(time_s, 1e3 * (net - base)[:, i], color=colour, lw=1.0, alpha=alpha)
    angle = np.degrees(correction_angle(base, net))
    axes[2].plot(time_s, angle, color="tab:purple", lw=1.0, alpha=alpha)
    axes[3].step(time_s, base[:, 9], "--", color="black", lw=0.8, where="post", alpha=alpha)
    axes[3].step(time_s, net[:, 9], color="tab:orange", lw=1.2, where="post", alpha=alpha)


def correction_angle(base: Array, net: Array) -> Array:
    """Angle (T,) in rad between the rotations that two action sequences (T, 10) command."""
    turn = rot6d_to_matrix(net[:, 3:9]) @ rot6d_to_matrix(base[:, 3:9]).swapaxes(-1, -2)
    return rotation_angle(turn)


def compose_frame(
    picture: Picture, plot: Picture, ends: tuple[float, float], share: float
) -> Picture:
    """Put the picture to the left of the plot, and a line at the present time.

    Args:
        picture: (H, W, 3).
        plot: (480, 720, 3), with `ends` from `draw_action_plot`.
        ends: Pixel columns at which the time axis starts and ends.
        share: Present time as a share of the plotted time, clipped to 0..1.

    Returns:
        (480, 1360, 3).
    """
    left = np.asarray(Image.fromarray(picture).resize((PICTURE_WIDTH, FRAME_HEIGHT)))
    right = plot.copy()
    column = round(ends[0] + min(max(share, 0.0), 1.0) * (ends[1] - ends[0]))
    right[:, column : column + 2] = _CURSOR_RGB
    return np.concatenate([left, right], axis=1)
