# SPDX-License-Identifier: Apache-2.0
"""Which tag sits where on which part, and where the cameras stand, from a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, quat_xyzw_to_matrix
from resip_ros.core.tasks import get_task

TAG_COUNT = 587
"""Members of the family 36h11."""
_QUAT_TOLERANCE = 1e-3
_NUMBERS = {
    "window": 5,
    "max_jump_m": 0.03,
    "max_jump_deg": 15.0,
    "memory_s": 0.3,
    "max_pixels": 1.0,
}


@dataclass(frozen=True)
class Pose:
    """A pose in another frame."""

    position: Array
    """(3,) m."""
    rot: Array
    """(3, 3)."""

    def __matmul__(self, inner: Pose) -> Pose:
        """``T_a_b @ T_b_c`` is ``T_a_c``."""
        return Pose(self.position + self.rot @ inner.position, self.rot @ inner.rot)

    def inverse(self) -> Pose:
        """T_b_a of T_a_b."""
        return Pose(-self.rot.T @ self.position, self.rot.T)


@dataclass(frozen=True)
class Tag:
    """One tag on a part."""

    number: int
    """In the family 36h11."""
    size_m: float
    """Edge of the black square, m."""
    part: str
    T_part_tag: Pose
    """Tag frame: origin in its middle, x to the right and y up as it is read, z out of it."""

    @property
    def corners(self) -> Array:
        """(4, 3) m, part frame: top left, top right, bottom right, bottom left as it is read."""
        half = 0.5 * self.size_m
        square = half * np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
        return self.T_part_tag.position + square @ self.T_part_tag.rot.T


@dataclass(frozen=True)
class TagLayout:
    """All of the file."""

    cameras: dict[str, Pose]
    """Camera to T_base_camera, of its optical frame (x right, y down, z forward)."""
    tags: dict[int, Tag]
    window: int
    """Sightings that are averaged."""
    max_jump_m: float
    """A sighting further from the ones before counts as wrong until others confirm it."""
    max_jump_deg: float
    memory_s: float
    """A part that was not seen for so long is lost, s."""
    max_pixels: float
    """A pose whose corners miss the seen ones by more (rms) counts as wrong."""
    parts: tuple[str, ...] = field(default=())
    """Those with tags."""


def load_tag_layout(path: Path, task: str) -> TagLayout:
    """Layout of a YAML file such as config/tags.yaml.

    Raises:
        ConfigError: for a missing file, bad YAML, unknown or missing keys, a part that the task
            does not have, a tag that is given twice.
    """
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # the YAML library draws where it is in several lines
        raise ConfigError(f"cannot read tags {path}: {' '.join(str(error).split())}") from error
    try:
        top = _mapping(data, "the file", {"cameras", "tags"}, set(_NUMBERS))
        if not isinstance(top["cameras"], dict) or not top["cameras"]:
            raise ConfigError("cameras: expected at least one, with position and quat_xyzw")
        cameras = {str(n): _pose(p, f"camera {n}") for n, p in top["cameras"].items()}
        tags = _tags(top["tags"], get_task(task).observed)
        numbers = {key: _number(top.get(key, low), key) for key, low in _NUMBERS.items()}
        parts = tuple(dict.fromkeys(tag.part for tag in tags.values()))
        window = int(numbers.pop("window"))
        return TagLayout(cameras, tags, window, parts=parts, **numbers)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _tags(data: Any, parts: tuple[str, ...]) -> dict[int, Tag]:
    if not isinstance(data, list) or not data:
        raise ConfigError("tags: expected a list of tags, each with id, size, part and pose")
    found: dict[int, Tag] = {}
    for entry in data:
        values = _mapping(entry, "a tag", {"id", "size", "part", "position", "quat_xyzw"}, set())
        number, where = values["id"], f"tag {values['id']}"
        if not isinstance(number, int) or not 0 <= number < TAG_COUNT:
            raise ConfigError(f"{where}: expected an id from 0 to {TAG_COUNT - 1}")
        if number in found:
            raise ConfigError(f"{where} is given twice; print another for the second place")
        if values["part"] not in parts:
            raise ConfigError(f"{where}: part {values['part']!r}; expected one of {list(parts)}")
        pose = _pose({key: values[key] for key in ("position", "quat_xyzw")}, where)
        found[number] = Tag(number, _number(values["size"], where), values["part"], pose)
    return found


def _pose(data: Any, where: str) -> Pose:
    values = _mapping(data, where, {"position", "quat_xyzw"}, set())
    position = _vector(values["position"], 3, f"{where}: position")
    quat = _vector(values["quat_xyzw"], 4, f"{where}: quat_xyzw")
    norm = float(np.linalg.norm(quat))
    if abs(norm - 1.0) > _QUAT_TOLERANCE:
        raise ConfigError(f"{where}: quat_xyzw has norm {norm:.4f}; expected 1")
    return Pose(position, quat_xyzw_to_matrix(quat / norm))


def _mapping(data: Any, where: str, needed: set[str], optional: set[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ConfigError(f"{where} is {type(data).__name__}; expected keys {sorted(needed)}")
    unknown = sorted(map(str, set(data) - needed - optional))
    missing = sorted(needed - set(data))
    if unknown or missing:
        raise ConfigError(f"{where}: unknown keys {unknown}, missing keys {missing}")
    return data


def _vector(data: Any, size: int, where: str) -> Array:
    if not isinstance(data, list) or len(data) != size:
        raise ConfigError(f"{where} is {data!r}; expected {size} numbers")
    values = [_number(value, where, positive=False) for value in data]
    return np.array(values, dtype=np.float64)


def _number(value: Any, where: str, positive: bool = True) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not np.isfinite(value) or (positive and value <= 0):
        expected = "a number above 0" if positive else "a number"
        raise ConfigError(f"{where}: {value!r}; expected {expected}")
    return float(value)
