# SPDX-License-Identifier: Apache-2.0
"""Operators that screw: they admit a fallen part and keep to the wrist's free range."""

import numpy as np
import pytest

from resip_ros.core.geometry import rotation_z, rotvec_to_matrix
from training.demonstrators import lamp, one_leg, round_table
from training.demonstrators.screwing import ScrewOperator
from training.demonstrators.thread_start import Job

JOBS = [
    (one_leg.Operator, one_leg.LEG),
    (round_table.Operator, round_table.LEG),
    (round_table.Operator, round_table.FOOT),
    (lamp.Operator, lamp.BULB),
    (lamp.Operator, lamp.HOOD),
]


def begin(maker: type[ScrewOperator], job: Job, phase: str) -> ScrewOperator:
    operator = maker(np.random.default_rng(0))
    operator.job, operator.phase = job, phase
    return operator


@pytest.mark.parametrize(("maker", "job"), JOBS)
def test_gives_up_only_when_a_released_part_has_fallen(make_view, maker, job):
    view = make_view(maker.task.name)
    operator = begin(maker, job, "approach")
    view.put(job.pair.child, None, rotvec_to_matrix(np.array([1.2, 0.0, 0.0])))
    operator.act(view.obs)
    assert not operator.gave_up, "a part on the bench is where it should be at first"
    operator.phase = "reach"
    operator.act(view.obs)
    assert operator.gave_up
    view.put(job.pair.child, None, rotvec_to_matrix(np.array([0.2, 0.0, 0.0])))
    operator.act(view.obs)
    assert not operator.gave_up


def test_a_face_is_kept_while_it_is_near_and_never_followed_into_the_stop(make_view):
    view, operator = (
        make_view("round_table"),
        begin(round_table.Operator, round_table.LEG, "reach"),
    )
    yaws = []
    for degrees in range(0, 60, 2):
        view.put("leg", None, rotation_z(np.radians(90.0 + degrees)))
        operator.act(view.obs)
        yaws.append(np.degrees(operator._start_yaw()))
    assert max(yaws) < 90.0 + 0.75 * 22.5 + 1e-6
    assert min(yaws) > 90.0 - 0.75 * 22.5 - 1e-6
    assert np.sum(np.abs(np.diff(yaws)) > 5.0) <= 4, "no hesitation"


@pytest.mark.parametrize(("tight", "following"), [(1, "unwind"), (4, "leave")])
def test_leaves_a_part_only_when_it_has_been_tight_for_a_while(make_view, tight, following):
    view, operator = make_view("lamp"), begin(lamp.Operator, lamp.BULB, "open")
    base = np.array([0.5, 0.0, 0.0315])
    view.put("lamp_base", base, np.eye(3))
    view.put("bulb", base + lamp.BULB.pair.positions[0], np.eye(3))
    operator._tight = tight
    operator.act(view.obs)
    assert operator.assembled
    assert operator.phase == following
