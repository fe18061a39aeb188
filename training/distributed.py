# SPDX-License-Identifier: Apache-2.0
"""Several processes that train one model, started by torchrun; one process without it.

A batch is cut into S shards, each with random numbers of its own, and a process works on its share
of them. So W processes with S shards take the same step as one process with S shards: which
machine does which part leaves no trace in the result.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from resip_ros.core.errors import ConfigError


@dataclass(frozen=True)
class Group:
    """The processes of a run."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def own_shards(self, shards: int) -> range:
        """Shards of this process.

        Raises:
            ConfigError: when the processes cannot share them equally.
        """
        if shards < 1 or shards % self.size:
            raise ConfigError(
                f"shards: got {shards} for {self.size} processes, expected a multiple of that"
            )
        share = shards // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, the same bits in each."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in place."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = parameters_to_vector(gradients)
        distributed.all_reduce(flat)
        vector_to_parameters(flat, gradients)

    def from_leader(self, value: float) -> float:
        """The leading process's value."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, src=0)
        return float(shared)


ALONE = Group()
"""One process."""


def join_group() -> Group:
    """The group that torchrun made, or a single process; call it once, at the start.

    Gloo on CPU tensors: gradients of these small networks are a few megabytes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    return Group(distributed.get_rank(), size)


def leave_group() -> None:
    """End the group, so that no process waits for another."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
