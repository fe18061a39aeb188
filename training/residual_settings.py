# SPDX-License-Identifier: Apache-2.0
"""Settings of a residual run: the command line of `training.residual`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from resip_ros.core.errors import CheckpointMismatch, ConfigError
from resip_ros.core.paths import models_dir
from training.curriculum import CurriculumConfig
from training.offpolicy import OffPolicyConfig
from training.ppo import PPOConfig


@dataclass(frozen=True)
class Args:
    """Command line; steps and minutes count over all resumes, whichever ends first."""

    task: str = "one_leg"
    """Task, as in its base bundle."""
    base: Path | None = None
    """Base bundle; by default models/TASK/base."""
    out: Path | None = None
    """Residual bundle to write; by default models/TASK/residual."""
    run_dir: Path | None = None
    """Checkpoints and logs; by default out/residual/TASK-ALGO-sSEED."""
    algo: Literal["offpolicy", "ppo"] = "offpolicy"
    """Learner."""
    steps: int | None = None
    """Env steps of the whole run, over all envs."""
    minutes: float | None = None
    """Wall minutes of the whole run, evaluations included."""
    resume: bool = False
    """Continue from the newest checkpoint in --run-dir."""
    envs: int = 64
    """Simulations side by side."""
    num_threads: int | None = None
    """CPU threads of the physics; by default all cores, less one for a parallel learner."""
    alpha: float = 0.1
    """Scale of the residual in half-ranges of the demonstrated actions."""
    relative_features: bool = True
    """Give the residual the part's pose in the hand and in the target."""
    randomness: str = "low"
    """Spread of the initial states."""
    episode_steps: int | None = None
    """Training episodes are cut off after this many steps, their value bootstrapped; by default
    the task's limit, which evaluations always use."""
    seed: int = 0
    """Seed of the run."""
    parallel: bool = True
    """Off-policy: learn in a thread beside the simulation; exactly repeatable only without."""
    eval_minutes: float = 10.0
    """Minutes between evaluations; there is always one at the end."""
    eval_episodes: int = 64
    """Episodes per evaluation, one per simulation."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints."""
    log_seconds: float = 20.0
    """Seconds between progress lines."""
    ship: Literal["best", "last"] = "best"
    """Export the actor of the best evaluation (a later one wins a tie) or the last actor."""
    offpolicy: OffPolicyConfig = field(default_factory=OffPolicyConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Off-policy only; PPO starts every episode afresh, as in the paper."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        if self.steps is None and self.minutes is None:
            raise ConfigError("no end of the run given; pass --steps or --minutes")
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f"num_threads must be at least 1, got {self.num_threads}")
        if self.envs < 1 or self.eval_episodes < 1:
            raise ConfigError("envs and eval_episodes must be at least 1")
        if self.episode_steps is not None and self.episode_steps < 1:
            raise ConfigError(f"episode_steps must be at least 1, got {self.episode_steps}")
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha must lie in (0, 1], got {self.alpha}")

    @property
    def physics_threads(self) -> int:
        """CPU threads of the physics."""
        learner = self.algo == "offpolicy" and self.parallel
        return self.num_threads or max(1, len(os.sched_getaffinity(0)) - learner)

    @property
    def run_folder(self) -> Path:
        """Where checkpoints and logs go."""
        default = Path("out") / "residual" / f"{self.task}-{self.algo}-s{self.seed}"
        return self.run_dir or default

    @property
    def bundle(self) -> Path:
        """Where the residual bundle goes."""
        return self.out or models_dir() / self.task / "residual"

    def stored(self, base_hash: str) -> dict[str, Any]:
        """What a checkpoint and metrics.json keep of the settings."""
        learner = self.ppo if self.algo == "ppo" else self.offpolicy
        return {
            "task": self.task,
            "algo": self.algo,
            "base_hash": base_hash,
            "envs": self.envs,
            "alpha": self.alpha,
            "relative_features": self.relative_features,
            "randomness": self.randomness,
            "episode_steps": self.episode_steps,
            "seed": self.seed,
            "eval_episodes": self.eval_episodes,
            "learner": dataclasses.asdict(learner),
            "curriculum": dataclasses.asdict(self.curriculum),
        }


# What shapes the stored arrays or the meaning of the data may not change half way.
FIXED = ("task", "algo", "base_hash", "envs", "alpha", "relative_features", "randomness", "seed")


def check_settings(args: Args, base_hash: str, saved: dict[str, Any]) -> None:
    """Compare the settings of a run with those its checkpoint was made with.

    Raises:
        CheckpointMismatch: when one differs that must not.
    """
    now = args.stored(base_hash)
    for name in FIXED:
        if now[name] != saved[name]:
            raise CheckpointMismatch(
                f"cannot resume {args.run_folder}: {name} is {now[name]!r}, the run has "
                f"{saved[name]!r}; pass that or start anew with another --run-dir"
            )
