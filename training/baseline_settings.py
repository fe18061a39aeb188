# SPDX-License-Identifier: Apache-2.0
"""Settings of `training.baselines`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from resip_ros.core.errors import ConfigError
from training.idql import IdqlConfig
from training.ppo import PPOConfig, chunk_ppo
from training.rl_settings import RunArgs


@dataclass(frozen=True)
class BaselineArgs(RunArgs):
    """Command line; steps and minutes count over all resumes, whichever ends first.

    By default the result goes to out/baselines/TASK-METHOD-sSEED/bundle, logs beside it.
    """

    fixed: ClassVar[tuple[str, ...]] = (*RunArgs.fixed, "alpha", "features")

    method: Literal["resip_c", "ppo_c", "idql"] = "resip_c"
    """What is learned."""
    alpha: float = 0.1
    """resip_c: scale of the correction in half-ranges of the demonstrated actions."""
    features: Literal["absolute", "relative", "precise"] = "precise"
    """resip_c: as `training.residual`."""
    resip_c: PPOConfig = field(default_factory=PPOConfig)
    ppo_c: PPOConfig = field(default_factory=chunk_ppo)
    idql: IdqlConfig = field(default_factory=IdqlConfig)

    def __post_init__(self) -> None:
        """Check what would fail late."""
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha must lie in (0, 1], got {self.alpha}")

    @property
    def run_folder(self) -> Path:
        """Where checkpoints and logs go."""
        default = Path("out") / "baselines" / f"{self.task}-{self.method}-s{self.seed}"
        return self.run_dir or default

    @property
    def bundle(self) -> Path:
        """Where the result goes."""
        return self.out or self.run_folder / "bundle"

    def stored(self, base_hash: str) -> dict[str, Any]:
        """What a checkpoint and metrics.json keep of the settings."""
        learners = {"resip_c": self.resip_c, "ppo_c": self.ppo_c, "idql": self.idql}
        return {
            **super().stored(base_hash),
            "algo": self.method,
            "alpha": self.alpha,
            "features": self.features,
            "learner": dataclasses.asdict(learners[self.method]),
        }
