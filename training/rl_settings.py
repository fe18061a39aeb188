# SPDX-License-Identifier: Apache-2.0
"""What the command lines of all reinforcement learners have in common."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import CheckpointMismatch, ConfigError
from resip_ros.core.paths import models_dir
from training.program import check_numbers, check_run


@dataclass(frozen=True)
class RunArgs(ABC):
    """Steps and minutes count over all resumes, whichever ends first."""

    fixed: ClassVar[tuple[str, ...]] = (
        "task", "algo", "base_hash", "envs", "perturb", "control_delay_ms", "seed"
    )  # fmt: skip
    """What shapes the stored arrays or the meaning of the data may not change half way."""

    task: str = "one_leg"
    """Task, as in its base bundle."""
    base: Path | None = None
    """Base bundle; by default models/TASK/base."""
    out: Path | None = None
    """Bundle to write; by default models/TASK/residual, of a baseline RUN-DIR/bundle."""
    run_dir: Path | None = None
    """Checkpoints and logs; by default out/residual/TASK-ALGO-sSEED, of a baseline
    out/baselines/TASK-METHOD-sSEED."""
    steps: int | None = None
    """Env steps of the whole run, over all envs and resumes; this, --minutes or both."""
    minutes: float | None = None
    """Wall minutes of the whole run, over all resumes, evaluations included."""
    resume: bool = False
    """Continue from the newest checkpoint in --run-dir."""
    envs: int = 64
    """Simulations side by side, over all processes and shards."""
    shards: int | None = None
    """PPO: parts that the simulations are cut into, each with its own random numbers; by default
    one a process. Runs with equally many shards are equal, however many processes share them."""
    num_threads: int | None = None
    """CPU threads of the physics; by default all cores, less one for a parallel learner."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high. A resume may widen it: what was learned
    where the base succeeds carries over to where it seldom does."""
    perturb: bool = False
    """Knock parts about in training (training.perturbation); evaluations of the run leave them
    alone, `training.evaluate --perturb` does not."""
    control_delay_ms: float = 0.0
    """Longest delay between reference and actuators in training, ms: the simulations have delays
    from 0 to it. The nodes need 10 to 50 ms from an observation to the reference."""
    physics_step_ms: float | None = None
    """Physics step of training and of the run's evaluations, ms; by default the task's. Contacts
    are the stiffer the smaller it is; the simulated robot's is 1 ms. A resume may change it."""
    episode_steps: int | None = None
    """Training episodes are cut off after this many steps, their value bootstrapped; by default
    the task's limit, which evaluations always use."""
    seed: int = 0
    """Seed of the run."""
    eval_minutes: float = 10.0
    """Minutes between evaluations; there is always one at the end."""
    eval_episodes: int = 64
    """Episodes per evaluation, one per simulation."""
    checkpoint_minutes: float = 5.0
    """Minutes between checkpoints."""
    log_seconds: float = 20.0
    """Seconds between progress lines."""
    wandb: str = ""
    """Project of Weights & Biases that gets the curves too (pip install 'resip_ros[wandb]')."""
    ship: Literal["best", "last"] = "best"
    """Export the actor of the best evaluation (a later one wins a tie) or the last actor."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        if self.steps is None and self.minutes is None:
            raise ConfigError("no end of the run given; pass --steps or --minutes")
        check_numbers(self, "steps", "minutes", "envs", "eval_episodes", "episode_steps")
        check_run(self.seed, num_threads=self.num_threads)
        longest = 1000.0 * load_control_config().command_timeout_s
        if not 0.0 <= self.control_delay_ms <= longest:
            raise ConfigError(
                f"control_delay_ms: got {self.control_delay_ms}, expected 0 to {longest:g}, the "
                "command time-out of the bridge"
            )
        if self.shards is not None and (self.shards < 1 or self.envs % self.shards):
            raise ConfigError(
                f"shards: got {self.shards}, expected a divisor of envs ({self.envs})"
            )

    @property
    def base_folder(self) -> Path:
        """The base bundle."""
        return self.base or models_dir() / self.task / "base"

    @property
    def learns_beside(self) -> bool:
        """Whether the learner takes a core of its own."""
        return False

    @property
    def physics_threads(self) -> int:
        """CPU threads of the physics."""
        return self.num_threads or max(1, len(os.sched_getaffinity(0)) - self.learns_beside)

    @property
    @abstractmethod
    def run_folder(self) -> Path:
        """Where checkpoints and logs go."""

    @property
    @abstractmethod
    def bundle(self) -> Path:
        """Where the result goes."""

    def stored(self, base_hash: str) -> dict[str, Any]:
        """What a checkpoint and metrics.json keep of the settings."""
        return {
            "task": self.task,
            "base_hash": base_hash,
            "envs": self.envs,
            "randomness": self.randomness,
            "perturb": self.perturb,
            "control_delay_ms": self.control_delay_ms,
            "physics_step_ms": self.physics_step_ms,
            "episode_steps": self.episode_steps,
            "seed": self.seed,
            "eval_episodes": self.eval_episodes,
        }

    def check_resume(self, base_hash: str, saved: dict[str, Any]) -> None:
        """Compare these settings with those that a checkpoint was made with.

        Raises:
            CheckpointMismatch: when one differs that must not.
        """
        now = self.stored(base_hash)
        for name in self.fixed:
            if now[name] != saved.get(name):
                raise CheckpointMismatch(
                    f"cannot resume {self.run_folder}: {name} is {now[name]!r}, the run has "
                    f"{saved.get(name)!r}; pass that or start anew with another --run-dir"
                )
