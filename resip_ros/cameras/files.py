# SPDX-License-Identifier: Apache-2.0
"""A video file or a folder of pictures that takes the place of a camera, over and over."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from resip_ros.cameras.pictures import Picture, decode_jpeg
from resip_ros.cameras.settings import CameraSettings
from resip_ros.cameras.source import ClockNs, Frame, Pacer, PictureSource
from resip_ros.core.errors import CameraError, DataError

PICTURES = (".jpg", ".jpeg", ".png")


class FilesSource(PictureSource):
    """Gives the pictures at the camera's rate, stamped when they are given."""

    def __init__(self, settings: CameraSettings, clock_ns: ClockNs) -> None:
        """Args: which files, and the clock of the stamps."""
        self.cameras = (settings.name,)
        self._settings, self._clock_ns = settings, clock_ns
        self._path = Path(settings.path)
        self._files: list[Path] = []
        self._video: cv2.VideoCapture | None = None
        self._count = 0

    def open(self) -> None:
        """Find the pictures, or open the video."""
        name = self._settings.name
        if self._path.is_dir():
            self._files = sorted(p for p in self._path.iterdir() if p.suffix.lower() in PICTURES)
            if not self._files:
                raise CameraError(f"camera {name}: {self._path} has no {', '.join(PICTURES)}")
        elif self._path.is_file():
            self._video = cv2.VideoCapture(str(self._path))
            if not self._video.isOpened():
                raise CameraError(f"camera {name}: {self._path} is not a video that OpenCV reads")
        else:
            raise CameraError(f"camera {name}: {self._path} does not exist")
        self._pacer = Pacer(self._settings.rate_hz)

    def read(self) -> list[Frame]:
        """Next picture; after the last comes the first."""
        picture = self._next_of_folder() if self._video is None else self._next_of(self._video)
        self._count += 1
        self._pacer.wait()
        return [Frame(self._settings.name, self._clock_ns(), picture, self._count)]

    def _next_of_folder(self) -> Picture:
        file = self._files[self._count % len(self._files)]
        try:
            return decode_jpeg(file.read_bytes())
        except (OSError, DataError) as error:
            # the next attempt begins behind it
            self._count += 1
            raise CameraError(f"camera {self._settings.name}: {file}: {error}") from error

    def _next_of(self, video: cv2.VideoCapture) -> Picture:
        ok, picture = video.read()
        if not ok:
            video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            ok, picture = video.read()
        if not ok:
            raise CameraError(f"camera {self._settings.name}: {self._path} has no pictures")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    def close(self) -> None:
        """Close the video."""
        if self._video is not None:
            self._video.release()
            self._video = None
