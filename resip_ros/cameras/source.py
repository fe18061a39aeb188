# SPDX-License-Identifier: Apache-2.0
"""What every kind of camera offers: open, read, close."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from resip_ros.cameras.pictures import Picture
from resip_ros.core.geometry import Array

ClockNs = Callable[[], int]
"""Time now, ns, on the clock that stamps are of."""


@dataclass(frozen=True)
class Frame:
    """One picture as it was taken."""

    camera: str
    stamp_ns: int
    """When it was taken, ns."""
    picture: Picture
    """(H, W, 3) RGB."""
    mark: int | None = None
    """The device's own count or time of it; a picture with an old mark is an old picture."""


@dataclass(frozen=True)
class Calibration:
    """Pinhole of a captured picture."""

    matrix: Array
    """(3, 3) pixels."""
    distortion: tuple[float, ...] = (0.0,) * 5
    """k1, k2, p1, p2, k3."""


class PictureSource(ABC):
    """A device or file. All methods are called from one thread, ``open`` again after ``close``."""

    cameras: tuple[str, ...]
    """Names of the cameras whose pictures it gives."""
    has_noise: bool = True
    """Two pictures are never equal to the last bit, unless the device is stuck."""

    @abstractmethod
    def open(self) -> None:
        """Make ready to read.

        Raises:
            CameraError: when it cannot, with what to do.
        """

    @abstractmethod
    def read(self) -> list[Frame]:
        """Wait for the next pictures, for at most some 0.5 s; empty when none came.

        Raises:
            CameraError: when the device is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the device; never raises."""

    def calibration(self, camera: str) -> Calibration | None:
        """Of an open camera; None when it is unknown."""
        del camera
        return None


class Pacer:
    """Returns from ``wait`` at a steady rate, for sources that have none of their own."""

    def __init__(self, rate_hz: float) -> None:
        """Args: rate_hz: Returns a second."""
        self._period_s = 1.0 / rate_hz
        self._due_s = time.monotonic()

    def wait(self) -> None:
        """Sleep until the next is due; what was missed is left out."""
        now_s = time.monotonic()
        self._due_s = max(self._due_s + self._period_s, now_s - self._period_s)
        time.sleep(max(0.0, self._due_s - now_s))
