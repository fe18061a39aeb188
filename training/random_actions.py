# SPDX-License-Identifier: Apache-2.0
"""What does the physics do when the hand does anything at all?

    python -m training.random_actions peg_in_hole --episodes 1000

Runs short episodes of random but legal actions, one in four from an initial state and the rest
from moments of the demonstrator's episodes, where the hand holds parts or has just let go. Every
step is metered: strongest single contact, deepest overlap, the force that the arm feels, the work
of the contacts (positive: they gave back more than they took in the same step). An
episode moves the hand in one of three ways, the gripper toggling at random:

- wander: the target drifts about the hand, within the leash;
- press: it stays at the end of the leash in one direction, for half a second to two;
- jump: every step it is anywhere within the jump limits.

The row `slow` has the steps in which no hand was faster than 5 cm/s: without an impact of the arm
nothing but the gripper and the bounded push of the arm may be felt.

Letters: N environments, A action dimension, S steps.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from resip_ros.core.action import ACTION_DIM, decode_action, encode_action
from resip_ros.core.arms import to_base_frames, to_task_frame
from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, rotvec_to_matrix
from resip_ros.core.limits import clip_to_workspace
from resip_ros.core.results import write_json_atomically
from resip_ros.sim.scene import build_scene
from training.demonstrators.registry import make_demonstrator
from training.env import AssemblyEnv
from training.env_types import Snapshot, StepResult
from training.failures import FAILURES
from training.force_meter import MeteredEngine, Peaks
from training.program import run_with_settings

MOTIONS = ("wander", "press", "jump")
_FROM_START = 0.25
"""Share of the episodes that begin at an initial state."""
_MOMENT_EVERY = 5
"""Policy steps between the moments that are kept of a demonstration."""
_TOGGLE = 0.05
"""Chance of a step that the gripper changes its mind."""
_DRIFT = 0.3
"""Share of a wandering target that is new in each step."""
_PRESS_STEPS = (5, 20)
SLOW_M_S = 0.05
"""A step in which no hand was faster than this has no impact of the arm in it."""


@dataclass(frozen=True)
class RandomSettings:
    """What to run."""

    task: Annotated[str, tyro.conf.Positional]
    """Task name, for example one_leg."""
    episodes: int = 1000
    """Episodes in all."""
    steps: int = 50
    """Policy steps of an episode, unless it ends before."""
    demonstrations: int = 32
    """Demonstrations of which moments are kept, and initial states to start from."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high."""
    seed: int = 0
    """Of initial states, moments and actions."""
    envs: int = 32
    """Simulations side by side."""
    num_threads: int = 2
    """CPU threads."""
    json: Path | None = None
    """File to write the figures to."""


class RandomActions:
    """Legal targets for N hands; each moves in one way until it is restarted."""

    def __init__(self, config: ControlConfig, hands: int, rng: np.random.Generator) -> None:
        self._config, self._rng = config, rng
        self.motion = np.zeros(hands, dtype=np.int64)
        """(N,) index of MOTIONS."""
        self._offset = np.zeros((hands, 6))
        self._until = np.zeros(hands, dtype=np.int64)
        self._grip = np.ones(hands)

    def restart(self, ids: np.ndarray, grip: Array) -> None:
        """Choose motions for hands ids (b,), whose grippers do grip (b,) at first."""
        self.motion[ids] = self._rng.integers(0, len(MOTIONS), len(ids))
        self._offset[ids], self._until[ids], self._grip[ids] = 0.0, 0, grip

    def act(self, hold: Array) -> Array:
        """Actions (N, 10), given those that would hold still (N, 10)."""
        pos, rot, _ = decode_action(hold)
        fresh = self._rng.normal(size=(len(hold), 6))
        fresh *= np.sqrt(self._rng.uniform(size=(len(hold), 2))).repeat(3, axis=1) / np.repeat(
            np.linalg.norm(fresh.reshape(-1, 2, 3), axis=-1), 3, axis=1
        )
        self._drift(fresh)
        config = self._config
        reach = np.where(self.motion == MOTIONS.index("jump"), config.max_jump_m, config.leash_m)
        turn = np.where(
            self.motion == MOTIONS.index("jump"), config.max_jump_rad, config.leash_rad
        )
        target = pos + 0.99 * reach[:, None] * self._offset[:, :3]
        target_rot = rotvec_to_matrix(0.99 * turn[:, None] * self._offset[:, 3:]) @ rot
        self._grip *= np.where(self._rng.uniform(size=len(hold)) < _TOGGLE, -1.0, 1.0)
        return encode_action(clip_to_workspace(config, target), target_rot, self._grip)

    def _drift(self, fresh: Array) -> None:
        """New offsets from draws (N, 6) in two unit balls, shares of what is allowed."""
        wander = self.motion == MOTIONS.index("wander")
        press = self.motion == MOTIONS.index("press")
        turned = press & (self._until <= 0)
        self._until[turned] = self._rng.integers(*_PRESS_STEPS, turned.sum())
        self._until -= 1
        new = turned | ~(wander | press)
        self._offset[wander] += _DRIFT * (fresh - self._offset)[wander]
        self._offset[new] = fresh[new]
        length = np.linalg.norm(self._offset[turned, :3], axis=-1, keepdims=True)
        self._offset[turned, :3] /= np.maximum(length, 1e-9)


