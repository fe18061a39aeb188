# SPDX-License-Identifier: Apache-2.0
"""Without a camera: a video takes the UVC camera's place, a stand-in for Intel's library."""

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from resip_ros.cameras.devices import RealSenseSource, UvcSource, age_s, find_uvc
from resip_ros.cameras.settings import CameraSettings
from resip_ros.core.errors import CameraError
from resip_ros.sim.video import VideoWriter

REALSENSE = CameraSettings("front", "realsense", serial="042")


def test_the_device_s_time_counts_where_it_is_one():
    assert age_s(100.0, 99.9, 0.02) == pytest.approx(0.1)
    assert age_s(100.0, 100.1, 0.02) == 0.02
    assert age_s(100.0, 0.04, 0.02) == 0.02


def test_uvc_cameras_are_found_by_serial_number(tmp_path):
    for name in ("usb-Logi_A1-video-index0", "usb-Logi_A1-video-index1", "usb-X_B2-video-index0"):
        (tmp_path / name).touch()
    assert find_uvc(CameraSettings("a", "uvc", serial="B2"), tmp_path).name[:7] == "usb-X_B"
    for serial, count in (("", 2), ("C3", 0)):
        with pytest.raises(CameraError, match=f"{count} UVC cameras match.*usb-Logi_A1"):
            find_uvc(CameraSettings("a", "uvc", serial=serial), tmp_path)
    assert str(find_uvc(CameraSettings("a", "uvc", path="/dev/video7"))) == "/dev/video7"


def test_a_uvc_camera_is_read_until_it_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(UvcSource, "backend", cv2.CAP_ANY)
    path = tmp_path / "camera.mp4"
    with VideoWriter(path, 30, 480, 640) as video:
        for value in (50, 90):
            video.add(np.full((480, 640, 3), (value, 0, 0), dtype=np.uint8))
    source = UvcSource(CameraSettings("wrist", "uvc", path=str(path)), lambda: 10**9)
    source.open()
    frames = [source.read()[0] for _ in range(2)]
    assert [frame.camera for frame in frames] == ["wrist"] * 2
    assert frames[0].picture.shape == (480, 640, 3)
    assert frames[1].picture[..., 0].mean() > 60 > frames[1].picture[..., 2].mean()
    assert frames[1].stamp_ns == 10**9
    with pytest.raises(CameraError, match="wrist gives no pictures"):
        source.read()
    source.close()


def test_a_uvc_camera_that_is_not_there_or_of_another_size(tmp_path, monkeypatch):
    source = UvcSource(CameraSettings("wrist", "uvc", path=str(tmp_path / "video9")), int)
    with pytest.raises(CameraError, match=r"cannot open .*video9"):
        source.open()
    source.close()
    monkeypatch.setattr(UvcSource, "backend", cv2.CAP_ANY)
    path = tmp_path / "camera.mp4"
    with VideoWriter(path, 30, 240, 320) as video:
        video.add(np.zeros((240, 320, 3), dtype=np.uint8))
    source = UvcSource(CameraSettings("wrist", "uvc", path=str(path)), int)
    source.open()
    with pytest.raises(CameraError, match="gives 320 x 240 pixels; expected 640 x 480"):
        source.read()


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(CameraError, match=r"pip install 'resip_ros\[realsense\]'"):
        RealSenseSource(REALSENSE, int).open()


class StandIn:
    """As much of pyrealsense2 2.59 as is used; says what it was asked for."""

    def __init__(self, is_plugged_in=True, takes_options=True):
        self.asked, self.frames = {}, []
        self.is_plugged_in, self.takes_options = is_plugged_in, takes_options
        self.stream = SimpleNamespace(color="color")
        self.format = SimpleNamespace(rgb8="rgb8")
        self.option = SimpleNamespace(enable_auto_exposure="auto", exposure="exposure")
        self.timestamp_domain = SimpleNamespace(
            global_time="global", system_time="system", hardware_clock="hardware"
        )
        self.camera_info = SimpleNamespace(serial_number="serial")

    def config(self):
        return SimpleNamespace(
            enable_device=lambda serial: self.asked.update(serial=serial),
            enable_stream=lambda *stream: self.asked.update(stream=stream),
        )

    def context(self):
        device = SimpleNamespace(get_info=lambda _: "777")
        return SimpleNamespace(query_devices=lambda: [device])

    def pipeline(self):
        return SimpleNamespace(
            start=self.start,
            stop=lambda: self.asked.update(stopped=True),
            try_wait_for_frames=self.try_wait_for_frames,
        )

    def start(self, _):
        if not self.is_plugged_in:
            raise RuntimeError("No device connected")
        lens = SimpleNamespace(fx=600.0, fy=601.0, ppx=320.0, ppy=240.0, coeffs=[0.0] * 5)
        video = SimpleNamespace(get_intrinsics=lambda: lens)
        sensor = SimpleNamespace(set_option=self.set_option)
        return SimpleNamespace(
            get_device=lambda: SimpleNamespace(first_color_sensor=lambda: sensor),
            get_stream=lambda _: SimpleNamespace(as_video_stream_profile=lambda: video),
        )

    def set_option(self, name, value):
        if not self.takes_options:
            raise RuntimeError("out of range")
        self.asked[name] = value

    def try_wait_for_frames(self, _):
        if not self.frames:
            return False, None
        number, domain, time_ms = self.frames.pop(0)
        color = SimpleNamespace(
            get_frame_timestamp_domain=lambda: domain,
            get_timestamp=lambda: time_ms,
            get_frame_number=lambda: number,
            get_data=lambda: np.full((480, 640, 3), number, dtype=np.uint8),
        )
        return True, SimpleNamespace(get_color_frame=lambda: color)


def test_a_realsense_is_asked_for_what_the_settings_say(monkeypatch):
    library = StandIn()
    monkeypatch.setitem(sys.modules, "pyrealsense2", library)
    settings = CameraSettings("front", "realsense", serial="042", exposure_us=8000, latency_s=0.03)
    source = RealSenseSource(settings, lambda: 10**9)
    source.open()
    assert library.asked == {
        "serial": "042",
        "stream": ("color", 640, 480, "rgb8", 30),
        "auto": 0.0,
        "exposure": 80.0,
    }
    calibration = source.calibration("front")
    assert calibration is not None
    assert calibration.matrix[0].tolist() == [600.0, 0.0, 320.0]
    assert source.read() == []
    library.frames = [(4, "hardware", 123.0)]
    (frame,) = source.read()
    assert (frame.mark, frame.stamp_ns) == (4, 10**9 - 30_000_000)
    source.close()


def test_a_realsense_that_is_not_there_names_those_that_are(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrealsense2", StandIn(is_plugged_in=False))
    with pytest.raises(CameraError, match=r"RealSense 042: No device.*\['777'\]"):
        RealSenseSource(REALSENSE, int).open()


def test_a_realsense_that_refuses_its_exposure_is_stopped(monkeypatch):
    library = StandIn(takes_options=False)
    monkeypatch.setitem(sys.modules, "pyrealsense2", library)
    source = RealSenseSource(REALSENSE, int)
    with pytest.raises(CameraError, match="RealSense 042: out of range"):
        source.open()
    source.close()
    assert library.asked["stopped"]
