# SPDX-License-Identifier: Apache-2.0
"""Muon for kernels and matrices, AdamW for everything else, used like one optimiser.

Muon (Jordan 2024; arXiv 2502.16982) makes every update of a matrix orthogonal, so that directions
of small gradient are learned as fast as those of large. PyTorch's takes matrices only; the kernel
of a convolution (C_out, C_in, ...) is given to it as the matrix that multiplies patches. What it
saves here: docs/experiments.md, 22.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

RATE_SCALE = 50.0
"""Muon's learning rate, relative to AdamW's: an orthogonal update is a large one."""
_WEIGHT_DECAY = 0.01
_MATRIX_DIMS = 2


def build_optimizer(
    name: str, groups: list[dict[str, Any]], lr: float, weight_decay: float
) -> torch.optim.AdamW | Muon:
    """`adamw` or `muon` for groups of parameters; rate and decay are AdamW's."""
    if name == "muon":
        return Muon(groups, lr, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)


class Muon:
    """Two optimisers with one list of groups; a group may have settings of its own."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, weight_decay: float) -> None:
        """Take over parameters, which stay on their device.

        Args:
            groups: `params`, and what belongs to them; their `scale` is RATE_SCALE times as large
                for what Muon trains.
            lr: Of AdamW.
            weight_decay: Of AdamW.
        """
        matrices, others = [], []
        self._pairs: list[tuple[Tensor, Tensor]] = []
        for group in groups:
            kept = {k: v for k, v in group.items() if k != "params"}
            flat = []
            for parameter in group["params"]:
                if parameter.ndim >= _MATRIX_DIMS:
                    # a copy: a kernel's memory may have another order
                    flat.append(parameter.detach().reshape(len(parameter), -1).clone())
                    self._pairs.append((parameter, flat[-1]))
            scale = RATE_SCALE * kept.get("scale", 1.0)
            matrices.append({**kept, "params": flat, "scale": scale})
            rest = [p for p in group["params"] if p.ndim < _MATRIX_DIMS]
            others.append({**kept, "params": rest})
        self._muon = torch.optim.Muon(matrices, lr=RATE_SCALE * lr, weight_decay=_WEIGHT_DECAY)
        self._adamw = torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both; `lr` may be set, times the group's `scale` if it has one."""
        return [*self._adamw.param_groups, *self._muon.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self._adamw.zero_grad(set_to_none)
        for parameter, _ in self._pairs:
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for parameter, matrix in self._pairs:
            gradient = parameter.grad
            matrix.copy_(parameter.detach().reshape(matrix.shape))
            matrix.grad = None if gradient is None else gradient.reshape(matrix.shape)
        self._muon.step()
        for parameter, matrix in self._pairs:
            parameter.data.copy_(matrix.view(parameter.shape))
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])
