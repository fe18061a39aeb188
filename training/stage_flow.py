# SPDX-License-Identifier: Apache-2.0
"""How many episodes of evaluations pass each stage of a task, and where and why the others end.

    python -m training.evaluate models/one_leg/base --task one_leg --json base.json
    python -m training.evaluate models/one_leg --task one_leg --json both.json
    python -m training.stage_flow base.json both.json --out flow.png

One panel an evaluation (ResiP Figs. 7 and 21): episodes flow from left to right through the stages
(resip_ros.core.stages), as wide as there are many; those that fail in a stage leave downwards.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.results import wilson_interval
from resip_ros.core.stages import stage_names
from resip_ros.core.tasks import get_task
from training.compare import read_evaluation
from training.figure_file import FIRST_COLOR, SECOND_COLOR, THIRD_COLOR, check_png, write_png
from training.program import run_with_settings

_STAGE_INCHES, _SHARE_INCHES = 1.75, 1.15
"""Between two stages, and for all episodes."""
_BAR = 0.05
"""Half width of a bar; stages are 1 apart."""
_DROP = 0.22
_HEAD, _MARGIN = 0.38, 0.3
"""Below the flow to what left it, above it for names, and below all; as shares of all episodes."""


@dataclass(frozen=True)
class FlowSettings:
    """Command line."""

    evaluations: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """JSON files of training.evaluate."""
    out: Path = Path("out/stage_flow.png")
    """PNG file to write."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        if not self.evaluations:
            raise ConfigError("no evaluation given; pass at least one JSON of training.evaluate")


@dataclass(frozen=True)
class Flow:
    """Episodes of one evaluation by the stage in which they ended."""

    label: str
    stages: tuple[str, ...]
    reached: tuple[int, ...]
    """Episodes that came into each stage, then those that succeeded: one more than stages."""
    reasons: tuple[Mapping[str, int], ...]
    """Of each stage, why how many episodes ended in it."""


def read_flow(path: Path) -> Flow:
    """Counts of an evaluation.

    Raises:
        DataError: for another file, or episodes that ended in no stage of the task.
        ConfigError: for an evaluation of an unknown task.
    """
    figures = read_evaluation(path)
    stages = stage_names(get_task(str(figures["task"])))
    if not figures["episodes"]:
        raise DataError(f"{path} has no episode; write it again with training.evaluate")
    reasons = [Counter[str]() for _ in stages]
    for number, episode in enumerate(figures["episodes"]):
        if episode["success"]:
            continue
        stage, reason = episode.get("stage"), episode.get("reason")
        if stage not in stages or not reason:
            raise DataError(
                f"{path}: episode {number} failed in stage {stage!r} for the reason {reason!r}; "
                f"expected one of {', '.join(stages)} and a reason: write it again with "
                "training.evaluate"
            )
        reasons[stages.index(stage)][str(reason)] += 1
    lost = np.cumsum([0, *(count.total() for count in reasons)])
    reached = tuple(int(len(figures["episodes"]) - n) for n in lost)
    return Flow(_describe(figures, reached), stages, reached, tuple(map(dict, reasons)))


def _describe(figures: Mapping[str, Any], reached: tuple[int, ...]) -> str:
    successes, n = reached[-1], reached[0]
    low, high = (100 * bound for bound in wilson_interval(successes, n))
    pushed = ", parts pushed about" if figures["perturb"] else ""
    return (
        f"{figures['policy']} on {figures['task']}, {figures['randomness']} randomness{pushed}: "
        f"{successes} of {n} episodes succeed, {100 * successes / n:.0f} % "
        f"(95 %: {low:.0f} to {high:.0f})"
    )


def draw(flows: list[Flow]) -> Figure:
    """One panel a flow, below each other, all to the same scale."""
    columns = max(len(flow.stages) for flow in flows) + 1
    depths = [_DROP + max(_lost_shares(flow)) + _MARGIN for flow in flows]
    heights = [_HEAD + 1 + depth for depth in depths]
    size = _STAGE_INCHES * columns, _SHARE_INCHES * sum(heights) + 0.4 * len(flows)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    panels = figure.subplots(len(flows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, flow, depth in zip(panels, flows, depths, strict=True):
        _draw_flow(ax, flow)
        ax.set_xlim(-0.35, columns - 0.3)
        ax.set_ylim(-depth, 1 + _HEAD)
        ax.axis("off")
        ax.set_title(flow.label, fontsize=10, loc="left")
    return figure


def _lost_shares(flow: Flow) -> list[float]:
    """Share of all episodes that ended in each stage."""
    return [sum(reasons.values()) / flow.reached[0] for reasons in flow.reasons]


def _draw_flow(ax: Axes, flow: Flow) -> None:
    """Bars of what reached a stage, bands between them, and branches down of what did not pass.

    The successful episodes are the top of every bar, so that bands run level.
    """
    shares = [count / flow.reached[0] for count in flow.reached]
    for i, name in enumerate((*flow.stages, "success")):
        color = THIRD_COLOR if name == "success" else SECOND_COLOR
        level = (1 - shares[i], 1.0)
        _band(ax, (i - _BAR, i + _BAR), level, level, color, 1.0)
        ax.text(i, 1.06, f"{name}\n{flow.reached[i]}", ha="center", va="bottom", fontsize=9)
    for i, lost in enumerate(_lost_shares(flow)):
        split = 1 - shares[i + 1]
        _band(ax, (i + _BAR, i + 1 - _BAR), (split, 1), (split, 1), SECOND_COLOR, 0.35)
        if lost > 0:
            below = (-_DROP - lost, -_DROP)
            _band(ax, (i + _BAR, i + 0.5), (split - lost, split), below, FIRST_COLOR, 0.35)
            _band(ax, (i + 0.5, i + 0.5 + _BAR), below, below, FIRST_COLOR, 1.0)
            text = _explain(flow.stages[i], flow.reasons[i])
            ax.text(i + 0.58, -_DROP, text, va="top", fontsize=8, color=FIRST_COLOR)


def _explain(stage: str, reasons: Mapping[str, int]) -> str:
    by_count = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    why = [f"{count} {reason}" if len(by_count) > 1 else reason for reason, count in by_count]
    return "\n".join([f"{sum(reasons.values())} end in {stage}:", *why])


def _band(
    ax: Axes,
    x: tuple[float, float],
    left: tuple[float, float],
    right: tuple[float, float],
    color: str,
    alpha: float,
) -> None:
    """A band from the interval left at x[0] to the interval right at x[1], level at both ends."""
    t = np.linspace(0.0, 1.0, 40)
    ease = t * t * (3 - 2 * t)
    low, high = (left[k] + (right[k] - left[k]) * ease for k in (0, 1))
    ax.fill_between(x[0] + (x[1] - x[0]) * t, low, high, color=color, alpha=alpha, linewidth=0)


def run(settings: FlowSettings) -> None:
    """Read all, then draw."""
    check_png(settings.out)
    flows = [read_flow(path) for path in settings.evaluations]
    write_png(draw(flows), settings.out)
    for flow in flows:
        counts = zip((*flow.stages, "success"), flow.reached, strict=True)
        print(f"{flow.label}\n  " + ", ".join(f"{name} {count}" for name, count in counts))
    print(f"wrote {settings.out}")


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_with_settings("training.stage_flow", FlowSettings, run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