@dataclass
class Record:
    """What the steps of all episodes showed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One dict of arrays for each policy step: values of the environments that were running."""
    ended: list[tuple[int, str]] = field(default_factory=list)
    """Motion and reason of each finished episode: a failure, `assembled`, or `steps`."""

    def add(
        self, ids: np.ndarray, now: dict[str, Array], result: StepResult, peaks: Peaks
    ) -> None:
        """Keep one step of environments ids (b,); ``now`` holds further arrays (N,)."""
        finite = np.isfinite(result.obs).all(-1) & np.isfinite(result.force)
        finite &= np.isfinite(peaks.contact_n) & np.isfinite(peaks.overlap_m)
        values = {
            **now,
            "contact_n": peaks.contact_n,
            "overlap_m": peaks.overlap_m,
            "speed_m_s": peaks.speed_m_s,
            "work_j": peaks.work_j,
            "force_n": result.force,
            "refused": result.refused,
            "broken": ~finite,
        }
        self.rows.append({name: np.asarray(value)[ids].copy() for name, value in values.items()})

    def column(self, name: str) -> np.ndarray:
        """Values of all steps, (S,)."""
        return np.concatenate([row[name] for row in self.rows])


def demonstrated_moments(env: AssemblyEnv, count: int, seed: int) -> Snapshot:
    """States along the demonstrator's episodes on initial states 0 to count - 1 of a seed."""
    kept = []
    for first in range(0, count, env.num_envs):
        ids = np.arange(min(env.num_envs, count - first))
        env.reset(ids, env.initial_states((first + ids).tolist(), seed))
        operators = [
            make_demonstrator(env.task.name, np.random.default_rng((seed, first + int(i), 7)))
            for i in ids
        ]
        for step in range(env.episode_steps):
            if step % _MOMENT_EVERY == 0:
                kept.append(env.snapshot(ids))
            action, obs = env.hold_action(), env.observe()
            for i in ids:
                action[i] = operators[i].act(obs[i])
            result = env.step(action)
            ids = ids[~(result.terminated | result.truncated)[ids]]
            ids = np.array([i for i in ids if not operators[i].gave_up], dtype=np.int64)
            if len(ids) == 0:
                break
    moments = Snapshot.concatenate(kept)
    moments.t[:] = 0
    return moments


class Runner:
    """Random episodes of a task."""

    def __init__(self, settings: RandomSettings) -> None:
        """Build the simulations and demonstrate.

        Raises:
            ConfigError: for a number that makes no sense.
        """
        for name in ("episodes", "steps", "demonstrations", "envs"):
            if getattr(settings, name) < 1:
                raise ConfigError(f"--{name}: got {getattr(settings, name)}, expected at least 1")
        self.settings, config = settings, load_control_config()
        spec = build_scene(settings.task, config)
        self.engine: MeteredEngine | None = None

        def make(_: object, num_envs: int, num_threads: int) -> MeteredEngine:
            self.engine = MeteredEngine(spec, num_envs, num_threads)
            return self.engine

        self.env = AssemblyEnv(
            settings.task,
            settings.envs,
            randomness=settings.randomness,
            seed=settings.seed,
            num_threads=settings.num_threads,
            pool_size=settings.demonstrations,
            engine=make,
        )
        self._rng = np.random.default_rng((settings.seed, 2))
        self.hands = len(self.env.task.arms)
        self.actions = RandomActions(self.env.config, settings.envs * self.hands, self._rng)
        self._moments = demonstrated_moments(self.env, settings.demonstrations, settings.seed)

    def start(self, ids: np.ndarray) -> None:
        """Begin new episodes in environments ids (b,)."""
        fresh = self._rng.uniform(size=len(ids)) < _FROM_START
        moments = self._rng.integers(0, len(self._moments), len(ids))
        self.env.reset(ids[fresh])
        self.env.reset(ids[~fresh], self._moments[moments[~fresh]])
        # a hand that holds a part goes on holding it at first
        hands = (ids[:, None] * self.hands + np.arange(self.hands)).ravel()
        grip = np.where(fresh, -1.0, 1.0).repeat(self.hands)
        self.actions.restart(hands, grip)

    def _outside(self) -> Array:
        """How far the hands are outside the workspace (N,), m."""
        at = to_base_frames(self.env.task.arms, self.env.hold_action())[..., :3]
        return np.linalg.norm(at - clip_to_workspace(self.env.config, at), axis=-1).max(-1)

    def run(self, progress: Progress) -> Record:
        """All episodes."""
        settings, env, engine = self.settings, self.env, self.engine
        assert engine is not None
        arms = env.task.arms
        bar = progress.add_task("random episodes", total=settings.episodes)
        record, count = Record(), settings.envs
        episode, age = np.full(count, -1), np.zeros(count, dtype=np.int64)
        env.reset()
        free, started = np.arange(count), 0
        while started < settings.episodes or (episode >= 0).any():
            new = free[: settings.episodes - started]
            if len(new):
                self.start(new)
                episode[new] = started + np.arange(len(new))
                started, age[new] = started + len(new), 0
            hold = to_base_frames(arms, env.hold_action())
            action = self.actions.act(hold.reshape(-1, ACTION_DIM)).reshape(hold.shape)
            action[episode < 0] = hold[episode < 0]
            engine.forget()
            result = env.step(to_task_frame(arms, action))
            running = np.flatnonzero(episode >= 0)
            motion = self.actions.motion[:: self.hands]
            now = {"episode": episode, "motion": motion, "outside_m": self._outside()}
            record.add(running, now, result, engine.take())
            age += 1
            over = result.terminated | (age >= settings.steps)
            free = np.flatnonzero(over | (episode < 0))
            for i in running[over[running]]:
                reason = "assembled" if result.success[i] else str(result.failure[i]) or "steps"
                record.ended.append((int(motion[i]), reason))
                progress.advance(bar)
            episode[over] = -1
        return record


