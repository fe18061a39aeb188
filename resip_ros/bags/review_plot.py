# SPDX-License-Identifier: Apache-2.0
"""A recorded episode as one picture: strips of its cameras, and its motion over time.

Letters: n rows of a curve.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from resip_ros.bags import sidecar
from resip_ros.bags.episode_view import (
    LED,
    POLICY_LED,
    ArmMotion,
    EpisodeView,
    Gap,
    Mark,
    read_view,
)
from resip_ros.bags.picture_strip import COUNT, HEIGHT, WIDTH, Strip
from resip_ros.bags.review import GAP_S, picture_path
from resip_ros.core import events
from resip_ros.core.action import decode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import Array, rotation_angle
from resip_ros.core.results import write_bytes_atomically

_DPI = 100
_WIDTH_IN = 18.0
_PLOTS_IN = 6.5
_STRIP_IN = 1.38
_STRIPS_IN = 4.0
"""At most; more cameras are drawn smaller, so that all of it stays on a screen."""
_BOTH_IN = 9.3
_DOTS = 500
_AXES = (("x", "tab:red"), ("y", "tab:green"), ("z", "tab:blue"))
_MEASURED, _COMMANDED = "black", "tab:orange"
_MARK_COLOURS = {
    events.STARTED: "tab:green",
    events.SUCCEEDED: "limegreen",
    events.STOPPED: "dimgrey",
    events.FAULT: "red",
    events.UNDONE: "darkorange",
    LED: "tab:purple",
    POLICY_LED: "tab:cyan",
}
"""Others, such as ``homed``, are grey and dotted."""
_GAP = "#ffd2cb"


def draw_review(bag: Path) -> tuple[Path, list[str]]:
    """Draws one bag; the picture is written whole or not at all.

    Returns:
        Where the picture is, and what could not be drawn.

    Raises:
        ResipError: when the bag cannot be read or the picture not be written.
    """
    view = read_view(bag)
    file = io.BytesIO()
    with mpl.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        # names and reasons are text, no formulas, and may have signs that the font lacks
        warnings.filterwarnings("ignore", message="Glyph")
        build_figure(view).savefig(file, format="png")
    path = picture_path(bag)
    write_bytes_atomically(path, file.getvalue())
    return path, view.notes


def build_figure(view: EpisodeView) -> Figure:
    """Arranges strips above curves."""
    title = _title(view)
    strips_in = min(_STRIP_IN * len(view.strips), _STRIPS_IN)
    plots_in = min(_PLOTS_IN, _BOTH_IN - strips_in) if view.arms else 0.6
    height = 0.5 + 0.2 * len(title) + strips_in + plots_in
    figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(_short(line, 200) for line in title), fontsize=11)
    ratios = [*([strips_in] if view.strips else []), plots_in]
    parts = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)[:, 0]
    if view.strips:
        _draw_strips(parts[0], view)
    _draw_motion(parts[-1], view)
    return figure


def _title(view: EpisodeView) -> list[str]:
    """Lines: which episode, faults, what could not be drawn."""
    episode = view.episode
    words = [view.name]
    if episode is not None:
        judged = {True: "success", False: "no success", None: "not judged"}[episode.success]
        words += [episode.task, episode.state, judged]
        words += [episode.operator] if episode.operator else []
        words += [f"ended: {episode.outcome}"] if episode.outcome else []
        if episode.state not in (sidecar.SAVED, sidecar.REPAIRED):
            words += episode.problems
    else:
        words.append("no sidecar")
    words.append(f"{view.end_s - view.begin_s:.1f} s")
    faults = [mark for mark in view.marks if mark.kind == events.FAULT and mark.detail]
    told = [f"fault at {mark.time_s:.1f} s: {mark.detail}" for mark in faults]
    return [" | ".join(words), *told[:3], *view.notes]


def _short(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _draw_strips(part: SubFigure, view: EpisodeView) -> None:
    rows: list[Axes] = list(part.subplots(len(view.strips), 1, squeeze=False)[:, 0])
    for axes, strip in zip(rows, view.strips, strict=True):
        _draw_strip(axes, strip, view)


def _draw_strip(axes: Axes, strip: Strip, view: EpisodeView) -> None:
    """Pictures side by side, each with its time; what is missing stays grey."""
    height = HEIGHT / WIDTH
    box: dict[str, Any] = {"facecolor": "black", "alpha": 0.6, "pad": 1.5, "lw": 0}
    style: dict[str, Any] = {"color": "white", "fontsize": 9, "bbox": box}
    axes.text(0.03, height - 0.03, strip.camera, va="top", **style)
    for column, shown in enumerate(strip.shown):
        left, right = column + 0.01, column + 0.99
        label = "no picture"
        if shown is not None:
            label = f"{view.seconds(shown.log_ns):z.1f} s"
            label = f"{label}, damaged" if shown.picture is None else label
        if shown is not None and shown.picture is not None:
            rows, columns = shown.picture.shape[:2]
            scale = min(0.98 / columns, height / rows)
            width, high = columns * scale, rows * scale
            extent = (column + 0.5 - width / 2, column + 0.5 + width / 2, 0.0, high)
            axes.imshow(shown.picture, extent=extent, interpolation="antialiased")
        else:
            axes.fill_between([left, right], 0.0, height, color="0.9", lw=0)
        axes.text(left + 0.02, 0.03, label, **style)
    axes.set(xlim=(0, COUNT), ylim=(0, height), xticks=[], yticks=[], aspect="equal")
    axes.set_frame_on(False)


def _draw_motion(part: SubFigure, view: EpisodeView) -> None:
    """Three panels an arm: position, rotation, gripper."""
    part.legend(
        handles=_legend(view), fontsize=9, ncols=5, loc="outside upper center", frameon=False
    )
    if not view.arms:
        return
    grid = part.subplots(3, len(view.arms), sharex=True, squeeze=False, height_ratios=(2, 1, 1))
    for column, arm in zip(grid.T, view.arms, strict=True):
        _draw_position(column[0], arm)
        _draw_rotation(column[1], arm)
        _draw_gripper(column[2], arm)
        if arm.name:
            column[0].set_title(f"{arm.name} arm", fontsize=10)
        for axes in column:
            axes.tick_params(labelsize=9)
            axes.grid(alpha=0.3)
            _draw_time(axes, view)
        label = "time since the start" if _has_start(view) else "time since the bag begins"
        column[2].set_xlabel(f"{label}, s (receipt)", fontsize=10)
        column[2].set_xlim(view.begin_s, max(view.end_s, view.begin_s + 0.1))


def _has_start(view: EpisodeView) -> bool:
    return any(mark.kind == events.STARTED for mark in view.marks)


def _draw_time(axes: Axes, view: EpisodeView) -> None:
    for start_s, end_s in join_gaps(view.gaps):
        axes.axvspan(start_s, end_s, color=_GAP, lw=0, zorder=0)
    for mark in view.marks:
        axes.axvline(mark.time_s, **_mark_style(mark), lw=1.3, zorder=1)


def join_gaps(gaps: Sequence[Gap]) -> list[tuple[float, float]]:
    """Stretches in which at least one stream is silent, s."""
    found: list[tuple[float, float]] = []
    for gap in sorted(gaps, key=lambda gap: gap.start_s):
        if found and gap.start_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], gap.end_s))
        else:
            found.append((gap.start_s, gap.end_s))
    return found


def _mark_style(mark: Mark) -> dict[str, Any]:
    colour = _MARK_COLOURS.get(mark.kind)
    return {"color": "darkgrey", "ls": ":"} if colour is None else {"color": colour}


def _legend(view: EpisodeView) -> list[Line2D | Patch]:
    """What lines and shades mean, with their times."""
    found: list[Line2D | Patch] = [
        Line2D([], [], color="0.3", label="measured"),
        Line2D([], [], color="0.3", ls="--", marker=".", lw=0.8, label="commanded"),
    ]
    for kind in dict.fromkeys(mark.kind for mark in view.marks):
        marks = [mark for mark in view.marks if mark.kind == kind]
        times = ", ".join(f"{mark.time_s:z.1f}" for mark in marks[:8])
        more = f", … ({len(marks)})" if len(marks) > 8 else ""
        text = f"{kind} {times}{more} s"
        found.append(Line2D([], [], **_mark_style(marks[0]), lw=2, label=text))
    if view.gaps:
        longest = max(view.gaps, key=lambda gap: gap.end_s - gap.start_s)
        length_s = longest.end_s - longest.start_s
        text = f"silence above {GAP_S} s, longest {length_s:.2f} s of {longest.topic}"
        found.append(Patch(color=_GAP, lw=0, label=text))
    return found


def break_line(time_s: Array, values: Array, longest_s: float) -> tuple[Array, Array]:
    """A curve that does not bridge silences: a row that is not a number after each.

    Args:
        time_s: (n,) ascending.
        values: (n, D) or (n,).
        longest_s: Time without a value that is still bridged.
    """
    after = np.flatnonzero(np.diff(time_s) > longest_s) + 1
    times = np.insert(time_s, after, time_s[after - 1] + longest_s)
    return times, np.insert(np.asarray(values, dtype=np.float64), after, np.nan, axis=0)


def _commanded(arm: ArmMotion, values: Array) -> tuple[Array, Array]:
    """The arm follows an action until the next, or until the bridge gives up."""
    return break_line(arm.command_s, values, load_control_config().command_timeout_s)


def _measured(arm: ArmMotion, values: Array) -> tuple[Array, Array]:
    return break_line(arm.measured_s, values, GAP_S)


def _dots(arm: ArmMotion) -> dict[str, Any]:
    """A dot for each action, as long as they can be told apart."""
    return {"lw": 0.8, "marker": "." if len(arm.commands) <= _DOTS else "", "ms": 3}


def _draw_position(axes: Axes, arm: ArmMotion) -> None:
    for i, (name, colour) in enumerate(_AXES):
        times, values = _measured(arm, arm.measured[:, i])
        axes.plot(times, values, color=colour, lw=1.4, label=name)
        times, values = _commanded(arm, arm.commands[:, i])
        axes.plot(times, values, "--", color=colour, **_dots(arm))
    axes.set_ylabel("hand position, m", fontsize=10)
    corner: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    axes.legend(handles=axes.lines[::2], fontsize=9, frameon=False, **corner)


def turned_deg(rows: Array, first: Array) -> Array:
    """Angle (n,) in degrees between the rotations of rows (n, 10) and that of one row (10,)."""
    return np.degrees(rotation_angle(decode_action(rows)[1] @ decode_action(first)[1].T))


def _draw_rotation(axes: Axes, arm: ArmMotion) -> None:
    first = first_row(arm)
    if first is not None:
        times, values = _measured(arm, turned_deg(arm.measured, first))
        axes.plot(times, values, color=_MEASURED, lw=1.4)
        with np.errstate(invalid="ignore", divide="ignore"):
            # an action that names no rotation is recorded although the bridge refused it
            times, values = _commanded(arm, turned_deg(arm.commands, first))
        axes.plot(times, values, "--", color=_COMMANDED, **_dots(arm))
    axes.set_ylabel("turned since\nstart, deg", fontsize=10)


def first_row(arm: ArmMotion) -> Array | None:
    """Where the hand was at the start, (10,): measured, or the first command without that."""
    if len(arm.measured):
        return arm.measured[min(int(np.searchsorted(arm.measured_s, 0.0)), len(arm.measured) - 1)]
    return arm.commands[0] if len(arm.commands) else None


def _draw_gripper(axes: Axes, arm: ArmMotion) -> None:
    """Width on the left; on the right the command, with close at the bottom."""
    times, values = _measured(arm, 1e3 * arm.measured[:, -1])
    axes.plot(times, values, color=_MEASURED, lw=1.4)
    axes.set_ylabel("gripper\nwidth, mm", fontsize=10)
    widest = 1e3 * load_control_config().gripper_max_width_m
    axes.set_ylim(-0.06 * widest, 1.06 * max(widest, float(np.nanmax(values, initial=0.0))))
    right = axes.twinx()
    times, values = _commanded(arm, arm.commands[:, -1])
    right.plot(times, values, "--", color=_COMMANDED, drawstyle="steps-post", **_dots(arm))
    right.set_ylim(1.12, -1.12)
    right.set_yticks([1.0, 0.0, -1.0], ["+1 close", "0", "-1 open"], fontsize=9)
    right.set_ylabel("commanded", fontsize=10, color=_COMMANDED)
