# SPDX-License-Identifier: Apache-2.0
"""The operator of one_leg picks the leg up, and first clears its way when it must."""

import numpy as np

from resip_ros.core.action import decode_action
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim.one_leg import LEG_NOMINAL
from resip_ros.sim.parts import LYING
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


def follow(view, operator: Operator, lowest: float, steps: int) -> tuple[list[str], np.ndarray]:
    """Phases and places (n, 3) of a hand that follows, down to a height over the bench, m."""
    phases, places = [operator.phase], []
    for _ in range(steps):
        pos, rot, _ = decode_action(operator.act(view.obs))
        pos[2] = max(pos[2], lowest if operator.phase == "descend" else 0.0)
        view.put_hand(pos, rot)
        places.append(pos)
        if operator.phase != phases[-1]:
            phases.append(operator.phase)
    return phases, np.array(places)


def test_pushes_the_other_leg_away_when_the_fingers_stand_on_it(make_view):
    view, operator = make_view("one_leg"), Operator(np.random.default_rng(0))
    view.put("leg3", LEG_NOMINAL["leg4"] - np.array([0.0, 0.035, 0.0]), LYING)
    phases, places = follow(view, operator, 0.04, 400)
    way = ["approach", "descend", "rise", "behind", "shove", "rise"]
    assert phases[:13] == [*way, *way, "approach"], "twice, then it gives up on that"
    assert phases[13:] == ["descend"]
    assert operator.gave_up
    low = places[places[:, 2] < 0.025]
    assert low[0, 0] > LEG_NOMINAL["leg4"][0] + 0.05, "from its body's end"
    assert low[:, 0].max() - low[:, 0].min() > 0.06, "along its axis"
    np.testing.assert_allclose(low[:, 1], LEG_NOMINAL["leg4"][1] - 0.035, atol=0.01)


def test_leaves_the_other_legs_alone_when_the_way_is_free(make_view):
    view, operator = make_view("one_leg"), Operator(np.random.default_rng(0))
    phases, _ = follow(view, operator, 0.0, 60)
    assert phases == ["approach", "descend", "grasp"]
