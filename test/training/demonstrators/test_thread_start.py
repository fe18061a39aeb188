# SPDX-License-Identifier: Apache-2.0
"""Operators that start a thread: a jam is eased, a light parent is led back."""

import numpy as np
import pytest

from resip_ros.core.action import decode_action
from resip_ros.core.geometry import rotation_z
from training.demonstrators import lamp, one_leg, round_table
from training.demonstrators.screwing import ScrewOperator
from training.demonstrators.thread_start import Job

THREADED = [
    (one_leg.Operator, one_leg.LEG),
    (round_table.Operator, round_table.LEG),
    (round_table.Operator, round_table.FOOT),
    (lamp.Operator, lamp.BULB),
]


def begin(maker: type[ScrewOperator], job: Job, phase: str) -> ScrewOperator:
    operator = maker(np.random.default_rng(0))
    operator.job, operator.phase = job, phase
    return operator


def hold(view, job: Job, depth: float, yaw: float, slid: float = 0.0) -> None:
    """Put the child upright in the hand, its tip so deep in the bore, everything turned by yaw."""
    parent = np.array([0.5, slid, 0.05])
    turn = rotation_z(np.array(yaw))
    view.put(job.pair.parent, parent, turn)
    mouth = parent + turn @ np.array(job.mouth)
    child = mouth - np.array([0.0, 0.0, depth + job.pair.tip[2]])
    rot = turn @ rotation_z(np.radians(140.0))
    view.put(job.pair.child, child, rot)
    view.put_hand(child + np.array([0.0, 0.0, 0.01]), rot @ np.diag([1.0, -1.0, -1.0]))


@pytest.mark.parametrize(("maker", "job"), THREADED)
def test_lifts_and_turns_back_when_the_parent_turns_with_the_part(make_view, maker, job):
    view, operator = make_view(maker.task.name), begin(maker, job, "insert")
    hold(view, job, 0.008, 0.0)
    for _ in range(10):
        operator.act(view.obs)
    assert operator.phase == "start"
    hold(view, job, 0.008, np.radians(-10.0))
    operator.act(view.obs)
    assert operator.phase == "start", "a little play is no jam"
    hold(view, job, 0.008, np.radians(-25.0))
    operator.act(view.obs)
    assert operator.phase == "ease"
    operator._pause, operator._close = 0, True
    pos, _, gripper = decode_action(operator.act(view.obs))
    assert pos[2] > view.obs[2] + 0.001, "off the thread"
    assert gripper > 0, "without letting go"


@pytest.mark.parametrize(("maker", "job"), THREADED)
def test_goes_on_when_the_parent_turns_but_the_thread_has_caught(make_view, maker, job):
    view, operator = make_view(maker.task.name), begin(maker, job, "insert")
    hold(view, job, 0.012, 0.0)
    for _ in range(10):
        operator.act(view.obs)
    hold(view, job, 0.012, np.radians(-25.0))
    operator.act(view.obs)
    assert operator.phase == "start"


@pytest.mark.parametrize(("maker", "job"), THREADED)
def test_leads_a_parent_that_slid_away_back_to_where_it_stood(make_view, maker, job):
    targets = {}
    for slid in (0.0, 0.02):
        view, operator = make_view(maker.task.name), begin(maker, job, "align")
        hold(view, job, -0.01, 0.0)
        operator.act(view.obs)
        operator.phase, operator._steps, operator._pause = "start", 0, 0
        hold(view, job, 0.008, 0.0, slid)
        targets[slid] = decode_action(operator.act(view.obs))[0][1] - view.obs[1]
    led = targets[0.0] - targets[0.02]
    # near its goal a hand makes two thirds of the way in a step
    assert led == pytest.approx(job.hold_back_m / 1.5, abs=0.0005)


@pytest.mark.parametrize(("maker", "job"), THREADED)
def test_a_second_jam_is_given_more_time_than_the_first(make_view, maker, job):
    view, operator = make_view(maker.task.name), begin(maker, job, "insert")
    hold(view, job, 0.008, 0.0)
    seen = []
    for _ in range(2):
        hold(view, job, 0.008, 0.0)
        operator.phase, operator._steps, operator._pause = "insert", 9, 0
        operator.act(view.obs)
        assert operator.phase == "start"
        view.obs[15] = job.grasped_width - 0.002
        for degrees in range(-2, -90, -5):
            operator._pause = 0
            hold(view, job, 0.008, np.radians(degrees))
            operator.act(view.obs)
            if operator.phase == "ease":
                seen.append(degrees)
                break
    assert seen == [-17, -32]


@pytest.mark.parametrize(("maker", "job"), THREADED)
@pytest.mark.parametrize("phase", ["grasp", "lift", "carry"])
def test_takes_a_part_that_slipped_away_once_more(make_view, maker, job, phase):
    view, operator = make_view(maker.task.name), begin(maker, job, phase)
    operator._close = True
    view.obs[15] = 0.001
    action = operator.act(view.obs)
    assert operator.phase == "approach"
    assert decode_action(action)[2] < 0, "with an open hand"
