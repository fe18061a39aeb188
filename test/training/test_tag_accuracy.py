# SPDX-License-Identifier: Apache-2.0
import numpy as np

from resip_ros.cameras.tag_layout import Pose
from resip_ros.core.geometry import rotvec_to_matrix
from training.tag_accuracy import AccuracySettings, draw, make_calibration, make_layout, measure


def test_the_black_square_is_drawn_where_the_camera_matrix_says():
    settings = AccuracySettings(height=240, width=320, focal=400.0, faces=1, noise=0.0)
    layout, calibration = make_layout(settings), make_calibration(settings)
    pose = Pose(np.array([0.03, -0.02, 0.2]), rotvec_to_matrix(np.array([np.pi, 0.0, 0.0])))
    picture = draw(layout, pose, calibration, settings, np.random.default_rng(0))[..., 0]
    corners = layout.tags[0].corners @ pose.rot.T + pose.position
    pixels = (corners @ calibration.matrix.T)[:, :2] / corners[:, 2:]
    (left, top), (right, _) = pixels.min(axis=0), pixels.max(axis=0)
    inside = picture[round(top + 2), round(left + 2) : round(right - 2)]
    assert (inside < 60).all()
    white = picture[round(top - 2), round(left + 2) : round(right - 2)]
    assert (white > 180).all()


def test_a_measurement_is_repeatable_and_sees_noise():
    small = AccuracySettings(poses=4, height=480, width=640, focal=700.0, far=0.4)
    first = measure(small)
    assert first == measure(small)
    noisy = measure(AccuracySettings(**(vars(small) | {"noise": 25.0})))
    assert noisy["mm_p50"] > first["mm_p50"]
