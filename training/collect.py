# SPDX-License-Identifier: Apache-2.0
r"""Collect demonstrations of a scripted operator, or successful episodes of a policy.

    python -m training.collect one_leg --episodes 50 --out data/one_leg.zarr
    python -m training.collect one_leg --policy models/one_leg --episodes 999 --parts 20 \
        --processes 2 --out data/resip.zarr

Many simulations run at once; successful episodes are kept. Attempt number i of a seed starts from
initial state i of that seed, with operator i. Episodes of a policy are what a student is distilled
from: give them to `training.bc`, or first to `training.render` for one that sees pictures (ResiP
§II-D). With --student it leads in part, and what --policy answers there is kept. Each part is kept
as soon as it is whole: after Ctrl-C the same command with --resume goes on.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from rich.progress import Progress

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.results import check_writable, wilson_interval
from resip_ros.sim.task_scene import TICK_S
from training.collect_crew import Crew, Operators, PolicyCrew, TeachingCrew, name_policy
from training.collect_parts import Part, PartStore, join_parts, run_parts
from training.dataset import write_demonstrations
from training.env import AssemblyEnv
from training.eyes import PLAIN
from training.program import check_numbers, check_run, run_with_settings
from training.real_standin import standin_engine

_NOT_IDENTITY = ("out", "processes", "num_threads", "resume")
"""Settings that do not change what is collected."""
_TEACHER_SHARE = 0.5


@dataclass(frozen=True)
class CollectSettings:
    """What to collect."""

    task: Annotated[str, tyro.conf.Positional]
    """Task name, for example one_leg."""
    out: Path
    """Zarr group to write; refused when it exists."""
    episodes: int = 50
    """Successful episodes wanted."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high."""
    perturb: bool = False
    """Knock parts about during the episodes, so that there is something to correct."""
    seed: int = 0
    """Seed of initial states, pushes and operators."""
    envs: int = 32
    """Simulations side by side."""
    num_threads: int = 2
    """CPU threads for physics."""
    max_attempts: int = 0
    """Give up after this many attempts; 0 means four times the episodes wanted."""
    policy: Path | None = None
    """Policy folder or bundle that acts instead of the operator."""
    student: Path | None = None
    """Policy that takes turns of 8 steps with --policy, whose actions are kept also where the
    student acts (DAgger); it sees the state or, drawn as --look says, pictures."""
    teacher_share: float | None = None
    """Share of the turns that --policy has beside --student; half of them by default."""
    look: str | None = None
    """How a policy that sees pictures sees it: plain, or a look of training.randomize."""
    parts: int = 1
    """Parts of the collection, each with attempts and noise of its own: part of what the seed
    fixes."""
    processes: int = 1
    """Processes that share the parts; the result is the same for any number."""
    resume: bool = False
    """Keep the parts of an interrupted collection with the same settings."""
    simulation: Literal["normal", "robot", "standin"] = "normal"
    """The simulation that policies train in; with the physics step of the simulated robot, 1 ms,
    whose contacts are stiffer (as `resip up --robot sim`); or the stand-in for a real bench
    (training.real_standin)."""

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        check_numbers(self, "episodes", "envs", "parts")
        check_run(self.seed, num_threads=self.num_threads, processes=self.processes)
        if self.max_attempts < 0:
            raise ConfigError(f"--max-attempts: got {self.max_attempts}, expected 0 or more")
        if self.student is not None and self.policy is None:
            raise ConfigError("--student needs --policy: who teaches it")
        if self.student is not None and self.simulation == "standin":
            raise ConfigError(f"--student: nobody teaches in --simulation {self.simulation}")
        share = self.teacher_share
        if share is not None and self.student is None:
            raise ConfigError("--teacher-share needs --student: who has the other turns")
        if share is not None and not 0 <= share <= 1:
            raise ConfigError(f"--teacher-share: got {share}, expected 0 to 1")
        if self.parts > self.episodes:
            raise ConfigError(f"--parts {self.parts}: only {self.episodes} episodes are wanted")

    def part_episodes(self, part: int) -> int:
        """Episodes wanted of a part."""
        return self.episodes * (part + 1) // self.parts - self.episodes * part // self.parts

    @property
    def part_attempts(self) -> int:
        """Attempts that a part may take; part k starts at attempt k times this."""
        return -(-(self.max_attempts or 4 * self.episodes) // self.parts)


@dataclass
class _Attempt:
    """One running attempt."""

    obs: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)


