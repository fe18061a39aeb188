# SPDX-License-Identifier: Apache-2.0
"""Which demonstrator performs which task."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.core.tasks import TASKS, load_task_module
from training.demonstrators.biman_insert import Operator as BimanInsertOperator
from training.demonstrators.lamp import Operator as LampOperator
from training.demonstrators.mug_rack import Operator as MugRackOperator
from training.demonstrators.one_leg import Operator
from training.demonstrators.peg_in_hole import Operator as PegInHoleOperator
from training.demonstrators.round_table import Operator as RoundTableOperator


class Demonstrator(Protocol):
    """Acts in one episode from state observations."""

    phase: str

    @property
    def gave_up(self) -> bool:
        """Whether going on is pointless."""
        ...

    def act(self, obs: Array) -> Array:
        """Action (10,) for the observation (D,), both SI."""
        ...


def make_demonstrator(task_name: str, rng: np.random.Generator) -> Demonstrator:
    """A fresh demonstrator of a task for one episode."""
    makers = {
        "one_leg": Operator,
        "biman_insert": BimanInsertOperator,
        "lamp": LampOperator,
        "mug_rack": MugRackOperator,
        "peg_in_hole": PegInHoleOperator,
        "round_table": RoundTableOperator,
    }
    module = None if task_name in TASKS else load_task_module(task_name)
    maker = makers.get(task_name) or getattr(module, "Operator", None)
    if maker is None:
        raise ConfigError(
            f"task {task_name!r} has no demonstrator; there are: {', '.join(makers)}"
        )
    return maker(rng)
