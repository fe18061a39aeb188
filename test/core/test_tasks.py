# SPDX-License-Identifier: Apache-2.0
"""Tasks: lookup with a hint, and what counts as assembled, at the edges."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import rotation_z, rotvec_to_matrix
from resip_ros.core.tasks import (
    BIMAN_INSERT,
    ONE_LEG,
    get_task,
    pair_assembled,
    require_one_arm,
)

PAIR = ONE_LEG.pairs[0]
TOP = np.array([0.5, 0.1, 0.0156])
TOP_ROT = rotation_z(np.array(0.4))
NONE = np.eye(3)
HAIR = 1e-9


def _assembled(offset, rot=NONE, hole=0, top=TOP, top_rot=TOP_ROT) -> bool:
    pos = top + top_rot @ (np.array(PAIR.positions[hole]) + offset)
    return bool(pair_assembled(PAIR, top, top_rot, pos, top_rot @ rot))


def test_lookup():
    assert get_task("one_leg") is ONE_LEG
    assert ONE_LEG.observed == ("top", "leg1", "leg2", "leg3", "leg4", "fixture")
    with pytest.raises(ConfigError, match="unknown task 'one_legs'.*did you mean 'one_leg'"):
        get_task("one_legs")
    with pytest.raises(ConfigError, match="known tasks: one_leg") as caught:
        get_task("zzz")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("hole", range(4))
def test_any_hole_counts(hole):
    assert _assembled(np.zeros(3), hole=hole)
    tilted = rotvec_to_matrix(np.array([0.3, -0.2, 1.0]))
    assert _assembled(np.zeros(3), hole=hole, top_rot=tilted)


def test_holes_are_four_corners():
    positions = np.array(PAIR.positions)
    assert len({tuple(p) for p in positions.tolist()}) == 4
    np.testing.assert_allclose(np.abs(positions), [[0.05625, 0.05625, 0.046875]] * 4)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_position_edge(axis, sign):
    edge = sign * np.eye(3)[axis]
    assert _assembled((PAIR.tolerance_m - HAIR) * edge)
    assert not _assembled((PAIR.tolerance_m + HAIR) * edge)


@pytest.mark.parametrize("axis", range(3))
def test_rotation_edge(axis):
    edge = np.arccos(PAIR.min_row_cosine)
    for sign in (-1, 1):
        inside = rotvec_to_matrix(sign * (edge - HAIR) * np.eye(3)[axis])
        outside = rotvec_to_matrix(sign * (edge + HAIR) * np.eye(3)[axis])
        assert _assembled(np.zeros(3), inside)
        assert not _assembled(np.zeros(3), outside)


@pytest.mark.parametrize("yaw", [np.pi / 2, np.pi, -np.pi / 2])
def test_quarter_turns_do_not_count(yaw):
    assert not _assembled(np.zeros(3), rotation_z(np.array(yaw)))


def test_between_two_holes_does_not_count():
    middle = np.array(PAIR.positions).mean(0) - PAIR.positions[0]
    assert not _assembled(middle)


def test_batches_are_judged_apart():
    rot = np.tile(np.eye(3), (2, 3, 1, 1))
    pos = np.zeros((2, 3, 3))
    child = pos + PAIR.positions[1]
    child[1, 2, 0] += 0.02
    found = pair_assembled(PAIR, pos, rot, child, rot)
    assert found.tolist() == [[True, True, True], [True, True, False]]


def test_tasks_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ONE_LEG.rate_hz = 5.0  # type: ignore[misc]


def test_only_one_arm_can_be_driven_live():
    require_one_arm(ONE_LEG)
    with pytest.raises(ConfigError, match="'biman_insert' has 2 arms, this command drives one"):
        require_one_arm(BIMAN_INSERT)
