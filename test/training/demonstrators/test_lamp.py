# SPDX-License-Identifier: Apache-2.0
"""The operator of lamp does each of its two jobs and leaves the base where it stands."""

import numpy as np
import pytest

from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import LAMP
from training.demonstrators.lamp import BULB, HOOD, Operator
from training.env import AssemblyEnv

BASE = observation_names(LAMP).index("lamp_base_x")


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    return AssemblyEnv("lamp", 1, seed=3, num_threads=1, pool_size=1)


def test_picks_the_bulb_and_starts_its_thread_and_leaves_the_base_where_it_is(env, work):
    env.reset(None, env.initial_states([0]))
    base = env.observe()[0, BASE:][:2]
    operator = Operator(np.random.default_rng(0))
    _, phases = work(env, operator, 180, until="reach")
    first = ["approach", "descend", "grasp", "lift", "carry", "align", "insert", "start"]
    assert phases == [*first, "level", "release", "retreat", "reach"]
    assert 0.006 < operator.depth < 0.02
    assert operator.part_rot[2, 2] > 0.98, "the thread holds it upright"
    assert np.linalg.norm(env.observe()[0, BASE:][:2] - base) < 0.015


def test_screws_the_bulb_in_by_strokes(env, work, screwed):
    screwed(env, 1, {"bulb": 0.006})
    base = env.observe()[0, BASE:][:2]
    operator = Operator(np.random.default_rng(1))
    operator.phase = "reach"
    reward, phases = work(env, operator, 120)
    assert reward == 1.0, phases
    assert operator.job is BULB
    assert phases.count("turn") >= 2, "in strokes"
    assert np.linalg.norm(env.observe()[0, BASE:][:2] - base) < 0.015, "led back to where it stood"


def test_puts_the_hood_over_the_bulb_and_leaves_it_there(env, work, screwed):
    screwed(env, 1, {"bulb": 0.0})
    operator = Operator(np.random.default_rng(1))
    operator.job = HOOD
    reward, phases = work(env, operator, 200)
    assert reward == 1.0, phases
    assert phases == ["approach", "descend", "grasp", "lift", "carry", "align", "lower"]
    for _ in range(40):
        env.step(operator.act(env.observe()[0])[None])
    assert operator.phase == "withdraw"
    operator.act(env.observe()[0])
    assert operator.assembled, "it stands when the hand has left"
    assert np.linalg.norm(operator.pos - operator.part) > 0.1
    assert env.step(operator.act(env.observe()[0])[None]).success.all(), "both pairs at once"
