# SPDX-License-Identifier: Apache-2.0
"""Cameras that are plugged in: Intel RealSense, and any UVC camera (webcam)."""

from __future__ import annotations

import contextlib
import importlib
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from resip_ros.cameras.settings import CameraSettings
from resip_ros.cameras.source import Calibration, ClockNs, Frame, PictureSource
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import CameraError

BY_ID = Path("/dev/v4l/by-id")
READ_TIMEOUT_MS = 500
MAX_AGE_S = 0.5
"""A device's stamp that is older, or from the future, is of another clock."""
UVC_MANUAL, UVC_AUTOMATIC = 1, 3
"""Values of V4L2_CID_EXPOSURE_AUTO."""
EXPOSURE_UNIT_US = 100
"""V4L2_CID_EXPOSURE_ABSOLUTE, and the colour sensor of a RealSense, count in 0.1 ms."""


def age_s(now_s: float, taken_s: float, fallback_s: float) -> float:
    """Age of a picture by the device's own time of it; the fallback where that is no such time."""
    found = now_s - taken_s
    return found if 0.0 <= found <= MAX_AGE_S else fallback_s


class RealSenseSource(PictureSource):
    """Colour stream of an Intel RealSense. Not tried with a camera: none was at hand."""

    def __init__(self, settings: CameraSettings, clock_ns: ClockNs) -> None:
        """Args: which camera, and the clock of the stamps."""
        self.cameras = (settings.name,)
        self._settings, self._clock_ns = settings, clock_ns
        self._pipeline: Any = None
        self._calibration: Calibration | None = None

    def open(self) -> None:
        """Start the stream of the camera with the serial number."""
        settings = self._settings
        rs = _import_realsense()
        config = rs.config()
        if settings.serial:
            config.enable_device(settings.serial)
        size = (settings.capture_width, settings.capture_height)
        config.enable_stream(rs.stream.color, *size, rs.format.rgb8, round(settings.rate_hz))
        self._pipeline = rs.pipeline()
        try:
            profile = self._pipeline.start(config)
            sensor = profile.get_device().first_color_sensor()
            sensor.set_option(rs.option.enable_auto_exposure, float(settings.exposure_us == 0))
            if settings.exposure_us:
                exposure = settings.exposure_us / EXPOSURE_UNIT_US
                sensor.set_option(rs.option.exposure, exposure)
        except RuntimeError as error:
            found = [
                device.get_info(rs.camera_info.serial_number)
                for device in rs.context().query_devices()
            ]
            raise CameraError(
                f"camera {settings.name}: RealSense {settings.serial or '(any)'}: {error}; "
                f"plugged in: {found or 'none'}; check cable, USB 3 port, serial and rate"
            ) from error
        lens = profile.get_stream(rs.stream.color).as_video_stream_profile().get_intrinsics()
        matrix = np.array([[lens.fx, 0.0, lens.ppx], [0.0, lens.fy, lens.ppy], [0.0, 0.0, 1.0]])
        self._calibration = Calibration(matrix, tuple(lens.coeffs))
        self._host_time = (rs.timestamp_domain.global_time, rs.timestamp_domain.system_time)

    def read(self) -> list[Frame]:
        """Next colour picture."""
        try:
            is_there, frames = self._pipeline.try_wait_for_frames(READ_TIMEOUT_MS)
        except RuntimeError as error:
            raise CameraError(f"camera {self._settings.name}: {error}") from error
        color = frames.get_color_frame() if is_there else None
        if not color:
            return []
        age = self._settings.latency_s
        if color.get_frame_timestamp_domain() in self._host_time:
            age = age_s(time.time(), color.get_timestamp() / 1000.0, age)
        stamp_ns = self._clock_ns() - round(age * NS_PER_S)
        picture = np.array(color.get_data(), dtype=np.uint8)
        return [Frame(self._settings.name, stamp_ns, picture, int(color.get_frame_number()))]

    def close(self) -> None:
        """Stop the stream."""
        if self._pipeline is not None:
            # it may be unplugged already, or not started
            with contextlib.suppress(RuntimeError):
                self._pipeline.stop()
            self._pipeline = None

    def calibration(self, camera: str) -> Calibration | None:
        """As the device was calibrated by its maker."""
        del camera
        return self._calibration


