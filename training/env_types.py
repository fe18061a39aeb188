# SPDX-License-Identifier: Apache-2.0
"""What a step of the environment gives, and the state from which it can be resumed.

Letters: N environments, b of them, D observation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array


@dataclass(frozen=True)
class StepResult:
    """What one step of all environments gave; observations are from before any reset."""

    obs: Array
    """(N, D) SI."""
    reward: NDArray[np.float32]
    """(N,) number of pairs that are assembled for the first time in the episode."""
    terminated: NDArray[np.bool_]
    """(N,) success or failure."""
    truncated: NDArray[np.bool_]
    """(N,) time limit; the value must be bootstrapped."""
    success: NDArray[np.bool_]
    """(N,)."""
    failure: NDArray[np.str_]
    """(N,) one of training.failures.FAILURES or ''."""
    force: Array
    """(N,) largest filtered external force on a hand during the step, N."""
    refused: NDArray[np.bool_]
    """(N,) the gate refused an arm's action and every arm of the environment stopped."""


@dataclass
class Snapshot:
    """Complete state of b environments, to resume from."""

    qpos: Array
    qvel: Array
    qacc_warmstart: Array
    ctrl: Array
    mocap_pos: Array
    q_ref: Array
    dq_ref: Array
    finger_target: Array
    torque: Array
    paid: NDArray[np.bool_]
    steps_since_accepted: NDArray[np.int64]
    t: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, index: NDArray[np.int64] | slice) -> Snapshot:
        return Snapshot(*(getattr(self, spec.name)[index] for spec in fields(self)))

    @staticmethod
    def concatenate(parts: list[Snapshot]) -> Snapshot:
        """One snapshot of all the parts' environments."""
        names = [spec.name for spec in fields(Snapshot)]
        return Snapshot(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
