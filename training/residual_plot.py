# SPDX-License-Identifier: Apache-2.0
"""What a residual corrects while a part is inserted, in one simulated episode (ResiP Fig. 20).

    python -m training.residual_plot models/one_leg --task one_leg --seed 1 --out residual.png

Commands are shown as what they mean for the part: where the tip of the task's first child would
be if the hand were where the command wants it, held as it is at that moment. The hole is the
origin: z is the tip's height over its mouth. Over time on the left, from two sides on the right.

Shape letters: T policy steps of the episode, D observation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resip_ros.core.action import decode_action
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.geometry import Array, matrix_to_quat_xyzw
from resip_ros.core.observation import body_pose, hand_pose, observation_names, pose_in_goal
from resip_ros.core.stages import STAGES, reached_stage
from resip_ros.core.tasks import TaskSpec, get_task, require_one_arm
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.runtime import AssemblyPolicy
from training.env import AssemblyEnv
from training.figure_file import FIRST_COLOR, THIRD_COLOR, check_png, write_png
from training.program import run_with_settings
from training.view import PolicyActor, run_episode

_NEAR_M = 0.02
"""Insertion begins when the tip is this near to the mouth."""
_AFTER, _LONGEST = 4, 60
"""Steps that are shown after the tip is in to `complete`, and at most."""
_ARROW_COLOR, _TIP_COLOR = "#1f5f8b", "#444444"
_WIDTH, _HEIGHT = 5.0, 4.2
"""Of the plots over time, and of all, inches."""
_MARGIN_MM = 2.0


@dataclass(frozen=True)
class ResidualPlotSettings:
    """Command line."""

    policy: Annotated[Path, tyro.conf.Positional]
    """Policy folder with base and residual."""
    task: str = "one_leg"
    """Task of the policy."""
    seed: int = 1
    """Of the initial state and of the base policy's noise, as in training.view."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high."""
    out: Path = Path("out/residual.png")
    """PNG file to write."""


@dataclass(frozen=True)
class Insertion:
    """Tip in the hole over K steps, each (K, 3) mm."""

    time_s: Array
    """(K,) since the episode's start."""
    base: Array
    """Where the base's command would put it."""
    net: Array
    """Where base plus residual would."""
    tip: Array
    """Where it was."""
    goal_z: float
    """Height of the tip when assembled, mm."""

    @property
    def correction(self) -> tuple[float, float]:
        """Mean size of the correction across the hole's axis and along it, mm."""
        moved = self.net - self.base
        across, along = np.linalg.norm(moved[:, :2], axis=-1), np.abs(moved[:, 2])
        return float(across.mean()), float(along.mean())


class WatchedActor(PolicyActor):
    """A policy that keeps what it saw."""

    def __init__(self, policy: AssemblyPolicy, env: AssemblyEnv, seed: int) -> None:
        """Begin without a plan, having seen nothing."""
        super().__init__(policy, env, seed)
        self.seen: list[Array] = []

    def act(self, obs: Array) -> tuple[Array, Array]:
        """Base and net action (A,) for an observation (D,), all SI."""
        self.seen.append(obs.copy())
        return super().act(obs)


def carry_tip(task: TaskSpec, obs: Array, action: Array) -> Array:
    """Tip of the first pair's child in its hole, m (T, 3), if the hand were where it is sent.

    Args:
        task: A task of one arm.
        obs: (T, D) SI; the part moves with the hand as if fixed to it.
        action: (T, 10) SI.
    """
    pair = task.pairs[0]
    (hand, hand_rot), (part, part_rot) = hand_pose(obs), body_pose(task, obs, pair.child)
    target, target_rot, _ = decode_action(action)
    turn = target_rot @ hand_rot.swapaxes(-1, -2)
    carried = obs.copy()
    start = observation_names(task).index(f"{pair.child}_x")
    carried[:, start : start + 3] = target + (turn @ (part - hand)[..., None])[..., 0]
    carried[:, start + 3 : start + 7] = matrix_to_quat_xyzw(turn @ part_rot)
    return pose_in_goal(task, pair, carried)[0]


def cut_insertion(task: TaskSpec, obs: Array, base: Array, net: Array) -> Insertion:
    """The steps from where the tip comes near to its hole until it is well inside.

    Args:
        task: A task of one arm; its first pair is looked at.
        obs: (T, D) SI, before each step.
        base: (T, 10) SI.
        net: (T, 10) SI.

    Raises:
        ResipError: it never came near.
    """
    tip, _ = pose_in_goal(task, task.pairs[0], obs)
    stage = np.maximum.accumulate(reached_stage(task, obs))
    near = np.linalg.norm(tip, axis=-1) < _NEAR_M
    if not near.any():
        raise ResipError(
            f"{task.pairs[0].child} never came within {1e3 * _NEAR_M:.0f} mm of its hole in this "
            "episode; try another --seed"
        )
    start = int(np.argmax(near))
    done = np.flatnonzero(stage >= STAGES.index("complete"))
    end = min(int(done[0]) + _AFTER if len(done) else len(obs), start + _LONGEST)
    window = slice(start, end)
    return Insertion(
        time_s=np.arange(len(obs))[window] / task.rate_hz,
        base=1e3 * carry_tip(task, obs[window], base[window]),
        net=1e3 * carry_tip(task, obs[window], net[window]),
        tip=1e3 * tip[window],
        goal_z=-1e3 * task.pairs[0].depth,
    )


