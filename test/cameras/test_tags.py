# SPDX-License-Identifier: Apache-2.0
"""The figures over 300 poses are those of ``training.tag_accuracy``; here some of them."""

import numpy as np
import pytest

from resip_ros.cameras.tags import TagDetector, angle
from resip_ros.core.geometry import rotvec_to_matrix
from training.tag_accuracy import (
    AccuracySettings,
    draw,
    make_calibration,
    make_layout,
    measure,
    sample_pose,
)

SETTINGS = AccuracySettings(height=480, width=640, focal=700.0, near=0.25, far=0.45)


@pytest.fixture(scope="module")
def detector():
    return TagDetector(make_layout(SETTINGS))


def test_poses_of_drawn_tags_are_found():
    found = measure(AccuracySettings(**(vars(SETTINGS) | {"poses": 12, "seed": 3})))
    assert found["found"] >= 11
    assert found["mm_p50"] < 0.5
    assert found["deg_p50"] < 0.5
    assert found["mm_max"] < 4.0


def test_a_tag_seen_from_the_front_leaves_two_poses(detector):
    """And one of them is right."""
    layout, calibration = make_layout(SETTINGS), make_calibration(SETTINGS)
    rng = np.random.default_rng(1)
    counts = []
    for _ in range(6):
        pose = sample_pose(SETTINGS, rng)
        flat = type(pose)(np.array([0.02, 0.01, 0.45]), rotvec_to_matrix(np.array([3.1, 0, 0.1])))
        (seen,) = detector.find(draw(layout, flat, calibration, SETTINGS, rng), calibration)
        counts.append(len(seen.candidates))
        best = min(seen.candidates, key=lambda c: angle(c.rot, flat.rot))
        assert np.degrees(angle(best.rot, flat.rot)) < 5.0
    assert max(counts) == 2


@pytest.mark.parametrize("kind", ["black", "white", "noise", "stripes", "one pixel"])
def test_pictures_without_tags_give_nothing(detector, kind):
    rng = np.random.default_rng(0)
    picture = {
        "black": np.zeros((480, 640, 3)),
        "white": np.full((480, 640, 3), 255),
        "noise": rng.integers(0, 256, (480, 640, 3)),
        "stripes": np.tile(np.arange(640)[None, :, None] % 2 * 255, (480, 1, 3)),
        "one pixel": np.zeros((1, 1, 3)),
    }[kind].astype(np.uint8)
    assert detector.find(picture, make_calibration(SETTINGS)) == []


def test_half_a_tag_and_foreign_tags_give_nothing(detector):
    layout, calibration = make_layout(SETTINGS), make_calibration(SETTINGS)
    rng = np.random.default_rng(2)
    pose = sample_pose(SETTINGS, rng)
    whole = draw(layout, pose, calibration, SETTINGS, rng)
    column = round(float(calibration.matrix[0] @ pose.position / pose.position[2]))
    half = whole.copy()
    half[:, column:] = 110
    assert detector.find(half, calibration) == []
    other = TagDetector(make_layout(SETTINGS).__class__(**(vars(layout) | {"tags": {}})))
    assert other.find(whole, calibration) == []


def test_angle_is_exact_for_small_and_large_turns():
    for turn in (1e-7, 0.3, 3.1):
        rot = rotvec_to_matrix(np.array([0.0, turn, 0.0]))
        assert angle(np.eye(3), rot) == pytest.approx(turn, rel=1e-6)
