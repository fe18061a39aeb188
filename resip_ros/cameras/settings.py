# SPDX-License-Identifier: Apache-2.0
"""Which cameras there are, from a YAML file such as config/cameras.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.core.images import IMAGE_HEIGHT, IMAGE_WIDTH

SIM = "sim"
SOURCES = ("realsense", "uvc", "files", SIM)


@dataclass(frozen=True)
class CameraSettings:
    """One camera."""

    name: str
    """In topics and frames, for example front."""
    source: str
    """realsense, uvc, files (a video, or a folder of pictures), or sim: drawn as
    ``sim.cameras`` says, of its name."""
    serial: str = ""
    """realsense, uvc: serial number; empty: the only one that is plugged in."""
    path: str = ""
    """uvc: device such as /dev/video0 instead of a serial number; files: video or folder."""
    capture_width: int = 640
    """Pixels that the device is asked for."""
    capture_height: int = 480
    rate_hz: float = 30.0
    """Pictures per second."""
    exposure_us: int = 0
    """Exposure time, microseconds; 0: automatic."""
    width: int = IMAGE_WIDTH
    """Pixels that are published; the middle of the picture, made smaller."""
    height: int = IMAGE_HEIGHT
    jpeg_quality: int = 95
    """1 to 100."""
    max_silence_s: float = 0.2
    """Without a new picture for so long the camera is in error, s."""
    latency_s: float = 0.0
    """From exposure to receipt, s, where the device does not say when it took a picture."""
    matrix: tuple[float, ...] = ()
    """fx, fy, cx, cy of the captured picture, pixels; empty: from the device, or unknown."""
    distortion: tuple[float, ...] = ()
    """k1, k2, p1, p2, k3 of the captured picture (plumb_bob)."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        checks = {
            "source": (self.source in SOURCES, f"one of {', '.join(SOURCES)}"),
            "path": (self.source != "files" or bool(self.path), "a video or a folder of pictures"),
            "rate_hz": (0.1 <= self.rate_hz <= 200.0, "0.1 to 200"),
            "width": (16 <= self.width <= self.capture_width, "16 to capture_width"),
            "height": (16 <= self.height <= self.capture_height, "16 to capture_height"),
            "jpeg_quality": (1 <= self.jpeg_quality <= 100, "1 to 100"),
            "exposure_us": (self.exposure_us >= 0, "0 (automatic) or more"),
            "max_silence_s": (self.max_silence_s >= 1.5 / self.rate_hz, "over 1.5 / rate_hz"),
            "latency_s": (0.0 <= self.latency_s < 1.0, "0 to 1"),
            "matrix": (len(self.matrix) in (0, 4), "fx, fy, cx, cy"),
            "distortion": (len(self.distortion) in (0, 5), "k1, k2, p1, p2, k3"),
        }
        for name, (is_good, expected) in checks.items():
            if not is_good:
                raise ConfigError(
                    f"camera {self.name}: {name} is {getattr(self, name)!r}; expected {expected}"
                )

    @property
    def intrinsics(self) -> Array | None:
        """Camera matrix (3, 3) of the captured picture, pixels; None when it is unknown."""
        if not self.matrix:
            return None
        fx, fy, cx, cy = self.matrix
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def load_camera_settings(path: Path) -> tuple[CameraSettings, ...]:
    """Cameras of a YAML file: name to settings.

    Raises:
        ConfigError: for a missing file, bad YAML, unknown keys, wrong values, no camera.
    """
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # the YAML library draws where it is in several lines
        raise ConfigError(f"cannot read cameras {path}: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or not data:
        raise ConfigError(f"{path}: expected at least one camera, as in config/cameras.yaml")
    return tuple(_camera(str(name), values, path) for name, values in data.items())


def _camera(name: str, values: Any, path: Path) -> CameraSettings:
    kinds = {spec.name: spec.type for spec in fields(CameraSettings) if spec.name != "name"}
    if not name.isidentifier():
        raise ConfigError(f"{path}: camera {name!r}: expected a name such as front")
    if not isinstance(values, dict) or "source" not in values:
        raise ConfigError(f"{path}: camera {name}: expected a source: {', '.join(SOURCES)}")
    unknown = sorted(map(str, set(values) - set(kinds)))
    if unknown:
        raise ConfigError(f"{path}: camera {name}: unknown keys {unknown}; known: {sorted(kinds)}")
    try:
        return CameraSettings(name, **{k: _coerce(k, v, kinds[k]) for k, v in values.items()})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: camera {name}: {error}") from error


def _coerce(key: str, value: Any, kind: Any) -> Any:
    """YAML value to the type of a field, by the text of its annotation."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "int" and is_number and float(value).is_integer():
        return int(value)
    if kind == "float" and is_number:
        return float(value)
    if kind.startswith("tuple") and isinstance(value, list):
        return tuple(float(v) for v in value)
    expected = {"str": "text (in quotes)", "int": "a whole number", "float": "a number"}.get(
        kind, "a list"
    )
    raise TypeError(f"{key} is {value!r}; expected {expected}")
