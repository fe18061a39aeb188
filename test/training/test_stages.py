# SPDX-License-Identifier: Apache-2.0
"""Stages from states whose stage is known."""

import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_quat_xyzw, rotation_z, rotvec_to_matrix
from resip_ros.core.observation import build_state_observation, pose_in_goal
from resip_ros.core.tasks import ONE_LEG, PEG_IN_HOLE, ROUND_TABLE
from training.stages import STAGES, is_fallen, reached_stage, stage_names

TOP = np.array([0.5, 0.1, 0.015625])
TOP_ROT = rotation_z(np.array(0.4))
SEATED = np.array(ONE_LEG.pairs[0].positions)
HAIR = 1e-6


def _obs(leg: np.ndarray, leg_rot: np.ndarray) -> np.ndarray:
    still = np.array([0.0, 0, 0, 0, 0, 0, 1])
    poses = dict.fromkeys(ONE_LEG.observed, still)
    poses["top"] = np.concatenate([TOP, matrix_to_quat_xyzw(TOP_ROT)])
    poses["leg4"] = np.concatenate([leg, matrix_to_quat_xyzw(leg_rot)])
    return build_state_observation(ONE_LEG, np.zeros(16), poses)


def _round_table(leg_up: float, foot_up: float) -> np.ndarray:
    """Leg and foot upright, so far above their goals, m."""
    rot = np.array([0.0, 0.0, 0.0, 1.0])
    leg = TOP + ROUND_TABLE.pairs[0].positions[0] + [0, 0, leg_up]
    foot = leg + ROUND_TABLE.pairs[1].positions[0] + [0, 0, foot_up]
    poses = dict.fromkeys(ROUND_TABLE.observed, np.array([0.0, 0, 0, 0, 0, 0, 1]))
    for name, pos in (("top", TOP), ("leg", leg), ("foot", foot)):
        poses[name] = np.concatenate([pos, rot])
    return build_state_observation(ROUND_TABLE, np.zeros(16), poses)


def _over_hole(depth: float, hole: int = 0, off: float = 0.0, rot=TOP_ROT) -> np.ndarray:
    """Leg upright in a hole with its tip ``depth`` below the face."""
    goal = SEATED[hole] + [off, 0.0, 0.025 - depth]
    return _obs(TOP + TOP_ROT @ goal, rot)


def test_names():
    assert STAGES == ("grasp", "insert", "advance", "complete")


@pytest.mark.parametrize("hole", range(4))
@pytest.mark.parametrize(
    ("depth", "stage"), [(-0.03, 1), (0.004, 1), (0.006, 2), (0.011, 2), (0.013, 3), (0.019, 3)]
)
def test_depth_decides(hole, depth, stage):
    assert reached_stage(ONE_LEG, _over_hole(depth, hole)) == stage


def test_lifted():
    assert reached_stage(ONE_LEG, _obs(np.array([0.4, 0.1, 0.05 - HAIR]), np.eye(3))) == 0
    assert reached_stage(ONE_LEG, _obs(np.array([0.4, 0.1, 0.05 + HAIR]), np.eye(3))) == 1


def test_beside_the_hole_or_lying_is_not_inserted():
    assert reached_stage(ONE_LEG, _over_hole(0.02, off=0.004 - HAIR)) == 3
    assert reached_stage(ONE_LEG, _over_hole(0.02, off=0.004 + HAIR)) < 2
    lying = rotvec_to_matrix(np.array([1.0, 0.0, 0.0]))
    assert reached_stage(ONE_LEG, _over_hole(0.02, rot=lying)) < 2


def test_batches():
    batch = np.stack([_over_hole(d) for d in (-0.03, 0.006, 0.02)]).reshape(3, 1, 58)
    assert reached_stage(ONE_LEG, batch).tolist() == [[1], [2], [3]]


def test_two_pairs_count_in_order() -> None:
    names = stage_names(ROUND_TABLE)
    assert names[:2] == ("leg grasp", "leg insert")
    assert names[-1] == "foot complete"

    def stage(leg_up: float, foot_up: float) -> str:
        return names[reached_stage(ROUND_TABLE, _round_table(leg_up, foot_up))]

    # the foot in place on a leg that is not: still the leg's stages
    assert stage(0.1, 0.0) == "leg insert"
    assert stage(0.01, 0.0) == "leg complete"
    assert stage(0.0, 0.1) == "foot insert"
    assert stage(0.0, 0.01) == "foot complete"
    assert stage(0.0, 0.0) == "foot complete"


def test_a_peg_turned_by_half_a_turn_is_inserted_as_well() -> None:
    pose = np.array([0.0, 0, 0, 0, 0, 0, 1])
    poses = dict.fromkeys(PEG_IN_HOLE.observed, pose)
    turned = matrix_to_quat_xyzw(rotation_z(np.array(np.pi)))
    for rot in (pose[3:], turned):
        poses["peg"] = np.concatenate([[0.0, 0.0, 0.015 + 0.008], rot])
        obs = build_state_observation(PEG_IN_HOLE, np.zeros(16), poses)
        assert STAGES[reached_stage(PEG_IN_HOLE, obs)] == "complete"
        # of two goals at one place it is seen from the one it is turned like
        np.testing.assert_allclose(
            pose_in_goal(PEG_IN_HOLE, PEG_IN_HOLE.pairs[0], obs)[1], np.eye(3), atol=1e-9
        )


def test_only_a_leg_that_should_stand_counts_as_fallen() -> None:
    lying = _obs(np.array([0.4, 0.1, 0.02]), rotvec_to_matrix(np.array([1.5, 0.0, 0.0])))
    assert is_fallen(ONE_LEG, np.stack([lying, lying]), np.array([150, 151])).tolist() == [0, 1]
    assert not is_fallen(ONE_LEG, _over_hole(0.01), np.array(600))
    assert not is_fallen(PEG_IN_HOLE, _round_table(0, 0), np.array(600))
