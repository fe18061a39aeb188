# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.cameras.settings import SIM, load_camera_settings
from resip_ros.core.errors import ConfigError
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.paths import config_path


def test_the_shipped_file_is_read():
    front, wrist = load_camera_settings(config_path("cameras.yaml"))
    assert (front.name, front.source, front.rate_hz) == ("front", "realsense", 30.0)
    assert (wrist.name, wrist.height, wrist.width) == ("wrist", 240, 320)
    assert wrist.intrinsics is None


def test_the_simulated_cameras_are_those_that_policies_see():
    cameras = load_camera_settings(config_path("sim_cameras.yaml"))
    assert tuple(camera.name for camera in cameras) == POLICY_CAMERAS
    assert {camera.source for camera in cameras} == {SIM}


def test_calibration_and_serial(tmp_path):
    path = tmp_path / "cameras.yaml"
    path.write_text('top: {source: uvc, serial: "0123", matrix: [500, 501, 320, 240]}')
    (camera,) = load_camera_settings(path)
    assert camera.serial == "0123"
    assert camera.intrinsics is not None
    assert camera.intrinsics[1].tolist() == [0.0, 501.0, 240.0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "at least one camera"),
        ("- front", "at least one camera"),
        ("front: {}", "expected a source"),
        ("front: {source: webcam}", "expected one of realsense, uvc, files, sim"),
        ("front: {source: files}", "a video or a folder"),
        ("front: {source: uvc, fps: 30}", r"unknown keys \['fps'\]"),
        ("front: {source: uvc, serial: 0123}", "in quotes"),
        ("front: {source: uvc, rate_hz: fast}", "expected a number"),
        ("front: {source: uvc, rate_hz: .nan}", "rate_hz is nan"),
        ("front: {source: uvc, rate_hz: yes}", "expected a number"),
        ("front: {source: uvc, rate_hz: 2.0}", "over 1.5 / rate_hz"),
        ("front: {source: uvc, matrix: [1, 2]}", "fx, fy, cx, cy"),
        ("front: {source: uvc, matrix: [1, 2, 3, x]}", "camera front"),
        ("front: {source: uvc, width: 800}", "16 to capture_width"),
        ("fr ont: {source: uvc}", "a name such as front"),
        ("front: [", "cannot read"),
        ("front: {source: sim, 1: 2, b: 3}", r"unknown keys \['1', 'b'\]"),
    ],
)
def test_mistakes_are_named(tmp_path, text, fault):
    path = tmp_path / "cameras.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=fault):
        load_camera_settings(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_camera_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize("data", [b"front:\n  - a\n b: [", b"\x89PNG\xff\xfe"])
def test_what_is_no_yaml_is_told_in_one_line(tmp_path, data):
    path = tmp_path / "cameras.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"^cannot read cameras .*cameras\.yaml: [^\n]+$"):
        load_camera_settings(path)
