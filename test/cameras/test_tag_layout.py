# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import yaml

from resip_ros.cameras.tag_layout import Pose, load_tag_layout
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import rotvec_to_matrix
from resip_ros.core.paths import config_path
from resip_ros.sim.cameras import CAMERAS


def test_the_shipped_example_is_that_of_the_simulated_bench():
    layout = load_tag_layout(config_path("tags.yaml"), "peg_in_hole")
    assert layout.parts == ("peg", "hole")
    front = CAMERAS["front"]
    np.testing.assert_allclose(layout.cameras["front"].rot, front.optical_rotation, atol=1e-4)
    np.testing.assert_allclose(layout.cameras["front"].position, front.position)


def test_corners_go_round_as_the_tag_is_read(tmp_path):
    path = tmp_path / "tags.yaml"
    # on the part's +x face, upright
    quat = [0.5, 0.5, 0.5, 0.5]
    path.write_text(yaml.safe_dump(edited({}, quat_xyzw=quat, position=[0.1, 0, 0], size=0.02)))
    corners = load_tag_layout(path, "peg_in_hole").tags[3].corners
    expected = [[0.1, -0.01, 0.01], [0.1, 0.01, 0.01], [0.1, 0.01, -0.01], [0.1, -0.01, -0.01]]
    np.testing.assert_allclose(corners, expected, atol=1e-12)


def test_poses_chain_and_invert():
    a = Pose(np.array([1.0, 2, 3]), rotvec_to_matrix(np.array([0.3, -0.2, 0.9])))
    both = a @ a.inverse()
    np.testing.assert_allclose(both.position, 0, atol=1e-12)
    np.testing.assert_allclose(both.rot, np.eye(3), atol=1e-12)


def edited(top, **tag):
    pose = {"position": [0, 0, 0], "quat_xyzw": [0, 0, 0, 1]}
    return {
        "cameras": {"front": dict(pose)},
        "tags": [{"id": 3, "size": 0.02, "part": "peg"} | pose | tag],
    } | top


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ([], "the file is list"),
        (edited({"cameras": {}}), "at least one"),
        (edited({"tags": []}), "expected a list of tags"),
        (edited({"speed": 3}), r"unknown keys \['speed'\]"),
        (edited({"window": 0}), "window: 0; expected a number above 0"),
        (edited({}, part="leg"), r"part 'leg'; expected one of \['peg', 'hole'"),
        (edited({}, id=587), "0 to 586"),
        (edited({}, id="3"), "0 to 586"),
        (edited({}, size=-1), "-1; expected a number above 0"),
        (edited({}, quat_xyzw=[0, 0, 0, 2]), "norm 2.0000; expected 1"),
        (edited({}, position=[0, 0]), "expected 3 numbers"),
        (edited({}, position=[0, 0, float("nan")]), "expected a number"),
        (edited({"tags": edited({})["tags"] * 2}), "tag 3 is given twice"),
    ],
)
def test_mistakes_are_named_with_the_file(tmp_path, data, fault):
    path = tmp_path / "tags.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=rf"tags\.yaml: .*{fault}"):
        load_tag_layout(path, "peg_in_hole")


@pytest.mark.parametrize("data", [b"tags:\n  - a\n b: [", b"\x89PNG\xff\xfe"])
def test_what_is_no_yaml_is_told_in_one_line(tmp_path, data):
    path = tmp_path / "tags.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"^cannot read tags .*tags\.yaml: [^\n]+$"):
        load_tag_layout(path, "peg_in_hole")
