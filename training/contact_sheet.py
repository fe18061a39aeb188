# SPDX-License-Identifier: Apache-2.0
"""One picture of all tasks: how each starts, and its last frame when the demonstrator succeeds.

    python -m training.contact_sheet --out docs/tasks.png

Letters: H, W pixels of a picture.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.tasks import TASKS
from resip_ros.sim.render import Picture, Renderer
from training.env import AssemblyEnv
from training.figure_file import make_folder
from training.program import run_with_settings
from training.view import ASSEMBLED, DemonstratorActor, Episode, run_episode

_ATTEMPTS = 10
_COLUMNS = 2
_DPI = 145
_TASK_INCHES = (6.6, 2.75)
_BENCH = np.s_[120:480, 110:590]
"""Rows and columns of the overview that hold the bench and the lower arm."""


@dataclass(frozen=True)
class SheetSettings:
    """What to draw."""

    out: Path
    """Picture to write, for example docs/tasks.png."""


@dataclass(frozen=True)
class Views:
    """Two pictures of a task, (H, W, 3) RGB."""

    task: str
    start: Picture
    """Initial state 0 of seed 0."""
    end: Picture
    """Last frame of the demonstrator's first success."""


def first_success(task: str, env: AssemblyEnv) -> Episode:
    """The demonstrator's first successful episode, seed by seed.

    Raises:
        ResipError: when it has none in ten attempts.
    """
    for seed in range(_ATTEMPTS):
        episode = run_episode(DemonstratorActor(task, seed), env, seed)
        if episode.outcome == ASSEMBLED:
            return episode
    raise ResipError(f"the demonstrator of {task} failed with seeds 0 to {_ATTEMPTS - 1}")


def draw_task(task: str) -> Views:
    """Runs a task's demonstrator and draws start and end."""
    env = AssemblyEnv(task, 1, num_threads=1)
    env.reset(states=env.initial_states([0], seed=0))
    start = env.snapshot(np.zeros(1, dtype=np.int64))
    episode = first_success(task, env)
    with Renderer(task, antialias=True) as renderer:
        renderer.set_state(start.qpos[0], start.mocap_pos[0])
        before = renderer.draw("overview")[_BENCH]
        renderer.set_state(episode.qpos[-1], episode.mocap_pos)
        return Views(task, before, renderer.draw("overview")[_BENCH])


def compose_sheet(tasks: list[Views]) -> Figure:
    """Arranges the tasks in two columns, each with its name under its pictures."""
    rows = -(-len(tasks) // _COLUMNS)
    size = (_COLUMNS * _TASK_INCHES[0], rows * _TASK_INCHES[1])
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 2 * _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for i, views in enumerate(tasks):
        _show(grid[2 * i], views.start, f"{views.task}: start")
        _show(grid[2 * i + 1], views.end, f"{views.task}: assembled")
    return figure


def _show(axes: Axes, picture: Picture, name: str) -> None:
    axes.imshow(picture, interpolation="antialiased")
    axes.text(0.5, -0.03, name, transform=axes.transAxes, ha="center", va="top", fontsize=11)


def run(settings: SheetSettings) -> None:
    """Draw every task and write the sheet.

    Raises:
        ResipError: for a bad file, a task whose demonstrator fails, or no rendering.
    """
    out = settings.out
    if out.suffix != ".png":
        raise ConfigError(f"--out: got {out}, expected a file that ends in .png")
    make_folder(out)
    sheet = compose_sheet([draw_task(task) for task in TASKS])
    try:
        sheet.savefig(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    print(f"{len(TASKS)} tasks in {out}")


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.contact_sheet",
        SheetSettings,
        run,
        __doc__,
        interrupted="interrupted; nothing was written",
    )


if __name__ == "__main__":
    sys.exit(main())