def summarise(settings: RandomSettings, record: Record) -> dict[str, Any]:
    """Figures of all steps and of each motion."""
    motion = record.column("motion")
    groups = {"all": np.ones(len(motion), dtype=bool)}
    groups |= {name: motion == i for i, name in enumerate(MOTIONS)}
    groups["slow"] = record.column("speed_m_s") < SLOW_M_S
    figures: dict[str, Any] = {}
    for name, steps in groups.items():
        if not steps.any():
            continue
        reasons = [r for m, r in record.ended if name in ("all", MOTIONS[m])]
        figures[name] = {
            "episodes": len(reasons),
            "steps": int(steps.sum()),
            **{reason: reasons.count(reason) for reason in (*FAILURES, "assembled")},
            "not_finite": int(record.column("broken")[steps].sum()),
            "refused": int(record.column("refused")[steps].sum()),
            "contact_n": _spread(record.column("contact_n")[steps]),
            "hand_force_n": _spread(record.column("force_n")[steps]),
            "overlap_mm": _spread(1e3 * record.column("overlap_m")[steps], digits=3),
            "speed_m_s": _spread(record.column("speed_m_s")[steps], digits=2),
            "outside_mm": _spread(1e3 * record.column("outside_m")[steps]),
            "work_mj": _spread(1e3 * record.column("work_j")[steps], digits=2),
        }
    worst = int(np.argmax(record.column("contact_n")))
    return {
        **{k: v for k, v in asdict(settings).items() if k != "json"},
        "worst_episode": int(record.column("episode")[worst]),
        "motions": figures,
    }


def _spread(values: Array, digits: int = 1) -> dict[str, float]:
    p50, p99, p999, largest = np.percentile(values, [50, 99, 99.9, 100])
    names = ("p50", "p99", "p99_9", "max")
    return {
        name: round(float(v), digits)
        for name, v in zip(names, (p50, p99, p999, largest), strict=True)
    }


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.random_actions",
        RandomSettings,
        run,
        __doc__,
        interrupted="interrupted; nothing was written",
    )


def run(settings: RandomSettings) -> dict[str, Any]:
    """Run, print the table, write the figures."""
    runner = Runner(settings)
    with Progress(transient=True) as progress:
        record = runner.run(progress)
    figures = summarise(settings, record)
    _print(figures)
    if settings.json is not None:
        write_json_atomically(settings.json, json.loads(json.dumps(figures)))
    return figures


def _print(figures: dict[str, Any]) -> None:
    title = f"{figures['task']}: {figures['episodes']} episodes of {figures['steps']} steps"
    table = Table(title=f"{title}, p50 / p99 / p99.9 / max")
    counts = ("episodes", *FAILURES, "not_finite", "refused")
    spreads = ("contact_n", "hand_force_n", "overlap_mm", "speed_m_s", "outside_mm", "work_mj")
    for name in ("motion", *counts, *spreads):
        table.add_column(name.replace("_", " "))
    for motion, row in figures["motions"].items():
        texts = [" / ".join(f"{v:g}" for v in row[name].values()) for name in spreads]
        table.add_row(motion, *(str(row[name]) for name in counts), *texts)
    Console(width=220).print(table)


if __name__ == "__main__":
    sys.exit(main())
