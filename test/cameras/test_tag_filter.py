# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.cameras.tag_filter import CONFIRM, PoseFilter
from resip_ros.cameras.tag_layout import Pose, TagLayout
from resip_ros.cameras.tags import angle
from resip_ros.core.geometry import rotvec_to_matrix

FRAME_NS = 33_000_000


def pose(x=0.4, yaw_deg=0.0, noise=0.0, rng=None):
    position = np.array([x, 0.1, 0.02]) + (rng.normal(0, noise, 3) if rng else 0.0)
    return Pose(position, rotvec_to_matrix(np.array([0.0, 0.0, np.radians(yaw_deg)])))


@pytest.fixture
def parts():
    return PoseFilter(TagLayout({}, {}, 5, 0.03, 15.0, 0.3, 1.0))


def feed(parts, poses, begin=0):
    return [parts.add((begin + i) * FRAME_NS, (p,)) for i, p in enumerate(poses)]


def test_the_first_sightings_must_agree(parts):
    answers = feed(parts, [pose(0.4), pose(0.6), pose(0.4), pose(0.4), pose(0.4)])
    assert answers[:4] == [None] * 4
    assert answers[4] is not None
    assert CONFIRM == 3


def test_an_outlier_is_left_out_and_a_part_that_was_moved_is_followed(parts):
    feed(parts, [pose(0.4)] * 5)
    assert feed(parts, [pose(0.5)], 5) == [None]
    (after,) = feed(parts, [pose(0.401)], 6)
    assert after is not None
    assert abs(after.position[0] - 0.4) < 2e-3
    answers = feed(parts, [pose(0.5)] * 3, 7)
    assert answers[:2] == [None, None]
    assert answers[2].position[0] == 0.5


def test_noise_is_less_and_rotations_are_averaged(parts):
    rng = np.random.default_rng(0)
    noisy = [pose(yaw_deg=rng.normal(0, 1.0), noise=1e-3, rng=rng) for _ in range(200)]
    out = feed(parts, noisy)[10:]
    true = pose()
    before = np.std([p.position[0] for p in noisy])
    assert np.std([p.position[0] for p in out]) < 0.65 * before
    assert np.mean([angle(p.rot, true.rot) for p in out]) < np.radians(0.5)
    for p in out[::50]:
        np.testing.assert_allclose(p.rot @ p.rot.T, np.eye(3), atol=1e-12)


def test_of_two_poses_the_one_that_fits_is_taken(parts):
    wrong = Pose(pose().position, rotvec_to_matrix(np.array([0.6, 0.0, 0.0])))
    # which it is cannot be known at first
    assert [parts.add(i * FRAME_NS, (wrong, pose())) for i in range(4)] == [None] * 4
    feed(parts, [pose()] * 3, 4)
    answer = parts.add(7 * FRAME_NS, (wrong, pose(yaw_deg=1.0)))
    assert answer is not None
    assert angle(answer.rot, pose().rot) < np.radians(1.0)


def test_a_part_that_was_lost_begins_anew(parts):
    feed(parts, [pose(0.4)] * 5)
    later = 5 + 20
    assert feed(parts, [pose(0.41)], later) == [None]
    # and so does one whose clock went back
    feed(parts, [pose(0.41)] * 5, later + 1)
    assert parts.add(0, (pose(0.41),)) is None
