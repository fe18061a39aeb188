# SPDX-License-Identifier: Apache-2.0
"""Video of one simulated episode, with base action, correction and net action beside it.

    python -m training.render models/one_leg --task one_leg --seed 3 --out out/episode.mp4

Shape letters: T steps of the episode, A action dimension.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from rich.progress import track

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.tasks import get_task
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.runtime import AssemblyPolicy
from resip_ros.sim.action_plot import FRAME_HEIGHT, FRAME_WIDTH, compose_frame, draw_action_plot
from resip_ros.sim.render import Renderer
from resip_ros.sim.video import VideoWriter
from training.env import AssemblyEnv


@dataclass(frozen=True)
class Episode:
    """What one episode was, step by step."""

    base: Array
    """(T, A) the base policy's actions, SI."""
    net: Array
    """(T, A) what was executed, SI."""
    qpos: Array
    """(T + 1, nq) positions before every step and after the last."""
    mocap_pos: Array
    """(nmocap, 3) m."""
    outcome: str
    """`assembled`, `time is up`, or the env's reason of failure."""


def run_episode(policy: AssemblyPolicy, env: AssemblyEnv, seed: int, steps: int) -> Episode:
    """Runs a policy in an env of one simulation.

    Args:
        policy: Base, and residual if there is one.
        env: One simulation of the policy's task.
        seed: Of the initial state and of the base policy's noise.
        steps: Longest episode.
    """
    env.reset(states=env.initial_states([0], seed=seed))
    generator = torch.Generator().manual_seed(seed)
    only = np.zeros(1, dtype=np.int64)
    base, net, qpos = [], [], [env.snapshot(only).qpos[0]]
    mocap_pos = env.snapshot(only).mocap_pos[0]
    outcome, chunk = "time is up", np.zeros((1, 0, 0), np.float32)
    for step in track(range(steps), "running the episode", transient=True):
        obs = env.observe()
        within = step % policy.base.action_steps
        if within == 0:
            chunk = policy.base.predict_chunk(obs, generator)
        base_norm = chunk[:, within]
        action = policy.compute_action(base_norm, policy.correct(obs, base_norm))
        result = env.step(action)
        base.append(policy.compute_action(base_norm, np.zeros_like(base_norm))[0])
        net.append(action[0])
        qpos.append(env.snapshot(only).qpos[0])
        if result.terminated[0]:
            outcome = "assembled" if result.success[0] else str(result.failure[0])
            break
    return Episode(np.array(base), np.array(net), np.array(qpos), mocap_pos, outcome)


def write_video(episode: Episode, task: str, rate_hz: float, title: str, out: Path) -> None:
    """Draws an episode at its real speed.

    Raises:
        ResipError: if this machine cannot render, or the file cannot be written.
    """
    time_s = np.arange(len(episode.net)) / rate_hz
    plot, ends = draw_action_plot(time_s, episode.base, episode.net, title)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {out.parent}: {error.strerror}; choose another --out"
        ) from error
    with (
        Renderer(task) as renderer,
        VideoWriter(out, rate_hz, FRAME_HEIGHT, FRAME_WIDTH) as video,
    ):
        last = max(1, len(time_s) - 1)
        for step, qpos in enumerate(track(episode.qpos, "drawing", transient=True)):
            renderer.set_state(qpos, episode.mocap_pos)
            video.add(compose_frame(renderer.draw("overview"), plot, ends, step / last))


def main(
    policy: Annotated[Path, tyro.conf.Positional],
    out: Path,
    task: str = "one_leg",
    seed: int = 0,
    randomness: str = "low",
    steps: int | None = None,
) -> None:
    """Renders an episode of a policy in the training env.

    Args:
        policy: Policy folder (base and residual) or one bundle (base alone).
        out: Video to write, for example out/episode.mp4.
        task: Task of the policy.
        seed: Initial state and noise of the base policy.
        randomness: Spread of the initial states.
        steps: Longest episode in policy steps; by default the task's.
    """
    spec = get_task(task)
    if out.suffix != ".mp4":
        raise ConfigError(f"--out: got {out}, expected a file that ends in .mp4")
    torch.set_num_threads(1)
    loaded = load_policy(policy)
    if loaded.task.name != task:
        raise ConfigError(f"{policy} is a policy for {loaded.task.name}, expected {task}")
    env = AssemblyEnv(task, 1, randomness=randomness, num_threads=1)
    episode = run_episode(loaded, env, seed, steps or spec.episode_steps)
    title = f"{policy}, seed {seed}: {episode.outcome} after {len(episode.net)} steps"
    write_video(episode, task, spec.rate_hz, title, out)
    print(f"{title}; video in {out}")


if __name__ == "__main__":
    try:
        tyro.cli(main, description=__doc__)
    except ResipError as error:
        sys.exit(f"error: {error}")
