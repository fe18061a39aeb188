# SPDX-License-Identifier: Apache-2.0
"""The operator of round_table does each of its two jobs."""

import numpy as np
import pytest

from training.demonstrators.round_table import FOOT, LEG, Operator
from training.env import AssemblyEnv


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    return AssemblyEnv("round_table", 1, seed=3, num_threads=1, pool_size=1)


def test_screws_the_leg_into_the_top(env, work):
    env.reset(None, env.initial_states([0]))
    operator = Operator(np.random.default_rng(0))
    reward, phases = work(env, operator, 450)
    assert reward == 1.0, phases
    assert operator.job is LEG
    first = ["approach", "descend", "grasp", "lift", "carry", "align", "insert", "start"]
    assert phases[:8] == first
    assert phases.count("turn") >= 2, "in strokes"


def test_picks_the_foot_and_starts_its_thread(env, work, screwed):
    screwed(env, 1, {"leg": 0.0})
    operator = Operator(np.random.default_rng(1))
    operator.job = FOOT
    work(env, operator, 160, until="start")
    assert operator.phase == "start"
    assert 0.004 < operator.depth < 0.02


def test_screws_the_foot_down_in_strokes(env, work, screwed):
    screwed(env, 1, {"leg": 0.0, "foot": 0.007})
    operator = Operator(np.random.default_rng(1))
    operator.job, operator.phase = FOOT, "reach"
    reward, phases = work(env, operator, 200)
    assert reward == 1.0, phases
    assert phases.count("turn") >= 2
    assert env.step(operator.act(env.observe()[0])[None]).success.all(), "both pairs at once"
