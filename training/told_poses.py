# SPDX-License-Identifier: Apache-2.0
"""What eyes learn to tell: the true poses of training steps, and how wrong a told one is.

Letters: W training steps, B a batch of them, P what is told of the poses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resip_ros.core.errors import DataError
from resip_ros.core.tasks import TaskSpec
from resip_ros.policy.told_poses import hand_distance, tell_poses, told_dim, told_scale

_NEAR_M, _FAR_M = 0.05, 0.1
"""An error counts _FAR_M / (_NEAR_M + distance from the hand): at a distance the eyes cannot, and
need not, be as exact."""


@dataclass(frozen=True)
class ToldPoses:
    """True poses, where they are known."""

    known: Tensor
    """(W,) bool; nobody knows poses on a real bench."""
    poses: Tensor
    """(W, P) SI, zero where not known."""
    weight: Tensor
    """(W, P) in errors squared, 1 / `told_scale`^2 and less far from the hand."""

    @classmethod
    def of(cls, task: TaskSpec, obs: NDArray[np.floating], known: NDArray[np.bool_]) -> ToldPoses:
        """From raw state observations (W, D)."""
        poses = np.zeros((len(obs), told_dim(task)))
        weight = np.zeros_like(poses)
        seen = np.asarray(obs, dtype=np.float64)[known]
        with np.errstate(invalid="ignore", divide="ignore"):
            poses[known] = tell_poses(task, seen)
            near = _FAR_M / (_NEAR_M + hand_distance(task, seen))
        entries = poses.shape[1] // near.shape[1]
        weight[known] = near.repeat(entries, axis=1) / told_scale(task) ** 2
        return cls(
            torch.from_numpy(known),
            torch.from_numpy(poses).float(),
            torch.from_numpy(weight).float(),
        )

    def check(self, source: str) -> None:
        """Refuse poses that are none.

        Raises:
            DataError: with how many steps, and the name of where they come from.
        """
        wrong = ~torch.isfinite(self.poses).all(-1)
        if wrong.any():
            raise DataError(
                f"poses are not finite in {int(wrong.sum())} training steps of {source}: "
                "state_obs holds a rotation that is none; drop those episodes, collect them again"
            )

    def mean(self) -> Tensor:
        """(P,) where they are known; in half precision, as it is stored."""
        return self.poses[self.known].mean(0).half().float()

    def loss(self, told: Tensor, rows: Tensor) -> Tensor:
        """Mean weighted squared error of poses told (B, P) in training steps (B,).

        Over all steps, known or not: shards and processes add their shares up.
        """
        truth, weight = (each[rows].to(told) for each in (self.poses, self.weight))
        return (weight * (told - truth).square()).mean()
