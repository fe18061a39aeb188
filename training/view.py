# SPDX-License-Identifier: Apache-2.0
"""Look at one simulated episode of a policy, or of the scripted demonstrator.

    python -m training.view one_leg --policy models/one_leg --seed 3 --out out/episode.mp4
    python -m training.view one_leg

The video has base action, correction and net action beside the picture. Without --out the
episode plays in MuJoCo's interactive viewer, which needs a display. Letters: T steps of the
episode, D observation, A action dimension.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
import torch
import tyro
from rich.progress import track

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.core.tasks import get_task
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.runtime import AssemblyPolicy
from resip_ros.sim.action_plot import FRAME_HEIGHT, FRAME_WIDTH, compose_frame, draw_action_plot
from resip_ros.sim.gl import find_backend
from resip_ros.sim.render import Renderer
from resip_ros.sim.task_scene import get_randomness
from resip_ros.sim.video import VideoWriter
from training.demonstrators.registry import make_demonstrator
from training.env import AssemblyEnv
from training.eyes import PLAIN, Eyes
from training.figure_file import make_folder
from training.program import run_with_settings
from training.window import find_viewer, play

ASSEMBLED = "assembled"


@dataclass(frozen=True)
class ViewSettings:
    """What to look at."""

    task: Annotated[str, tyro.conf.Positional]
    """Task name, for example one_leg."""
    policy: Path | None = None
    """Policy folder (base and residual) or one bundle (base alone); by default the scripted
    demonstrator acts."""
    seed: int = 0
    """Of the initial state and of the base policy's noise or the demonstrator's habits."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high."""
    out: Path | None = None
    """Video to write, for example out/episode.mp4; by default a window opens."""


@dataclass(frozen=True)
class Episode:
    """What one episode was, step by step."""

    base: Array
    """(T, A) the base policy's actions, SI; the demonstrator's own."""
    net: Array
    """(T, A) what was executed, SI."""
    qpos: Array
    """(T + 1, nq) positions before every step and after the last."""
    mocap_pos: Array
    """(nmocap, 3) m."""
    outcome: str
    """`assembled`, `time is up`, `gave up`, or the env's reason of failure."""


class Actor(Protocol):
    """Whoever acts in one episode."""

    @property
    def gave_up(self) -> bool:
        """Whether going on is pointless."""
        ...

    def act(self, obs: Array) -> tuple[Array, Array]:
        """Base and net action (A,) for an observation (D,), all SI."""
        ...


class PolicyActor:
    """A base policy, and its residual if there is one; never gives up."""

    gave_up = False

    def __init__(self, policy: AssemblyPolicy, env: AssemblyEnv, seed: int) -> None:
        """Begin without a plan.

        Args:
            policy: What acts.
            env: Its one simulation, which is drawn for a policy that sees pictures.
            seed: Of the base policy's noise.

        Raises:
            NoRenderingError: it sees pictures, and this machine cannot draw.
        """
        self._policy = policy
        self._eyes = Eyes(env, PLAIN, seed) if policy.base.images else None
        self._generator = torch.Generator().manual_seed(seed)
        self._plan: list[np.ndarray] = []

    def act(self, obs: Array) -> tuple[Array, Array]:
        """Base and net action (A,) for an observation (D,), all SI."""
        one = obs[None]
        if not self._plan:
            chunk = self._plan_chunk(one)
            self._plan = [chunk[:, i] for i in range(chunk.shape[1])]
        planned = self._plan.pop(0)
        net = self._policy.compute_action(planned, self._policy.correct(one, planned))
        return self._policy.compute_action(planned, np.zeros_like(planned))[0], net[0]

    def _plan_chunk(self, one: Array) -> np.ndarray:
        """(1, K, A) normalised, for the present observation (1, D)."""
        if self._eyes is None:
            return self._policy.plan(one, self._generator)
        self._eyes.remember()
        # a student's observation is proprioception, which the state begins with, and pictures
        proprio = one[:, : self._policy.base.obs_dim]
        return self._policy.plan(proprio, self._generator, self._eyes(np.zeros(1, np.int64)))


