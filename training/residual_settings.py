# SPDX-License-Identifier: Apache-2.0
"""Settings of a residual run: the command line of `training.residual`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import models_dir
from training.curriculum import CurriculumConfig
from training.offpolicy import OffPolicyConfig
from training.ppo import PPOConfig
from training.rl_settings import RunArgs


@dataclass(frozen=True)
class Args(RunArgs):
    """Command line; steps and minutes count over all resumes, whichever ends first.

    The bundle goes to models/TASK/residual by default, logs to out/residual/TASK-ALGO-sSEED.
    """

    fixed: ClassVar[tuple[str, ...]] = (*RunArgs.fixed, "alpha", "features")

    algo: Literal["offpolicy", "ppo"] = "offpolicy"
    """Learner."""
    alpha: float = 0.1
    """Scale of the residual in half-ranges of the demonstrated actions."""
    features: Literal["absolute", "relative", "precise"] = "precise"
    """Beside the observation, give the residual the part's pose in the hand and in the target,
    `precise`: and what tells tenths of a millimetre of that and of what the base's action does."""
    parallel: bool = True
    """Off-policy: learn in a thread beside the simulation; exactly repeatable only without."""
    offpolicy: OffPolicyConfig = field(default_factory=OffPolicyConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Off-policy only; PPO starts every episode afresh, as in the paper."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha must lie in (0, 1], got {self.alpha}")

    @property
    def learns_beside(self) -> bool:
        """Whether the learner takes a core of its own."""
        return self.algo == "offpolicy" and self.parallel

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
        learner = dataclasses.asdict(self.ppo if self.algo == "ppo" else self.offpolicy)
        if learner.get("demonstrations") is not None:
            learner["demonstrations"] = str(learner["demonstrations"])
        return {
            **super().stored(base_hash),
            "algo": self.algo,
            "alpha": self.alpha,
            "features": self.features,
            "learner": learner,
            "curriculum": dataclasses.asdict(self.curriculum),
        }
