# SPDX-License-Identifier: Apache-2.0
"""A state policy's input from told poses, through which gradients reach the eyes.

`read_told` and `base_input` are the robot's; their derivative is taken by differences, so that
they need no second definition in torch. Letters: B batch, D state observation, P told poses, Di
input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resip_ros.core.tasks import TaskSpec
from resip_ros.policy.told_poses import read_told, told_scale

BuildInput = Callable[[NDArray[np.float64]], NDArray[np.float32]]
"""Raw state observations (B, D) to what a policy's network is given (B, Di)."""
_STEP = 1e-3
"""Of a difference, in units of `told_scale`: hundredths of a millimetre."""


def make_told_input(
    task: TaskSpec, build: BuildInput, proprio: NDArray[np.float64], told: Tensor
) -> Tensor:
    """What the plan network is given (B, Di).

    Args:
        task: Whose bodies are told.
        build: Of the policy that plans.
        proprio: (B, ...) raw proprioception.
        told: (B, P) SI.
    """

    def make(poses: NDArray[np.float64]) -> NDArray[np.float32]:
        """For poses (n B, P), n of each step of the batch."""
        return build(read_told(task, np.tile(proprio, (len(poses) // len(proprio), 1)), poses))

    return _ToldInput.apply(told, make, _STEP * told_scale(task))


class _ToldInput(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, told: Tensor, make: Any, step: NDArray[np.float64]) -> Tensor:
        poses = told.detach().cpu().numpy().astype(np.float64)
        ctx.given = poses, make, step
        return torch.from_numpy(make(poses)).to(told)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        poses, make, step = ctx.given
        count, dim = poses.shape
        moved = np.concatenate([poses + s * np.diag(step)[:, None] for s in (1.0, -1.0)])
        up, down = make(moved.reshape(-1, dim)).astype(np.float64).reshape(2, dim, count, -1)
        slopes = torch.from_numpy((up - down) / (2 * step[:, None, None])).to(gradient)
        return torch.einsum("pbi,bi->bp", slopes, gradient), None, None
