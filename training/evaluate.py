# SPDX-License-Identifier: Apache-2.0
"""Success of a policy over many episodes, with a 95 % Wilson interval.

    python -m training.evaluate models/one_leg --task one_leg --episodes 256 --seed 1

Episode i has initial state i and, with --perturb, impulse sequence i of the seed, so that
every policy meets the same ones. A student sees the simulations as --look says:

    python -m training.evaluate models/peg_in_hole/student --task peg_in_hole --simulation standin
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from rich.progress import Progress

from resip_ros.core.errors import ConfigError
from resip_ros.core.results import (
    check_writable,
    wilson_interval,
    write_json_atomically,
)
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.runtime import AssemblyPolicy
from resip_ros.sim.task_scene import TICK_S
from training.env import AssemblyEnv
from training.eyes import PLAIN, Eyes
from training.program import check_numbers, check_run, run_with_settings
from training.real_standin import STANDIN, standin_engine
from training.rollout import PolicyRollout
from training.stages import reached_stage, stage_names


@dataclass(frozen=True)
class EvaluateSettings:
    """What to evaluate."""

    policy: Annotated[Path, tyro.conf.Positional]
    """Policy folder (base and residual) or one bundle (base alone)."""
    task: str = "one_leg"
    """Task of the policy."""
    episodes: int = 256
    """Episodes, one per initial state."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high."""
    perturb: bool = False
    """Knock parts about: each step each part is pushed with a chance of 1 percent."""
    seed: int = 1
    """Seed of the initial states, of the impulses and of the base policy's noise."""
    envs: int = 64
    """Simulations side by side; with the seed it fixes the result."""
    num_threads: int = 2
    """CPU threads for physics."""
    plan_delay: int = 0
    """Steps that each plan is made before its first action, as where inference takes that long."""
    simulation: Literal["normal", "robot", "standin"] = "normal"
    """The simulation that policies train in; with the physics step of the simulated robot, 1 ms,
    whose contacts are stiffer (as `resip up --robot sim`); or the stand-in for a real bench
    (training.real_standin)."""
    look: str | None = None
    """How a student sees it: plain (as the live graph draws), random, nominal_parts, standin or
    standin_new_colors (training.randomize); by default plain, or standin in the stand-in."""
    engine: Literal["mujoco", "warp"] = "mujoco"
    """What steps the simulations: MuJoCo on CPU threads, or MuJoCo Warp on a GPU."""
    json: Path | None = None
    """File to write the figures to, with every episode's end (training.compare reads them)."""

    def __post_init__(self) -> None:
        """Refuse what would fail late."""
        check_numbers(self, "episodes", "envs")
        check_run(self.seed, num_threads=self.num_threads)
        if self.json is not None:
            check_writable(self.json, "--json")


@dataclass(frozen=True)
class Episode:
    """How one episode ended."""

    success: bool
    steps: int
    stage: str
    """Stage in which it failed (training.stages); '' on success."""
    reason: str
    """Why it ended without success; '' on success."""
    force: float
    """Largest filtered hand force, N."""


@dataclass
class Evaluation:
    """Every episode's end."""

    episodes: dict[int, Episode] = field(default_factory=dict[int, Episode])
    """By number."""
    step_force: list[float] = field(default_factory=list[float])
    """Largest filtered hand force of every step in contact, N."""
    refused: int = 0
    env_steps: int = 0


def evaluate(
    policy: AssemblyPolicy,
    env: AssemblyEnv,
    episodes: int,
    seed: int,
    progress: Progress,
    plan_delay: int = 0,
    eyes: Eyes | None = None,
) -> Evaluation:
    """Run episodes 0..episodes-1; every one is counted, however it ends. A student needs eyes."""
    bar = progress.add_task("episodes", total=episodes)
    rollout = PolicyRollout(policy, env.num_envs, seed, plan_delay, eyes)
    states = env.initial_states(list(range(episodes)), seed)
    out = Evaluation()
    slots = np.arange(min(env.num_envs, episodes))
    env.reset()
    env.reset(slots, states[: len(slots)], slots)
    number = np.arange(env.num_envs)
    started = len(slots)
    active = slots
    stage = np.zeros(env.num_envs, dtype=np.int64)
    peak = np.zeros(env.num_envs)
    names = stage_names(env.task)
    if eyes is not None:
        eyes.episodes = number
    while len(active):
        if eyes is not None:
            eyes.remember()
        action = env.hold_action()
        action[active] = rollout.act(env.observe()[active], active)
        result = env.step(action)
        out.env_steps += len(active)
        stage = np.maximum(stage, reached_stage(env.task, np.nan_to_num(result.obs)))
        peak = np.maximum(peak, result.force)
        touching = result.force[active]
        out.step_force += touching[touching > 0.5].tolist()
        out.refused += int(result.refused[active].sum())
        ended = active[(result.terminated | result.truncated)[active]]
        for slot in map(int, ended):
            success = bool(result.success[slot])
            out.episodes[int(number[slot])] = Episode(
                success=success,
                steps=int(env.t[slot]),
                stage="" if success else names[stage[slot]],
                reason="" if success else str(result.failure[slot]) or "time limit",
                force=float(peak[slot]),
            )
            progress.advance(bar)
        again = ended[: max(episodes - started, 0)]
        numbers = started + np.arange(len(again))
        number[again] = numbers
        env.reset(again, [states[i] for i in numbers], numbers)
        rollout.restart(again)
        stage[again], peak[again] = 0, 0.0
        started += len(again)
        active = np.setdiff1d(active, ended[len(again) :])
    return out


