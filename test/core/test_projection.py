# SPDX-License-Identifier: Apache-2.0
import numpy as np

from resip_ros.core.projection import BOX_EDGES, box_corners, project

MATRIX = np.array([[100.0, 0, 160], [0, 100, 120], [0, 0, 1]])
DOWN = np.diag([1.0, -1.0, -1.0])


def test_a_camera_that_looks_down_by_hand():
    position = np.array([0.5, 0.0, 1.0])
    points = np.array([[0.5, 0.0, 0.0], [0.6, 0.0, 0.0], [0.5, 0.2, 0.5]])
    pixels, depth = project(points, MATRIX, position, DOWN)
    np.testing.assert_allclose(pixels, [[160, 120], [170, 120], [160, 80]])
    np.testing.assert_allclose(depth, [1.0, 1.0, 0.5])


def test_what_is_not_before_the_camera_has_no_pixel():
    pixels, _ = project(np.array([[0.5, 0, 1.1], [0.5, 0, 0.98]]), MATRIX, np.r_[0.5, 0, 1], DOWN)
    assert np.isnan(pixels).all()


def test_a_box_has_twelve_edges_along_its_axes():
    corners = box_corners(np.array([1.0, 2, 3]), np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(corners.mean(0), [1, 2, 3])
    assert len(BOX_EDGES) == 12
    for i, j in BOX_EDGES:
        edge = np.abs(corners[j] - corners[i])
        assert sorted(edge > 1e-9) == [False, False, True]
        assert np.isclose(edge.max(), [0.2, 0.4, 0.6]).any()
