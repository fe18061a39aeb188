# SPDX-License-Identifier: Apache-2.0
"""What an experiment is, what it may cost, and the commands that it consists of."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zarr

from resip_ros.core.errors import ConfigError
from training.image_dataset import IMAGES_ATTRIBUTE


@dataclass(frozen=True)
class Budget:
    """How long things take; the defaults suit two CPU cores."""

    demonstrations: int = 50
    """Successful episodes to clone from, as in the paper."""
    bc_steps: int = 20_000
    """Gradient steps of cloning."""
    bc_batch: int = 64
    """Windows per gradient step."""
    env_steps: int = 1_000_000
    """Env steps of each reinforcement learner, so that they compare on any machine."""
    dagger_rounds: int = 20
    """Rounds of DAgger."""
    lessons: int = 400
    """Episodes of a shipped policy that its students are cloned from."""
    drawn: int = 400
    """So many of them are drawn for the students that see pictures."""
    student_steps: int = 8000
    """Gradient steps of a student that sees pictures."""
    student_batch: int = 48
    """Windows of each."""
    episodes: int = 1024
    """Episodes of an evaluation (paper: 1024)."""
    evaluation_seed: int = 1
    """The same initial states for every method."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        for name, value in asdict(self).items():
            if value <= 0 and name != "evaluation_seed":
                raise ConfigError(f"budget.{name} must be positive, got {value}")


COPY = "copy"
SHIPPED = {"shipped_base": "base", "shipped": ""}
"""Policies that come with the package, evaluated as they are; their cards say how they came."""


@dataclass(frozen=True)
class Step:
    """One command and what it leaves."""

    command: tuple[str, ...]
    """Module and options; or COPY, a folder, and its copy."""
    output: Path
    """What shows that it ran to its end: a file, or a metrics.json that says `finished`."""
    checkpoint: Path | None = None
    """What an interrupted run leaves and --resume goes on from."""

    def complete(self) -> bool:
        """Whether it need not be run."""
        if not self.output.exists():
            return False
        if self.command[0] == "training.render":
            return IMAGES_ATTRIBUTE in zarr.open_group(str(self.output), mode="r").attrs
        if self.output.name != "metrics.json":
            return True
        metrics: dict[str, Any] = json.loads(self.output.read_text())
        return bool(metrics.get("finished", not metrics.get("interrupted", False)))

    def interrupted(self) -> bool:
        """Whether it has to be resumed."""
        return self.checkpoint is not None and self.checkpoint.exists()


@dataclass(frozen=True)
class Experiment:
    """A method on a task."""

    method: str
    """Key of experiment_list.METHODS."""
    task: str
    randomness: str = "low"
    seed: int = 0

    @property
    def name(self) -> str:
        """How it is called on the command line."""
        return f"{self.task}-{self.randomness}-{self.method}-s{self.seed}"

    def policy(self, folder: Path) -> Path:
        """Policy folder that the training leaves, or what the package ships."""
        if self.method in SHIPPED:
            return Path("models") / self.task / SHIPPED[self.method]
        return folder / self.name / "policy"


Recipe = Callable[[Experiment, Path, Budget], list[Step]]
"""Commands of a method, for an experiment in a folder within a budget."""