def _import_realsense() -> Any:
    try:
        return importlib.import_module("pyrealsense2")
    except ImportError as error:
        raise CameraError(
            f"RealSense cameras need pyrealsense2, which does not load ({error}): "
            "pip install 'resip_ros[realsense]', and apt install libusb-1.0-0"
        ) from error


class UvcSource(PictureSource):
    """A USB video class camera, through OpenCV and V4L2. Not tried with a camera."""

    backend = cv2.CAP_V4L2

    def __init__(self, settings: CameraSettings, clock_ns: ClockNs) -> None:
        """Args: which camera, and the clock of the stamps."""
        self.cameras = (settings.name,)
        self._settings, self._clock_ns = settings, clock_ns
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """Open the device at the size, rate and exposure asked for."""
        settings = self._settings
        path = find_uvc(settings)
        capture = cv2.VideoCapture(str(path), self.backend)
        self._capture = capture
        if not capture.isOpened():
            raise CameraError(
                f"camera {settings.name}: cannot open {path}; is another program using it, and "
                "is the user in the group video?"
            )
        wanted = {
            # uncompressed, 30 pictures of 640 x 480 do not fit USB 2
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
            cv2.CAP_PROP_FRAME_WIDTH: settings.capture_width,
            cv2.CAP_PROP_FRAME_HEIGHT: settings.capture_height,
            cv2.CAP_PROP_FPS: settings.rate_hz,
            cv2.CAP_PROP_BUFFERSIZE: 1,
            cv2.CAP_PROP_AUTO_EXPOSURE: UVC_MANUAL if settings.exposure_us else UVC_AUTOMATIC,
        }
        if settings.exposure_us:
            wanted[cv2.CAP_PROP_EXPOSURE] = settings.exposure_us / EXPOSURE_UNIT_US
        for option, value in wanted.items():
            capture.set(option, value)

    def read(self) -> list[Frame]:
        """Next picture; a camera that is unplugged blocks for 10 s inside V4L2."""
        assert self._capture is not None
        ok, picture = self._capture.read()
        if not ok:
            raise CameraError(f"camera {self._settings.name} gives no pictures; is it plugged in?")
        self._check_size(picture)
        # V4L2 stamps its buffers with the monotonic clock
        mark_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        age = age_s(time.monotonic(), mark_ms / 1000.0, self._settings.latency_s)
        stamp_ns = self._clock_ns() - round(age * NS_PER_S)
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        mark = round(mark_ms * 1000.0) if mark_ms > 0.0 else None
        return [Frame(self._settings.name, stamp_ns, picture, mark)]

    def _check_size(self, picture: np.ndarray) -> None:
        settings = self._settings
        wanted = (settings.capture_height, settings.capture_width)
        if picture.shape[:2] != wanted:
            raise CameraError(
                f"camera {settings.name} gives {picture.shape[1]} x {picture.shape[0]} pixels; "
                f"expected {wanted[1]} x {wanted[0]}: set capture_width and capture_height to "
                "what it can do (v4l2-ctl --list-formats-ext)"
            )

    def close(self) -> None:
        """Let go of the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def find_uvc(settings: CameraSettings, by_id: Path = BY_ID) -> Path:
    """Device file of a UVC camera, by path or by serial number.

    Raises:
        CameraError: when there is none or, without a serial number, several.
    """
    if settings.path:
        return Path(settings.path)
    # a camera has further nodes, for its metadata
    known = sorted(by_id.glob("*-video-index0")) if by_id.is_dir() else []
    found = [path for path in known if settings.serial in path.name]
    if len(found) != 1:
        names = [path.name for path in known]
        raise CameraError(
            f"camera {settings.name}: {len(found)} UVC cameras match serial "
            f"{settings.serial!r}; plugged in: {names or 'none'}; set serial or path"
        )
    return found[0]
