# SPDX-License-Identifier: Apache-2.0
"""How far a plan that was made some steps earlier lies from one that is made when it is needed.

    python -m training.plan_delay models/peg_in_hole --task peg_in_hole --episodes 32

In training every chunk is planned from the newest observation. Where inference does not fit in a
step, nodes plan it some steps before and leave out the steps that were executed meanwhile. Here
the policy acts as in training, and at the beginning of every chunk both plans are made with the
same noise. Beside them: two plans from the same observation with different noise. What the
difference does to success: training.evaluate --plan-delay.
Letters: N environments, K executed steps, Da action dimensions.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.progress import track

from resip_ros.core.action import decode_action
from resip_ros.core.chunking import greatest_delay
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, rotation_angle
from resip_ros.core.results import write_json_atomically
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.runtime import AssemblyPolicy
from training.env import AssemblyEnv
from training.program import run_with_settings
from training.rollout import PolicyRollout

NOISE = "other noise"


@dataclass(frozen=True)
class PlanDelaySettings:
    """What to measure."""

    policy: Annotated[Path, tyro.conf.Positional]
    """Policy folder (base and residual) or one bundle (base alone)."""
    task: str = "one_leg"
    """Task of the policy."""
    episodes: int = 32
    """Episodes, side by side; each is followed until the first of them ends."""
    delays: tuple[int, ...] = (1, 2, 4)
    """Steps between the earlier observation and the chunk."""
    seed: int = 1
    """Seed of the initial states and of the noise."""
    json: Path | None = None
    """File to write the figures to."""


def distances(plan: Array, other: Array) -> tuple[Array, Array]:
    """How far the hand is apart in each step of two plans (N, K, Da), SI: mm and degrees."""
    pos, rot, _ = decode_action(plan[..., :10])
    other_pos, other_rot, _ = decode_action(other[..., :10])
    angle = rotation_angle(np.swapaxes(rot, -1, -2) @ other_rot)
    return 1e3 * np.linalg.norm(pos - other_pos, axis=-1), np.degrees(angle)


class Comparison:
    """Plans from the newest observation beside plans from earlier ones."""

    def __init__(self, policy: AssemblyPolicy, delays: tuple[int, ...], seed: int) -> None:
        """Takes the policy.

        Raises:
            ConfigError: for a delay that its plans are too short for.
        """
        base = policy.base
        limit = greatest_delay(base.action_steps, base.horizon)
        wrong = [delay for delay in delays if not 1 <= delay <= limit]
        if wrong or policy.decides_per_chunk:
            raise ConfigError(f"--delays: got {delays}, expected 1 to {limit} for this policy")
        self._policy, self._delays, self._seed = policy, delays, seed
        self._chunks = 0
        self.found: dict[str, list[tuple[Array, Array]]] = {}

    def add(self, history: list[Array]) -> None:
        """Compares at the beginning of a chunk, after observations (N, D), newest last."""
        self._chunks += 1
        steps = self._policy.base.action_steps
        newest = self._plan(history[-1], self._chunks)[:, :steps]
        other = self._plan(history[-1], -self._chunks)[:, :steps]
        self._note(NOISE, newest, other)
        for delay in self._delays:
            if len(history) > delay:
                early = self._plan(history[-1 - delay], self._chunks)
                self._note(f"{delay} steps earlier", newest, early[:, delay : delay + steps])

    def _plan(self, obs: Array, draw: int) -> Array:
        """Plans (N, T, Da), SI; the same draw gives the same noise."""
        generator = torch.Generator().manual_seed(hash((self._seed, draw)) % 2**31)
        plan = self._policy.base.predict_chunk(obs, generator)
        return self._policy.normalizer.denormalize_action(plan)

    def _note(self, name: str, plan: Array, other: Array) -> None:
        self.found.setdefault(name, []).append(distances(plan, other))

    def summary(self) -> dict[str, dict[str, float]]:
        """Percentiles over all steps of all chunks."""
        out: dict[str, dict[str, float]] = {}
        for name, pairs in sorted(self.found.items()):
            mm = np.concatenate([pair[0].ravel() for pair in pairs])
            deg = np.concatenate([pair[1].ravel() for pair in pairs])
            out[name] = {
                "mm_p50": round(float(np.percentile(mm, 50)), 3),
                "mm_p95": round(float(np.percentile(mm, 95)), 3),
                "deg_p50": round(float(np.percentile(deg, 50)), 3),
                "deg_p95": round(float(np.percentile(deg, 95)), 3),
            }
        return out


def run(settings: PlanDelaySettings) -> dict[str, Any]:
    """Load, act, compare, print and write.

    Raises:
        ResipError: for a bad policy, task, count or output file.
    """
    if settings.episodes < 1:
        raise ConfigError(f"--episodes: got {settings.episodes}, expected at least 1")
    torch.set_num_threads(1)
    policy = load_policy(settings.policy)
    if policy.task.name != settings.task:
        raise ConfigError(
            f"{settings.policy} is a policy for {policy.task.name}, expected {settings.task}"
        )
    comparison = Comparison(policy, settings.delays, settings.seed)
    env = AssemblyEnv(
        settings.task, settings.episodes, seed=settings.seed, num_threads=1, pool_size=1
    )
    env.reset(states=env.initial_states(list(range(settings.episodes)), settings.seed))
    rollout = PolicyRollout(policy, settings.episodes, settings.seed)
    ids, history = np.arange(settings.episodes), [env.observe()]
    steps = 0
    for _ in track(range(env.episode_steps), "steps until the first episode ends"):
        if steps % policy.base.action_steps == 0:
            comparison.add(history)
        result = env.step(rollout.act(history[-1], ids))
        history = [*history, result.obs][-1 - policy.base.action_steps :]
        steps += 1
        if (result.terminated | result.truncated).any():
            break
    figures = {
        "task": settings.task,
        "policy": str(settings.policy),
        "episodes": settings.episodes,
        "steps": steps,
        "seed": settings.seed,
        "apart": comparison.summary(),
    }
    print(json.dumps(figures, indent=1))
    if settings.json is not None:
        write_json_atomically(settings.json, figures)
    return figures


def main() -> int:
    """Command-line entry."""
    return run_with_settings("training.plan_delay", PlanDelaySettings, run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