def collect(
    settings: CollectSettings, env: AssemblyEnv, crew: Crew, progress: Progress, part: int = 0
) -> Part:
    """Run a part's attempts until enough succeeded; every started attempt is finished, counted."""
    limit, wanted = settings.part_attempts, settings.part_episodes(part)
    bar = progress.add_task("demonstrations", total=wanted)
    out = Part()
    running: dict[int, _Attempt] = {}
    started = 0

    def start(slots: list[int]) -> None:
        nonlocal started
        room = min(limit - started, wanted - len(out.actions) - len(running))
        slots = slots[: max(room, 0)]
        if not slots:
            return
        numbers = [part * limit + started + i for i in range(len(slots))]
        states = env.initial_states(numbers, settings.seed)
        env.reset(np.array(slots), states, np.array(numbers))
        for slot, number in zip(slots, numbers, strict=True):
            crew.start(slot, number)
            running[slot] = _Attempt()
        started += len(slots)

    env.reset()
    start(list(range(settings.envs)))
    while running:
        obs = env.observe()
        # idle simulations hold still
        action = env.hold_action()
        slots = np.array(list(running))
        done, kept = crew.act(obs, slots)
        action[slots] = done
        now = env.snapshot(slots)
        states = np.concatenate([now.qpos, now.mocap_pos.reshape(len(slots), -1)], axis=-1)
        for (slot, attempt), answer, state in zip(running.items(), kept, states, strict=True):
            attempt.obs.append(obs[slot].copy())
            attempt.actions.append(answer.copy())
            attempt.states.append(state)
        result = env.step(action)
        for slot in list(running):
            attempt = running[slot]
            ended = result.terminated[slot] or result.truncated[slot]
            if not (ended or crew.gave_up(slot)):
                continue
            del running[slot]
            out.attempts += 1
            if result.success[slot]:
                out.observations.append(np.array(attempt.obs))
                out.actions.append(np.array(attempt.actions))
                out.states.append(np.array(attempt.states))
                progress.advance(bar)
            else:
                reason = str(result.failure[slot]) or ("time limit" if ended else "gave up")
                key = reason + crew.place(slot)
                out.failures[key] = out.failures.get(key, 0) + 1
        start([slot for slot in range(settings.envs) if slot not in running])
    return out


def collect_part(settings: CollectSettings, part: int, *, quiet: bool = False) -> Part:
    """One part from nothing: simulations, crew, attempts."""
    torch.set_num_threads(1)
    env = AssemblyEnv(
        settings.task,
        settings.envs,
        randomness=settings.randomness,
        seed=settings.seed,
        num_threads=settings.num_threads,
        pool_size=1,
        perturb=settings.perturb,
        engine=standin_engine if settings.simulation == "standin" else "mujoco",
        timestep_s=TICK_S if settings.simulation == "robot" else None,
    )
    crew = make_crew(settings, env, part)
    with Progress(disable=quiet) as progress, contextlib.closing(crew):
        return collect(settings, env, crew, progress, part)


def make_crew(settings: CollectSettings, env: AssemblyEnv, part: int = 0) -> Crew:
    """Who acts in a part."""
    if settings.policy is None:
        _refuse_look(settings, ())
        return Operators(settings.task, settings.seed)
    # a seed of its own for the noise of each part; the first has the command's
    seed = settings.seed + part * 1_000_003
    look = settings.look or PLAIN
    teacher = PolicyCrew(settings.policy, env, seed, look)
    if settings.student is None:
        _refuse_look(settings, (teacher,))
        return teacher
    student = PolicyCrew(settings.student, env, seed + 1, look)
    share = _TEACHER_SHARE if settings.teacher_share is None else settings.teacher_share
    _refuse_look(settings, (teacher, student))
    return TeachingCrew(teacher, student, share, seed)


def _refuse_look(settings: CollectSettings, policies: tuple[PolicyCrew, ...]) -> None:
    if settings.look is not None and not any(policy.sees_pictures for policy in policies):
        raise ConfigError(f"--look {settings.look}: nobody here sees pictures")


def name_source(settings: CollectSettings) -> str:
    """What the dataset names as its source.

    Raises:
        ConfigError: for a policy of another task.
    """
    source = "scripted"
    if settings.policy is not None:
        source = name_policy(settings.policy, settings.task)
    if settings.student is not None:
        source += f" where {name_policy(settings.student, settings.task)} went"
    if settings.simulation != "normal":
        source += f" in {settings.simulation}"
    return f"{source}, parts pushed" if settings.perturb else source


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.collect",
        CollectSettings,
        run,
        __doc__,
        interrupted="interrupted; parts that are whole are kept for --resume",
    )


def run(settings: CollectSettings) -> None:
    """Collect, write the dataset and print the success rate."""
    if settings.out.exists():
        raise ConfigError(f"{settings.out} exists already; choose another --out or remove it")
    check_writable(settings.out, "--out")
    began = time.monotonic()
    source = name_source(settings)
    identity = {k: str(v) for k, v in asdict(settings).items() if k not in _NOT_IDENTITY}
    store = PartStore(settings.out, identity | {"source": source}, settings.resume)
    parts = run_parts(store, collect_part, settings, settings.parts, settings.processes)
    attempts = sum(part.attempts for part in parts)
    successes = sum(len(part.actions) for part in parts)
    failures = dict(sum((Counter(part.failures) for part in parts), Counter[str]()))
    if not successes:
        store.remove()
        raise ResipError(f"no attempt of {attempts} succeeded ({failures}); nothing was written")
    data = join_parts(settings.task, parts, source=source, seed=settings.seed)
    write_demonstrations(settings.out, data)
    store.remove()
    lengths = [len(actions) for part in parts for actions in part.actions]
    summary = {
        "task": settings.task,
        "source": source,
        "randomness": settings.randomness,
        "seed": settings.seed,
        "episodes": successes,
        "attempts": attempts,
        "success_rate": successes / attempts,
        "ci95": wilson_interval(successes, attempts),
        "failures": failures,
        "steps_mean": float(np.mean(lengths)),
        "steps_max": int(np.max(lengths)),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(summary, indent=1))
    if successes < settings.episodes:
        raise ResipError(
            f"only {successes} of {settings.episodes} episodes succeeded in {attempts} "
            f"attempts; they are in {settings.out}. Raise --max-attempts for more"
        )


if __name__ == "__main__":
    sys.exit(main())
