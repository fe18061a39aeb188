# SPDX-License-Identifier: Apache-2.0
"""The operator of one_leg picks the leg up, from two starts at once."""

import numpy as np

from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import ONE_LEG
from training.demonstrators.one_leg import Operator
from training.env import AssemblyEnv


def test_two_operators_lift_the_leg():
    env = AssemblyEnv("one_leg", 2, seed=3, num_threads=1, pool_size=1)
    env.reset(None, env.initial_states([0, 1]))
    operators = [Operator(np.random.default_rng((3, i))) for i in range(2)]
    phases: list[list[str]] = [["approach"], ["approach"]]
    for _ in range(120):
        obs = env.observe()
        actions = np.stack([op.act(obs[i]) for i, op in enumerate(operators)])
        result = env.step(actions)
        assert not result.refused.any()
        assert not result.terminated.any()
        for seen, operator in zip(phases, operators, strict=True):
            if operator.phase != seen[-1]:
                seen.append(operator.phase)
        if all("carry" in seen for seen in phases):
            break
    assert [seen[:5] for seen in phases] == [["approach", "descend", "grasp", "lift", "carry"]] * 2
    pos, _ = body_pose(ONE_LEG, env.observe(), "leg4")
    assert (pos[:, 2] > 0.05).all(), "the leg is in the hand"
    assert not any(operator.gave_up for operator in operators)
