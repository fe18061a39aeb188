# SPDX-License-Identifier: Apache-2.0
"""Where the actions of two datasets go, one over the other, and how much of one the other covers.

    python -m training.coverage data/standin.zarr data/teacher.zarr --out coverage.png

Synthetic demonstrations widen what a student knows of the real task only where they go where the
real ones do (ResiP App. C, Fig. 18). An action commands an absolute position, so each is a dot,
seen from above, from the side and from the front. Covered is an action of the first in whose cube
of 1 cm (the base frame cut into a grid) there is an action of the second.

Shape letters: N steps, A arms.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from resip_ros.core.action import ACTION_DIM
from resip_ros.core.geometry import Array
from training.dataset import Demonstrations, read_demonstrations
from training.figure_file import FIRST_COLOR, SECOND_COLOR, check_png, write_png
from training.program import run_with_settings
from training.render import read_task

CUBE_M = 0.01
"""Edge of the cubes."""
_VIEWS = (("from above", 0, 1), ("from the side", 0, 2), ("from the front", 1, 2))
"""Name, and which axis of the base frame goes right and which up."""
_MARGIN_M = 0.01
_WIDTH, _HEIGHT = 9.5, 5.2
"""Largest size of the three views together, inches."""


@dataclass(frozen=True)
class CoverageSettings:
    """Command line."""

    first: Annotated[Path, tyro.conf.Positional]
    """Dataset that should be covered, for example real demonstrations."""
    second: Annotated[Path, tyro.conf.Positional]
    """Dataset that should cover it, for example synthetic ones."""
    out: Path = Path("out/coverage.png")
    """PNG file to write."""


def commanded_positions(action: NDArray[np.floating]) -> Array:
    """Positions (N, A, 3) in m, base frame, that actions (N, 10 A) command."""
    return action.reshape(len(action), -1, ACTION_DIM)[..., :3].astype(np.float64)


def find_covered(first: Array, second: Array) -> NDArray[np.bool_]:
    """Which positions of the first share their cube with one of the second, (N, A).

    Args:
        first: (N, A, 3) m.
        second: (N', A, 3) m; an arm is covered by the same arm only.
    """
    covered = np.zeros(first.shape[:2], dtype=np.bool_)
    for arm in range(first.shape[1]):
        cubes = np.floor(np.concatenate([first[:, arm], second[:, arm]]) / CUBE_M)
        _, cube = np.unique(cubes, axis=0, return_inverse=True)
        covered[:, arm] = np.isin(cube[: len(first)], cube[len(first) :])
    return covered


def draw(first: Array, second: Array, covered: NDArray[np.bool_], names: list[str]) -> Figure:
    """Three views, all to the same scale.

    Args:
        first: (N, A, 3) m, on top.
        second: (N', A, 3) m, beneath.
        covered: (N, A) of the first.
        names: Legend of the two, and title.
    """
    clouds = first.reshape(-1, 3), second.reshape(-1, 3)
    points = np.concatenate(clouds)
    low, high = points.min(0) - _MARGIN_M, points.max(0) + _MARGIN_M
    extent = high - low
    widths = [extent[right] for _, right, _ in _VIEWS]
    scale = min(_WIDTH / sum(widths), _HEIGHT / max(extent[1:]))
    size = max(scale * sum(widths) + 2.6, 7.5), scale * max(extent[1:]) + 2.1
    step = 0.05 if max(extent) < 0.6 else 0.1
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    for ax, (name, right, up) in zip(
        figure.subplots(1, 3, width_ratios=widths), _VIEWS, strict=True
    ):
        _scatter(ax, clouds[1][:, [right, up]], SECOND_COLOR, names[1])
        _scatter(ax, clouds[0][:, [right, up]], FIRST_COLOR, names[0])
        outside = clouds[0][~covered.ravel()][:, [right, up]]
        _scatter(ax, outside, "black", "of these, not covered")
        ax.set_xlim(low[right], high[right])
        ax.set_ylim(low[up], high[up])
        _name(ax, name, "xyz"[right], "xyz"[up])
        ax.yaxis.set_major_locator(MultipleLocator(step))
        ax.xaxis.set_major_locator(MultipleLocator(step))
    handles, labels = figure.axes[0].get_legend_handles_labels()
    order = [1, 2, 0]
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order],
        loc="outside lower left", markerscale=4, frameon=False, fontsize=9,
    )  # fmt: skip
    figure.suptitle(names[2], fontsize=11)
    return figure


def _scatter(ax: Axes, points: Array, color: str, label: str) -> None:
    ax.scatter(*points.T, s=3, color=color, linewidths=0, antialiased=False, label=label)


def _name(ax: Axes, name: str, right: str, up: str) -> None:
    ax.set_aspect("equal", anchor="S")
    ax.set_title(name, fontsize=10)
    ax.set_xlabel(f"{right}, m")
    ax.set_ylabel(f"{up}, m")
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)


def _label(path: Path, data: Demonstrations) -> str:
    return f"{path.stem}: {data.num_episodes} episodes, {len(data.action)} actions"


def run(settings: CoverageSettings) -> float:
    """Read both, print and draw; gives the covered share of the first."""
    check_png(settings.out)
    task = read_task(settings.first)
    data = [read_demonstrations(path, task) for path in (settings.first, settings.second)]
    first, second = (commanded_positions(each.action) for each in data)
    covered = find_covered(first, second)
    title = (
        f"{100 * covered.mean():.1f} % of the positions that {settings.first.stem} commands are "
        f"covered\nby {settings.second.stem} (which commands another in the same cube of "
        f"{100 * CUBE_M:.0f} cm)"
    )
    names = [_label(settings.first, data[0]), _label(settings.second, data[1]), title]
    write_png(draw(first, second, covered, names), settings.out)
    print(f"{task}: {title.replace(chr(10), ' ')}")
    print(f"wrote {settings.out}")
    return float(covered.mean())


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_with_settings("training.coverage", CoverageSettings, run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
