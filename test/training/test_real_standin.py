# SPDX-License-Identifier: Apache-2.0
"""The stand-in for a real bench: less friction, and controls that arrive later."""

import numpy as np
import pytest

from training.env import AssemblyEnv
from training.real_standin import STANDIN, standin_engine

TASK = "peg_in_hole"


def make(engine) -> AssemblyEnv:
    return AssemblyEnv(TASK, 1, num_threads=1, pool_size=1, engine=engine)


def test_friction_is_scaled():
    normal, standin = make("mujoco"), make(standin_engine)
    ratio = standin.model.geom_friction[:, 0] / normal.model.geom_friction[:, 0]
    np.testing.assert_allclose(ratio, STANDIN.friction_scale)
    np.testing.assert_array_equal(
        standin.model.geom_friction[:, 1:], normal.model.geom_friction[:, 1:]
    )


@pytest.mark.parametrize("engine", ["mujoco", standin_engine])
def test_an_arm_that_holds_still_stays(engine):
    env = make(engine)
    env.reset()
    before = env.observe()[0, :3].copy()
    for _ in range(3):
        env.step(env.hold_action())
    assert np.abs(env.observe()[0, :3] - before).max() < 0.003
