# SPDX-License-Identifier: Apache-2.0
"""Demonstrators by task."""

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import TASKS
from training.demonstrators.one_leg import Operator
from training.demonstrators.registry import make_demonstrator


def test_every_task_has_a_fresh_demonstrator(rng):
    for name in TASKS:
        first, second = make_demonstrator(name, rng), make_demonstrator(name, rng)
        assert first is not second
        assert first.phase == second.phase
        assert callable(first.act)
    assert isinstance(make_demonstrator("one_leg", np.random.default_rng(0)), Operator)


def test_unknown_task(rng):
    with pytest.raises(ConfigError, match="'sofa' has no demonstrator; there are: one_leg"):
        make_demonstrator("sofa", rng)
