# SPDX-License-Identifier: Apache-2.0
"""Habits within bounds, motions that arrive in bounded steps, tremor that stays small.

What holds for the operator of every task is here as well.
"""

import numpy as np
import pytest

from resip_ros.core.action import decode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_rot6d, rotation_angle, rotvec_to_matrix
from resip_ros.core.limits import check_action
from training.demonstrators import lamp, mug_rack, one_leg, peg_in_hole, round_table
from training.demonstrators.motion import Habits, ScriptedOperator

OPERATORS = {
    "one_leg": one_leg.Operator,
    "peg_in_hole": peg_in_hole.Operator,
    "round_table": round_table.Operator,
    "mug_rack": mug_rack.Operator,
    "lamp": lamp.Operator,
}
# between the fingers when they hold the part
WIDTHS = {
    "one_leg": 0.030,
    "peg_in_hole": 0.010,
    "round_table": 0.0425,
    "mug_rack": 0.004,
    "lamp": 0.0425,
}
GOAL = np.array([0.5, 0.1, 0.2])
GOAL_ROT = rotvec_to_matrix(np.array([0.0, 2.0, 0.0]))


class Waver(ScriptedOperator):
    """Goes to one pose and stays."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._phases = {"approach": self._approach, "stay": lambda: (GOAL, GOAL_ROT, "stay")}

    def _approach(self):
        pos, rot, there = self._towards(GOAL, GOAL_ROT)
        return pos, rot, "stay" if there else "approach"


def seen(pos, rot) -> np.ndarray:
    return np.concatenate([pos, matrix_to_rot6d(rot), np.zeros(6), [0.06]])


def test_habits_differ_within_their_range(rng):
    habits = [Habits.sample(rng) for _ in range(50)]
    paces = [h.step_m / 0.020 for h in habits]
    assert 0.8 <= min(paces) < 0.85
    assert 1.05 < max(paces) <= 1.1
    assert all(h.step_m <= load_control_config().leash_m for h in habits)


@pytest.mark.parametrize("seed", range(4))
def test_a_hand_that_follows_arrives_in_bounded_steps(seed):
    operator = Waver(np.random.default_rng(seed))
    habits = operator.habits
    pos, rot = np.array([0.3, -0.1, 0.4]), np.eye(3)
    for _ in range(80):
        action = operator.act(seen(pos, rot))
        target, target_rot, gripper = decode_action(action)
        if operator.phase == "stay":
            break
        assert np.linalg.norm(target - pos) < habits.step_m + 6 * habits.tremor_m
        assert rotation_angle(target_rot @ rot.T) < habits.step_rad + 6 * habits.tremor_rad
        pos, rot = target, target_rot
    assert operator.phase == "stay"
    assert gripper < 0, "opens by default"
    np.testing.assert_allclose(pos, GOAL, atol=0.006)


def test_tremor_has_the_stated_size(rng):
    operator = Waver(rng)
    operator.phase = "stay"
    actions = np.array([operator.act(seen(GOAL, GOAL_ROT)) for _ in range(4000)])
    moved = actions[100:, :3] - GOAL
    size = moved[np.abs(moved).max(1) > 0].std(0)
    np.testing.assert_allclose(size, operator.habits.tremor_m, rtol=0.2)


@pytest.mark.parametrize("task_name", OPERATORS)
def test_same_seed_same_actions(make_view, task_name):
    obs, make = make_view(task_name).obs, OPERATORS[task_name]
    one, two, other = (make(np.random.default_rng(s)) for s in (1, 1, 2))
    for _ in range(5):
        action = one.act(obs)
        np.testing.assert_array_equal(action, two.act(obs))
        assert np.abs(action - other.act(obs)).max() > 1e-4


@pytest.mark.parametrize("task_name", OPERATORS)
def test_first_actions_pass_the_gate_wherever_the_hand_is(make_view, task_name, rng):
    config, view = load_control_config(), make_view(task_name)
    home = view.obs[:3].copy()
    for seed in range(8):
        pos = home + rng.uniform(-0.1, 0.1, 3)
        rot = rotvec_to_matrix(rng.uniform(-0.4, 0.4, 3)) @ np.diag([1.0, -1.0, -1.0])
        view.put_hand(pos, rot)
        check_action(
            config, OPERATORS[task_name](np.random.default_rng(seed)).act(view.obs), pos, rot
        )


@pytest.mark.parametrize("task_name", OPERATORS)
def test_takes_the_part_before_it_lifts(make_view, task_name):
    view, operator = make_view(task_name), OPERATORS[task_name](np.random.default_rng(0))
    phases = [operator.phase]
    for _ in range(120):
        pos, rot, gripper = decode_action(operator.act(view.obs))
        view.put_hand(pos, rot)
        if gripper > 0:
            view.obs[15] = max(view.obs[15] - 0.01, WIDTHS[task_name])
        if operator.phase != phases[-1]:
            phases.append(operator.phase)
        if operator.phase == "lift":
            break
    assert phases == ["approach", "descend", "grasp", "lift"]
    assert view.obs[15] < 0.06
