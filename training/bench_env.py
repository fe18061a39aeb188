# SPDX-License-Identifier: Apache-2.0
"""The env's speed in whole demonstrations, against MuJoCo alone on the same states.

Demonstrations are recorded first; then every environment plays one of them, each from another
step of it, so that all phases of the task are under way at any time. A second set of
simulations takes the same controls from the same states, without the env around it: what the
env adds is the difference. Letters: N environments, T steps of a demonstration, K physics steps.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from training.demonstrators.registry import make_demonstrator
from training.engine import MujocoEngine
from training.env import AssemblyEnv
from training.env_types import Snapshot

WARM_UP = 2
RECORDED = 8
"""Demonstrations that are recorded; with more environments several play the same."""
OVERHEAD_LIMIT = 0.1
"""Time of an env step beyond MuJoCo's, in whole episodes."""
SCALING_ENVS = (16, 64, 256)
_STATE = ("qpos", "qvel", "qacc_warmstart", "ctrl", "mocap_pos")


class TwinEngine(MujocoEngine):
    """The env's engine, and a batch that repeats what it does, timed without the env."""

    def __init__(self, model: mujoco.MjModel, num_envs: int, num_threads: int) -> None:
        """Make both, N simulations each."""
        super().__init__(model, num_envs, num_threads)
        self._twin = Batch(model, num_envs, nthread=num_threads, persistent=True)
        self._twin_state = {name: self._twin.bind(name) for name in _STATE}
        self._controls: list[Array] = []

    def reset(self, ids: NDArray[np.int64]) -> None:
        """See Engine."""
        super().reset(ids)
        self._twin.reset(ids=ids, stage=mujoco.mjtStage.mjSTAGE_NONE)

    def forward(self, ids: NDArray[np.int64]) -> None:
        """See Engine."""
        super().forward(ids)
        for name, array in self._twin_state.items():
            array[ids] = getattr(self, name)[ids]
        self._twin.forward(ids=ids)

    def rollout(self, control: Array) -> Array:
        """See Engine."""
        self._controls.append(control)
        return super().rollout(control)

    def repeat(self) -> float:
        """Let the twin catch up with what was rolled out since; seconds that it took."""
        control = np.concatenate(self._controls, axis=1)
        self._controls.clear()
        began = time.perf_counter()
        self._twin.rollout(control.shape[1], control, control_spec=mujoco.mjtState.mjSTATE_CTRL)
        return time.perf_counter() - began

    def difference(self) -> float:
        """Largest difference of a position between both, m or rad: 0 when all is well."""
        return float(np.abs(self.qpos - self._twin_state["qpos"]).max())

    def contacts(self) -> NDArray[np.int64]:
        """Contacts of each simulation (N,)."""
        return np.asarray(self._twin.bind("ncon")).reshape(-1).astype(np.int64)


@dataclass
class Demonstration:
    """One recorded episode."""

    states: Snapshot
    """Before each of the T steps."""
    actions: Array
    """(T, 10 A)."""
    success: bool

    def __len__(self) -> int:
        return len(self.actions)


def record_demonstrations(
    task: str, count: int, threads: int, max_steps: int | None = None
) -> list[Demonstration]:
    """Let the task's demonstrator work in `count` environments, each until its episode ends.

    Args:
        task: Task name.
        count: Episodes: initial states 0, 1, ... of seed 0 at low randomness.
        threads: CPU threads for physics.
        max_steps: Stop then at the latest.
    """
    env = AssemblyEnv(task, count, num_threads=threads, pool_size=1)
    env.reset(None, env.initial_states(list(range(count))))
    operators = [make_demonstrator(task, np.random.default_rng((0, i, 7))) for i in range(count)]
    states: list[list[Snapshot]] = [[] for _ in range(count)]
    actions: list[list[Array]] = [[] for _ in range(count)]
    success = np.zeros(count, dtype=bool)
    running = np.ones(count, dtype=bool)
    steps = range(max_steps or env.episode_steps)
    for _ in track(steps, "demonstrations", transient=True, console=Console(stderr=True)):
        obs, action = env.observe(), env.hold_action()
        for i in np.flatnonzero(running):
            states[i].append(env.snapshot(np.array([i])))
            action[i] = operators[i].act(obs[i])
            actions[i].append(action[i].copy())
        result = env.step(action)
        success |= running & result.success
        gave_up = np.array([operator.gave_up for operator in operators])
        running &= ~(result.terminated | result.truncated | gave_up)
        if not running.any():
            break
    return [
        Demonstration(Snapshot.concatenate(states[i]), np.array(actions[i]), bool(success[i]))
        for i in range(count)
    ]