class DemonstratorActor:
    """The scripted operator of a task; its base action is its net action."""

    def __init__(self, task: str, seed: int) -> None:
        """The operator of attempt 0 of the seed, as training.collect makes it."""
        self._operator = make_demonstrator(task, np.random.default_rng((seed, 0, 7)))

    @property
    def gave_up(self) -> bool:
        """Whether the operator sees no way to go on."""
        return self._operator.gave_up

    def act(self, obs: Array) -> tuple[Array, Array]:
        """Base and net action (A,) for an observation (D,), all SI."""
        action = self._operator.act(obs)
        return action, action


def run_episode(actor: Actor, env: AssemblyEnv, seed: int) -> Episode:
    """Runs an actor in an env of one simulation, from initial state 0 of the seed."""
    env.reset(states=env.initial_states([0], seed=seed))
    only = np.zeros(1, dtype=np.int64)
    start = env.snapshot(only)
    base, net, qpos = [], [], [start.qpos[0]]
    outcome = "time is up"
    for _ in track(range(env.episode_steps), "running the episode", transient=True):
        planned, action = actor.act(env.observe()[0])
        result = env.step(action[None])
        base.append(planned)
        net.append(action)
        qpos.append(env.snapshot(only).qpos[0])
        if result.terminated[0]:
            outcome = ASSEMBLED if result.success[0] else str(result.failure[0])
            break
        if actor.gave_up:
            outcome = "gave up"
            break
    return Episode(np.array(base), np.array(net), np.array(qpos), start.mocap_pos[0], outcome)


def write_video(episode: Episode, task: str, rate_hz: float, title: str, out: Path) -> None:
    """Draws an episode at its real speed.

    Raises:
        ResipError: if this machine cannot render, or the file cannot be written.
    """
    time_s = np.arange(len(episode.net)) / rate_hz
    plot, ends = draw_action_plot(time_s, episode.base, episode.net, title)
    with (
        Renderer(task, antialias=True) as renderer,
        VideoWriter(out, rate_hz, FRAME_HEIGHT, FRAME_WIDTH) as video,
    ):
        last = max(1, len(time_s) - 1)
        for step, qpos in enumerate(track(episode.qpos, "drawing", transient=True)):
            renderer.set_state(qpos, episode.mocap_pos)
            video.add(compose_frame(renderer.draw("overview"), plot, ends, step / last))


def run(settings: ViewSettings) -> None:
    """Run the episode, then show it.

    Raises:
        ResipError: for bad input, or where neither window nor video is possible.
    """
    task, out, viewer = get_task(settings.task), settings.out, None
    get_randomness(settings.randomness)
    if out is None:
        viewer = find_viewer()
    elif out.suffix != ".mp4":
        raise ConfigError(f"--out: got {out}, expected a file that ends in .mp4")
    else:
        find_backend()
        make_folder(out)
    torch.set_num_threads(1)
    env = AssemblyEnv(task.name, 1, randomness=settings.randomness, num_threads=1)
    if settings.policy is None:
        actor = DemonstratorActor(task.name, settings.seed)
    else:
        policy = load_policy(settings.policy, images=True)
        if policy.task.name != task.name:
            raise ConfigError(
                f"{settings.policy} is a policy for {policy.task.name}, expected {task.name}"
            )
        actor = PolicyActor(policy, env, settings.seed)
    episode = run_episode(actor, env, settings.seed)
    who = settings.policy or "demonstrator"
    title = f"{who}, seed {settings.seed}: {episode.outcome} after {len(episode.net)} steps"
    print(title)
    if out is None:
        play(viewer, task.name, episode.qpos, episode.mocap_pos, task.rate_hz)
    else:
        write_video(episode, task.name, task.rate_hz, title, out)
        print(f"video in {out}")


def main() -> int:
    """Command-line entry."""
    return run_with_settings("training.view", ViewSettings, run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
