# SPDX-License-Identifier: Apache-2.0
"""Some pictures of each camera of a bag, evenly in time, for a person to look at.

Pictures are (H, W, 3) uint8 RGB, made small at once, so that a long bag fits into memory.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resip_ros.bags.layout import NAMESPACE
from resip_ros.bags.reader import Bag, Record
from resip_ros.core import messages
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import DataError
from resip_ros.core.images import IMAGE_MAX_AGE_S

Picture = NDArray[np.uint8]

COUNT = 10
"""Pictures of one camera."""
WIDTH, HEIGHT = 320, 240
"""Larger ones are made to fit into this, whole."""
_RAW, _PACKED = "/image_raw", "/compressed"
_JPEG = _RAW + _PACKED


@dataclass(frozen=True)
class Shown:
    """One picture of a strip."""

    log_ns: int
    """When it was received."""
    picture: Picture | None
    """None where it cannot be decoded."""
    problem: str = ""
    """Why not."""


@dataclass(frozen=True)
class Strip:
    """Pictures of one camera."""

    camera: str
    topic: str
    shown: list[Shown | None]
    """(COUNT,) None where the camera sent nothing near that time."""


def find_cameras(topics: Sequence[str]) -> dict[str, str]:
    """Camera to the topic of its pictures, for whatever cameras a bag has."""
    raw = [topic for topic in topics if topic.endswith(_RAW)]
    # JPEG only where the same pictures are not there raw
    jpeg = [t for t in topics if t.endswith(_JPEG) and t.removesuffix(_PACKED) not in raw]
    found: dict[str, str] = {}
    for topic in sorted([*raw, *jpeg]):
        place = topic.removesuffix(_PACKED).removesuffix(_RAW)
        camera = place.removeprefix(f"{NAMESPACE}/").removesuffix("/color").strip("/")
        found[topic if camera in found else camera or topic] = topic
    return found


def place_slots(first_ns: int, last_ns: int, count: int = COUNT) -> list[int]:
    """Instants from the first to the last, evenly, both included."""
    return [first_ns + (last_ns - first_ns) * i // (count - 1) for i in range(count)]


def read_strips(bag: Bag, first_ns: int, last_ns: int) -> list[Strip]:
    """Reads the bag's pictures once and keeps those nearest to the slots.

    Args:
        bag: Open for reading.
        first_ns: Where the strip begins, time of receipt.
        last_ns: Where it ends.

    Raises:
        DataError: when the file is damaged.
    """
    counts = bag.counts
    cameras = find_cameras([topic for topic in counts if counts[topic]])
    slots = place_slots(first_ns, last_ns)
    pickers = {topic: _Picker(slots) for topic in cameras.values()}
    for record in bag.records(pickers):
        pickers[record.topic].take(record)
    return [Strip(c, topic, pickers[topic].finish()) for c, topic in cameras.items()]


class _Picker:
    """Takes one camera's records in order; holds one of them and the small pictures chosen."""

    def __init__(self, slots: list[int]) -> None:
        self._slots = slots
        spacing_ns = slots[1] - slots[0]
        self._reach_ns = max(spacing_ns // 2, round(IMAGE_MAX_AGE_S * NS_PER_S))
        self._before: Record | None = None
        self._shown: list[Shown | None] = []

    def take(self, record: Record) -> None:
        """Takes the next record."""
        while len(self._shown) < len(self._slots) and record.log_ns >= self._slot_ns:
            self._choose(record)
        self._before = record

    def finish(self) -> list[Shown | None]:
        """What was chosen, after the last record."""
        while len(self._shown) < len(self._slots):
            self._choose(None)
        return self._shown

    @property
    def _slot_ns(self) -> int:
        return self._slots[len(self._shown)]

    def _choose(self, after: Record | None) -> None:
        slot_ns = self._slot_ns
        near = [r for r in (self._before, after) if r is not None]
        best = min(near, key=lambda record: abs(record.log_ns - slot_ns), default=None)
        is_near = best is not None and abs(best.log_ns - slot_ns) <= self._reach_ns
        self._shown.append(_show(best) if best is not None and is_near else None)


def _show(record: Record) -> Shown:
    try:
        return Shown(record.log_ns, shrink_picture(record.decode()))
    except DataError as error:
        return Shown(record.log_ns, None, str(error))


def shrink_picture(message: Any) -> Picture:
    """Image or CompressedImage to the whole picture, at most HEIGHT x WIDTH pixels.

    Policies see the middle of a picture (``cameras.pictures``); a person wants to see all of it.

    Raises:
        DataError: for another encoding or damaged bytes.
    """
    if hasattr(message, "encoding"):
        image = Image.fromarray(messages.decode_image(message)[1])
    else:
        try:
            image = Image.open(io.BytesIO(bytes(message.data))).convert("RGB")
        except Exception as error:
            # damaged bytes make the decoder raise whatever they lead to
            raise DataError(f"compressed image cannot be decoded: {error}") from error
    image.thumbnail((WIDTH, HEIGHT))
    return np.asarray(image, dtype=np.uint8)
