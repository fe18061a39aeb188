# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.stages import stage_names
from resip_ros.core.tasks import BIMAN_INSERT, ONE_LEG, ROUND_TABLE
from resip_ros.nodes.bench.judge import judge_by_person, judge_by_poses, misplaced
from resip_ros.nodes.bench.trials import bench_stages


@pytest.mark.parametrize(("passed", "success"), [(0, False), (2, False), (3, True)])
def test_stages_by_poses(passed, success):
    stages = judge_by_poses(ONE_LEG, passed, success)
    assert tuple(stages) == bench_stages(ONE_LEG, stage_names(ONE_LEG))
    assert stages.pop("corner") is None
    assert list(stages.values()) == [i < passed or success for i in range(3)] + [success]


def test_stages_of_two_pairs_and_without_a_fixture():
    stages = judge_by_poses(ROUND_TABLE, 5, success=False)
    assert tuple(stages) == bench_stages(ROUND_TABLE, stage_names(ROUND_TABLE))
    assert [name for name, is_reached in stages.items() if is_reached] == [
        "leg grasp",
        "leg insert",
        "leg advance",
        "leg complete",
        "foot grasp",
    ]
    assert "corner" not in judge_by_poses(BIMAN_INSERT, 0, success=False)


def test_a_person_names_the_last_stage():
    stages = bench_stages(ONE_LEG, stage_names(ONE_LEG))
    assert list(judge_by_person(stages, 2).values()) == [True, True, False, False, False]
    assert not any(judge_by_person(stages, 0).values())
    assert all(judge_by_person(stages, 5).values())


def test_what_is_off_is_told_by_how_much():
    pose = np.r_[0.5, 0, 0, 0, 0, 0, 1]
    turned = np.r_[0.5, 0, 0, 0, 0, np.sin(0.1), np.cos(0.1)]
    wanted = {"a": pose, "b": pose, "c": pose, "d": pose}
    seen = {"a": pose + np.r_[0.0029, np.zeros(6)], "b": pose + np.r_[0, 0.004, np.zeros(5)]}
    off = misplaced(wanted, seen | {"c": turned}, by_m=0.003, by_rad=0.05)
    assert off == {
        "b": "4.0 mm, 0.0 degrees",
        "c": "0.0 mm, 11.5 degrees",
        "d": "not seen",
    }