def summarise(settings: EvaluateSettings, out: Evaluation, seconds: float) -> dict[str, Any]:
    """Figures of an evaluation."""
    episodes = [out.episodes[i] for i in sorted(out.episodes)]
    successes, n = sum(episode.success for episode in episodes), len(episodes)
    failed = [episode for episode in episodes if not episode.success]
    force = np.array(out.step_force or [0.0])
    lengths = [episode.steps for episode in episodes if episode.success]
    return {
        "task": settings.task,
        "policy": str(settings.policy),
        "n": n,
        "successes": successes,
        "success_rate": successes / n,
        "ci95": list(wilson_interval(successes, n)),
        "randomness": settings.randomness,
        "perturb": settings.perturb,
        "seed": settings.seed,
        "envs": settings.envs,
        "simulation": settings.simulation,
        "look": settings.look,
        "engine": settings.engine,
        "plan_delay": settings.plan_delay,
        "env_steps_per_s": round(out.env_steps / seconds, 1),
        "failure_stages": dict(Counter(episode.stage for episode in failed)),
        "failure_reasons": dict(Counter(episode.reason for episode in failed)),
        "steps_mean_success": round(float(np.mean(lengths)), 1) if lengths else None,
        "contact_force_n": {
            "p50": round(float(np.percentile(force, 50)), 2),
            "p95": round(float(np.percentile(force, 95)), 2),
            "max": round(float(force.max()), 2),
        },
        "refused_steps": out.refused,
        "seconds": round(seconds, 1),
        "episodes": [asdict(episode) for episode in episodes],
    }


def run(settings: EvaluateSettings) -> dict[str, Any]:
    """Load, evaluate, print and write.

    Raises:
        ResipError: for a bad policy, task, count or output file.
    """
    if settings.simulation == "standin" and settings.engine != "mujoco":
        raise ConfigError(f"--engine {settings.engine}: the stand-in runs on mujoco only")
    torch.set_num_threads(1)
    policy = load_policy(settings.policy, images=True)
    if policy.task.name != settings.task:
        raise ConfigError(
            f"{settings.policy} is a policy for {policy.task.name}, expected {settings.task}"
        )
    env = AssemblyEnv(
        settings.task,
        min(settings.envs, settings.episodes),
        randomness=settings.randomness,
        seed=settings.seed,
        num_threads=settings.num_threads,
        pool_size=1,
        perturb=settings.perturb,
        engine=standin_engine if settings.simulation == "standin" else settings.engine,
        timestep_s=TICK_S if settings.simulation == "robot" else None,
    )
    eyes = open_eyes(settings, policy, env)
    began = time.monotonic()
    with Progress() as progress:
        out = evaluate(
            policy, env, settings.episodes, settings.seed, progress, settings.plan_delay, eyes
        )
    seconds = time.monotonic() - began
    figures = summarise(settings, out, seconds)
    if eyes is not None:
        figures["pictures_per_s"] = round(len(policy.base.images) * eyes.drawn / seconds, 1)
        eyes.close()
    print(json.dumps({k: v for k, v in figures.items() if k != "episodes"}, indent=1))
    if settings.json is not None:
        write_json_atomically(settings.json, figures)
    return figures


def open_eyes(settings: EvaluateSettings, policy: AssemblyPolicy, env: AssemblyEnv) -> Eyes | None:
    """What a student sees with; None for a policy that sees the state.

    Raises:
        ResipError: for a look without pictures, an unknown one, or where nothing can be drawn.
    """
    if not policy.base.images:
        if settings.look is not None:
            raise ConfigError(f"--look: {settings.policy} sees the state, not pictures")
        return None
    standin = settings.simulation == "standin"
    look = settings.look or ("standin" if standin else PLAIN)
    return Eyes(env, look, settings.seed, STANDIN.image_delay_steps if standin else 0)


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.evaluate",
        EvaluateSettings,
        run,
        __doc__,
        interrupted="interrupted; nothing was written",
    )


if __name__ == "__main__":
    sys.exit(main())