def draw(insertion: Insertion, title: str) -> Figure:
    """Over time, and from two sides, to one scale."""
    both = np.concatenate([insertion.base, insertion.net])
    height = float(np.ptp(both[:, 2])) + 2 * _MARGIN_MM
    half = max(float(np.abs(both[:, :2]).max()) + _MARGIN_MM, height / 6)
    side = _HEIGHT * 2 * half / height
    size = _WIDTH + 2 * side + 1.8, _HEIGHT + 1.4
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    grid = figure.add_gridspec(3, 3, width_ratios=(_WIDTH, side, side), height_ratios=(1, 1, 1.8))
    rows = [figure.add_subplot(grid[i, 0]) for i in range(3)]
    for i, ax in enumerate(rows):
        _draw_time(ax, insertion, i)
        ax.tick_params(labelbottom=i == 2)
    rows[0].set_title("over time", fontsize=10)
    rows[-1].set_xlabel("s since the start of the episode")
    for i in range(2):
        ax = figure.add_subplot(grid[:, i + 1])
        _draw_side(ax, insertion, i)
        ax.set_xlim(-half, half)
        ax.set_ylim(both[:, 2].min() - _MARGIN_MM, both[:, 2].max() + _MARGIN_MM)
        ax.set_title(f"seen along {'yx'[i]}", fontsize=10)
    figure.suptitle(title, fontsize=11)
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def _draw_time(ax: Axes, insertion: Insertion, i: int) -> None:
    t, base, net = insertion.time_s, insertion.base[:, i], insertion.net[:, i]
    ax.fill_between(t, base, net, color=_ARROW_COLOR, alpha=0.25, lw=0, label="correction")
    ax.plot(t, base, color=FIRST_COLOR, label="base action")
    ax.plot(t, net, color=THIRD_COLOR, label="net action")
    ax.plot(t, insertion.tip[:, i], ":", color=_TIP_COLOR, label="where the tip was")
    ax.set_xlim(t[0], t[-1])
    if i == 2:
        _mark_hole(ax, insertion)
    else:
        ax.axhline(0.0, color="black", lw=0.6)
    _name(ax, f"{'xyz'[i]}, mm")


def _draw_side(ax: Axes, insertion: Insertion, i: int) -> None:
    base, net = insertion.base[:, [i, 2]], insertion.net[:, [i, 2]]
    ax.plot(*insertion.tip[:, [i, 2]].T, ":", color=_TIP_COLOR)
    ax.plot(*base.T, "o", ms=3, color=FIRST_COLOR)
    ax.quiver(
        *base.T, *(net - base).T, angles="xy", scale_units="xy", scale=1, units="dots",
        width=1.3, headwidth=5, headlength=6, headaxislength=5, color=_ARROW_COLOR, zorder=3,
    )  # fmt: skip
    ax.plot(*net.T, "o", ms=3, color=THIRD_COLOR, zorder=4)
    _mark_hole(ax, insertion)
    ax.axvline(0.0, color="black", lw=0.6)
    ax.set_aspect("equal")
    ax.set_xlabel(f"{'xy'[i]}, mm")
    _name(ax, "")


def _mark_hole(ax: Axes, insertion: Insertion) -> None:
    """Lines where the tip enters and where it is when assembled."""
    for z, text in ((0.0, "mouth"), (insertion.goal_z, "assembled")):
        ax.axhline(z, color="black", lw=0.6)
        ax.text(
            0.99, z, text, transform=ax.get_yaxis_transform(), fontsize=7, ha="right",
            va="bottom", clip_on=True,
        )  # fmt: skip


def _name(ax: Axes, y: str) -> None:
    ax.set_ylabel(y)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)


def load(settings: ResidualPlotSettings) -> AssemblyPolicy:
    """The policy, if it corrects single steps of this task.

    Raises:
        ConfigError: it does not.
    """
    task, policy = get_task(settings.task), load_policy(settings.policy)
    if policy.task.name != task.name:
        raise ConfigError(
            f"{settings.policy} is a policy for {policy.task.name}, expected {task.name}"
        )
    require_one_arm(task)
    if policy.residual is None or policy.residual.card.chunk_steps > 1:
        raise ConfigError(
            f"{settings.policy} has no residual that corrects every step; give a folder with base "
            "and residual, for example models/one_leg"
        )
    return policy


def run(settings: ResidualPlotSettings) -> None:
    """Run the episode, then draw its insertion."""
    check_png(settings.out)
    torch.set_num_threads(1)
    policy = load(settings)
    env = AssemblyEnv(settings.task, 1, randomness=settings.randomness, num_threads=1)
    actor = WatchedActor(policy, env, settings.seed)
    episode = run_episode(actor, env, settings.seed)
    print(f"{episode.outcome} after {len(episode.net)} steps")
    insertion = cut_insertion(policy.task, np.array(actor.seen), episode.base, episode.net)
    across, along = insertion.correction
    size = f"mean correction {across:.1f} mm across the hole's axis, {along:.1f} mm along it"
    title = (
        f"{settings.policy}, seed {settings.seed} ({episode.outcome}): where actions would put "
        f"the tip of {policy.task.pairs[0].child}, seen from its hole\n{size}"
    )
    print(size)
    write_png(draw(insertion, title), settings.out)
    print(f"wrote {settings.out}")


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_with_settings("training.residual_plot", ResidualPlotSettings, run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