class Replay:
    """N environments that play demonstrations round and round, spread over all their steps."""

    def __init__(
        self, task: str, demonstrations: list[Demonstration], num_envs: int, threads: int
    ) -> None:
        self.env = AssemblyEnv(
            task, num_envs, num_threads=threads, pool_size=1, engine=self._make_engine
        )
        self._plays = [demonstrations[i % len(demonstrations)] for i in range(num_envs)]
        lengths = np.array([len(play) for play in self._plays])
        self._at = (np.arange(num_envs) / num_envs * lengths).astype(np.int64)
        self._restore(np.arange(num_envs))

    def _make_engine(self, model: mujoco.MjModel, num_envs: int, threads: int) -> TwinEngine:
        self.engine = TwinEngine(model, num_envs, threads)
        return self.engine

    def _restore(self, ids: NDArray[np.int64]) -> None:
        if len(ids):
            states = [self._plays[i].states[self._at[i] : self._at[i] + 1] for i in ids]
            self.env.reset(ids, Snapshot.concatenate(states))

    def step(self) -> tuple[float, float]:
        """One step of every environment: seconds of the env, and of MuJoCo alone."""
        action = np.stack([p.actions[t] for p, t in zip(self._plays, self._at, strict=True)])
        began = time.perf_counter()
        result = self.env.step(action)
        env_s = time.perf_counter() - began
        alone_s = self.engine.repeat()
        self._at += 1
        over = np.array([t == len(p) for p, t in zip(self._plays, self._at, strict=True)])
        self._at[over] = 0
        # what ended early goes on from the recording
        self._restore(np.flatnonzero(over | result.terminated | result.truncated))
        return env_s, alone_s


def time_replay(replay: Replay, steps: int) -> dict[str, Any]:
    """Rates and overhead from `steps` steps of a replay; its states must repeat exactly.

    Medians: another process that takes a core for a moment must not decide.
    """
    times, contacts = [], []
    for i in range(WARM_UP + steps):
        pair = replay.step()
        if i >= WARM_UP:
            times.append(pair)
            contacts.append(replay.engine.contacts())
    env_s, alone_s = np.array(times).T
    env, num_envs = replay.env, replay.env.num_envs
    substeps = round(env.config.step_s / env.model.opt.timestep)
    step_s = float(np.median(env_s))
    return {
        "env_steps_per_s": num_envs / step_s,
        "mj_steps_per_s": num_envs * substeps / step_s,
        "bare_env_steps_per_s": num_envs / float(np.median(alone_s)),
        "num_envs": num_envs,
        "timestep_s": env.model.opt.timestep,
        "contacts": {"mean": float(np.mean(contacts)), "max": int(np.max(contacts))},
        "overhead": float(np.median(env_s / alone_s)) - 1.0,
    }


def bench_env(task: str, num_envs: int, steps: int, scaling: bool) -> dict[str, Any]:
    """Time the env in whole demonstrations against bare MuJoCo stepping.

    Args:
        task: Task name.
        num_envs: N.
        steps: Timed steps.
        scaling: Also for other numbers of environments and threads.
    """
    if num_envs < 1 or steps < 1:
        raise ConfigError(
            f"--num-envs and --steps: got {num_envs} and {steps}, expected 1 or more"
        )
    threads = len(os.sched_getaffinity(0))
    demonstrations = record_demonstrations(task, RECORDED, threads)

    def measure(count: int, on: int) -> dict[str, Any]:
        figures = time_replay(Replay(task, demonstrations, count, on), steps)
        return figures | {"threads": on}

    report = measure(num_envs, threads) | {
        "overhead_limit": OVERHEAD_LIMIT,
        "demonstrations": {
            "episodes": len(demonstrations),
            "successes": sum(d.success for d in demonstrations),
            "steps": sum(len(d) for d in demonstrations),
        },
    }
    report["within_limit"] = report["overhead"] <= OVERHEAD_LIMIT
    if scaling:
        runs = [(count, on) for on in sorted({1, threads}) for count in SCALING_ENVS]
        bar = track(runs, "scaling", transient=True, console=Console(stderr=True))
        report["scaling"] = [measure(count, on) for count, on in bar]
    return report
