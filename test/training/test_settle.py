# SPDX-License-Identifier: Apache-2.0
"""A mug let go roughly on its pegs ends where the shipped task says that it hangs."""

import re
from dataclasses import replace

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.geometry import rotation_z
from resip_ros.core.tasks import MUG_RACK, goal_poses
from resip_ros.sim.mug_rack import OUR_MUG, rough_goals
from training.settle import Rest, SettleSettings, describe, run, settle_pair

PAIR = MUG_RACK.pairs[0]


def test_from_rough_poses_the_mug_finds_the_tasks_four_goals():
    rough = replace(PAIR, **rough_goals(OUR_MUG))
    goal_pos, goal_rot = goal_poses(PAIR)
    assert np.abs(goal_poses(rough)[0] - goal_pos).max() > 0.01
    rests = settle_pair("mug_rack", rough, tries=3, seed=0)
    assert len(rests) == 4
    for i, rest in enumerate(rests):
        assert (len(rest.poses), rest.elsewhere) == (3, 0)
        pos, rot = rest.middle
        np.testing.assert_allclose(pos, goal_pos[i], atol=1.5e-3)
        np.testing.assert_allclose(rot, goal_rot[i], atol=0.03)
        assert rest.spread[0] < 2e-3


def test_what_is_printed_can_be_pasted_into_the_task_file():
    text = run(SettleSettings("mug_rack", tries=1))
    assert "goal 3: 1 came to rest within 0.0 mm" in text
    pasted: dict = {}
    exec(f"pair = dict(\n{text}\n)", pasted)
    settled = replace(PAIR, **pasted["pair"])
    for got, want, tolerance in zip(
        goal_poses(settled), goal_poses(PAIR), (1.5e-3, 0.03), strict=True
    ):
        np.testing.assert_allclose(got, want, atol=tolerance)


def test_a_mug_beside_the_peg_falls_and_that_is_said():
    beside = replace(PAIR, positions=((0.0, 0.2, 0.3),), rotations=PAIR.rotations[:1])
    (rest,) = settle_pair("mug_rack", beside, tries=2, seed=0)
    assert (rest.poses, rest.elsewhere) == ([], 2)
    with pytest.raises(
        ResipError, match=r"goal 0: no try came to rest \(2 ended elsewhere\); give a start"
    ):
        describe(beside, [rest])


def test_a_start_inside_the_rack_is_left_out_and_that_is_said():
    inside = replace(PAIR, positions=((0.0, 0.0, 0.02),), rotations=PAIR.rotations[:1])
    (rest,) = settle_pair("mug_rack", inside, tries=1, seed=0)
    assert (rest.poses, rest.elsewhere) == ([], 0)
    with pytest.raises(ResipError, match=r"starts overlap by up to [\d.]+ mm"):
        describe(inside, [rest])


def test_of_several_ends_the_middle_one_is_given_with_the_spread():
    ends = [(np.array([x, 0.0, 0.0]), rotation_z(np.array(x * 10))) for x in (0.0, 0.001, 0.003)]
    rest = Rest(ends, elsewhere=1, overlap_m=0.0)
    assert rest.middle[0][0] == 0.001
    assert rest.spread == pytest.approx((0.002, 0.02))
    first, *_ = describe(PAIR, [rest]).splitlines()
    assert re.search(
        r"3 came to rest within 2.0 mm and 1.1 degrees of this, 1 ended elsewhere", first
    )


def test_no_tries_are_refused():
    with pytest.raises(ConfigError, match="--tries: got 0, expected at least 1"):
        run(SettleSettings("mug_rack", tries=0))
