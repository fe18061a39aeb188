# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.bench.overlay import View, draw_start, read_extrinsics, simulated_view

VIEW = View(
    np.array([[100.0, 0, 160], [0, 100, 120], [0, 0, 1]]),
    np.array([0.5, 0.0, 1.0]),
    np.diag([1.0, -1.0, -1.0]),
)
BOX = {"peg": (np.zeros(3), np.array([0.1, 0.2, 0.0]))}


def test_a_box_is_drawn_where_the_part_should_lie():
    black = np.zeros((240, 320, 3), np.uint8)
    pose = np.r_[0.5, 0.0, 0.0, 0, 0, 0, 1]
    drawn = draw_start(black, VIEW, {"peg": pose}, BOX)
    rows, columns = np.nonzero(drawn.any(-1))
    assert not black.any(), "the picture itself is not touched"
    # x from 0.4 to 0.6 m are columns 150 to 170, y from -0.2 to 0.2 m rows 140 to 100
    assert drawn[100:141, 150].any(-1).all()
    assert drawn[100, 150:171].any(-1).all()
    assert rows.min() >= 100
    assert columns.min() == 150
    quarter = np.r_[0.5, 0, 0, 0, 0, np.sqrt(0.5), np.sqrt(0.5)]
    turned = draw_start(black, VIEW, {"peg": quarter}, BOX)
    assert turned[120 - 10, 140:181].any(-1).all()


def test_parts_behind_the_camera_are_left_out():
    black = np.zeros((240, 320, 3), np.uint8)
    drawn = draw_start(black, VIEW, {"peg": np.r_[0.5, 0, 2.0, 0, 0, 0, 1]}, BOX)
    assert not drawn.any()


@pytest.mark.parametrize("wrong", [1e20, np.nan])
def test_a_camera_matrix_that_is_none_draws_nothing(wrong):
    black = np.zeros((240, 320, 3), np.uint8)
    matrix = VIEW.matrix.copy()
    matrix[0, 2] = wrong
    view = View(matrix, VIEW.position, VIEW.rot)
    assert not draw_start(black, view, {"peg": np.r_[0.5, 0, 0, 0, 0, 0, 1]}, BOX).any()


def test_fixed_cameras_of_the_simulation_look_at_their_target():
    view = simulated_view("front")
    ahead = view.rot[:, 2]
    to_target = np.array([0.49, 0.0, 0.08]) - view.position
    np.testing.assert_allclose(ahead, to_target / np.linalg.norm(to_target), atol=1e-12)
    assert view.rot[2, 1] < 0, "down in the picture is down"
    with pytest.raises(ConfigError, match="front"):
        simulated_view("wrist")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "front: {position: [1, 2, 3]}",
        "front: {position: [1, 2], quat_xyzw: [0, 0, 0, 1]}",
        "front: {position: [1, 2, .nan], quat_xyzw: [0, 0, 0, 1]}",
        "front: {position: [1, 2, 3], quat_xyzw: [0, 0, 0, 2]}",
    ],
)
def test_bad_extrinsics_are_refused(tmp_path, text):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(ConfigError, match="e.yaml"):
        read_extrinsics(tmp_path / "e.yaml", "front")


def test_extrinsics(tmp_path):
    (tmp_path / "e.yaml").write_text("front: {position: [1, 2, 3], quat_xyzw: [1, 0, 0, 0]}")
    position, rot = read_extrinsics(tmp_path / "e.yaml", "front")
    np.testing.assert_allclose(position, [1, 2, 3])
    np.testing.assert_allclose(rot, np.diag([1, -1, -1]), atol=1e-12)
