# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.takeover import Leader, TakeOver

STEP = 100_000_000
LEAD, HOLD = np.full(10, 0.1), np.full(10, 0.2)


@pytest.fixture
def over():
    return TakeOver(10.0)


def test_an_operator_who_does_not_hold_changes_nothing(over):
    assert over.operator(0, LEAD, held=False) is None
    assert over.leader is Leader.POLICY
    assert over.policy_acts(0)


def test_the_operator_preempts_at_the_next_step_that_has_no_action(over):
    assert over.policy_acts(STEP)
    assert over.operator(STEP, LEAD, held=True) is None, "this step has the policy's action"
    assert not over.policy_acts(2 * STEP)
    assert over.operator(2 * STEP, LEAD, held=True) is LEAD
    assert over.operator(2 * STEP + 10_000_000, LEAD, held=True) is None, "one a step"


def test_silence_of_a_leading_operator_is_no_release(over):
    over.operator(0, LEAD, held=True)
    over.chunk(5 * STEP)
    assert over.step(5 * STEP) is None
    assert not over.policy_acts(5 * STEP)


def test_after_the_release_the_hand_stays_until_a_chunk_from_after_it(over):
    over.operator(0, LEAD, held=True)
    over.operator(STEP, HOLD, held=True)
    assert over.operator(2 * STEP, np.zeros(10), held=False) is HOLD
    over.chunk(STEP)
    assert over.step(3 * STEP) is HOLD
    assert not over.policy_acts(3 * STEP)
    assert over.step(4 * STEP) is HOLD
    over.chunk(4 * STEP)
    assert not over.policy_acts(4 * STEP), "this step has an action"
    assert over.step(5 * STEP) is None
    assert over.policy_acts(5 * STEP)


def test_the_operator_may_take_over_again_before_the_policy_leads(over):
    over.operator(0, LEAD, held=True)
    over.operator(STEP, LEAD, held=False)
    assert over.operator(2 * STEP, HOLD, held=True) is HOLD
    over.chunk(3 * STEP)
    assert over.leader is Leader.OPERATOR


def test_a_new_episode_is_the_policys(over):
    over.operator(9 * STEP, LEAD, held=True)
    over.reset()
    assert over.policy_acts(0)
