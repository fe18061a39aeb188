# SPDX-License-Identifier: Apache-2.0
"""Pictures of a bag at the instants of its steps, as an image policy sees them live.

Shape letters: n steps; pictures (240, 320, 3) uint8 RGB.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from resip_ros.bags import layout
from resip_ros.bags.reader import Bag, format_time
from resip_ros.cameras.pictures import decode_picture
from resip_ros.core import messages
from resip_ros.core.alignment import StreamBuffer
from resip_ros.core.errors import DataError, ResipError, StaleStreamError
from resip_ros.core.images import IMAGE_MAX_AGE_S, POLICY_CAMERAS, image_array
from training.bag_steps import naming
from training.image_dataset import IMAGES_ATTRIBUTE, create_image_arrays

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Recorded:
    """Which pictures a bag has."""

    topics: dict[str, str]
    """Camera to topic: the raw one where there is one, else JPEG."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras that policies see, in their order."""
        return tuple(self.topics)


def find_pictures(bag: Bag) -> Recorded:
    """Looks for the topics of the policies' cameras."""
    found: dict[str, str] = {}
    for camera in POLICY_CAMERAS:
        for topic in (layout.image(camera), layout.compressed_image(camera)):
            if bag.counts[topic]:
                found.setdefault(camera, topic)
    return Recorded(found)


def read_pictures(path: Path, recorded: Recorded, stamps_ns: Sequence[int]) -> dict[str, Pictures]:
    """Of each step the newest picture that was taken at its instant or before.

    Args:
        path: The bag.
        recorded: What to read of it.
        stamps_ns: (n,) instants of the observations, ROS clock.

    Returns:
        Camera to pictures (n, 240, 320, 3).

    Raises:
        DataError: with bag, topic and time, for a step without a fresh picture or a damaged one.
    """
    try:
        with Bag(path) as bag:
            return {c: _read_one(bag, t, stamps_ns) for c, t in recorded.topics.items()}
    except ResipError as error:
        raise DataError(f"bag {path.name}: {error}") from error


def _read_one(bag: Bag, topic: str, stamps_ns: Sequence[int]) -> Pictures:
    stream = StreamBuffer(topic, IMAGE_MAX_AGE_S)
    rows: list[Pictures] = []

    def sample(is_last_chance: bool) -> None:
        while len(rows) < len(stamps_ns):
            at_ns = stamps_ns[len(rows)]
            latest_ns = stream.latest_ns
            # once the stream has reached the instant, nothing from before it is to come
            if not is_last_chance and (latest_ns is None or latest_ns < at_ns):
                return
            try:
                _, message = stream.newest_at(at_ns)
                rows.append(decode_picture(message)[1])
            except (StaleStreamError, DataError) as error:
                text = f"step at {format_time(at_ns)} of the ROS clock: {error}"
                named = text if topic in text else f"{topic}: {text}"
                raise DataError(named) from error

    for record in bag.records((topic,)):
        with naming(record):
            # decoded only where it is used: a camera takes more pictures than a policy has steps
            message = record.decode()
            stream.push(messages.stamp_to_ns(message.header.stamp), message)
        sample(is_last_chance=False)
    sample(is_last_chance=True)
    return np.stack(rows)


class PictureStore:
    """Pictures of one episode after the other into a dataset, so that one episode fits memory."""

    def __init__(self, spool: Path) -> None:
        """Takes the folder that is written to until ``move_into``; made with the first episode."""
        self._spool = spool
        self._arrays: dict[str, Any] = {}
        self._steps = 0
        self.cameras: tuple[str, ...] | None = None
        """Those of every episode; None before the first."""

    def check(self, recorded: Recorded) -> None:
        """Refuses an episode of other cameras than those before.

        Raises:
            DataError: naming both.
        """
        if self.cameras not in (None, recorded.cameras):
            raise DataError(
                f"it has pictures of {list(recorded.cameras)}, the bags before it of "
                f"{list(self.cameras or ())}; convert them apart, or all with --no-images"
            )

    def add(self, recorded: Recorded, pictures: dict[str, Pictures]) -> None:
        """Writes one episode, camera to (n, 240, 320, 3).

        Raises:
            DataError: when the disk is full or gone.
        """
        try:
            self._add(recorded, pictures)
        except OSError as error:
            raise DataError(
                f"cannot write {self._spool}: {error.strerror or error}; free some space"
            ) from error

    def _add(self, recorded: Recorded, pictures: dict[str, Pictures]) -> None:
        if self.cameras is None:
            self.cameras = recorded.cameras
            if self.cameras:
                group = zarr.open_group(str(self._spool), mode="w", zarr_format=3)
                create_image_arrays(group, 0, self.cameras)
                self._arrays = {name: group[image_array(name)] for name in self.cameras}
        for name, rows in pictures.items():
            array = self._arrays[name]
            array.resize((self._steps + len(rows), *array.shape[1:]))
            array[self._steps :] = rows
        self._steps += len(next(iter(pictures.values()), ()))

    def move_into(self, path: Path) -> None:
        """Puts the pictures into a finished dataset and says there that they are complete."""
        for name in self.cameras or ():
            # an episode that could not be written may have left rows behind
            array = self._arrays[name]
            array.resize((self._steps, *array.shape[1:]))
            (self._spool / image_array(name)).rename(path / image_array(name))
        if self.cameras:
            group = zarr.open_group(str(path), mode="r+")
            group.attrs[IMAGES_ATTRIBUTE] = list(self.cameras)

    def remove(self) -> None:
        """Removes what was not moved."""
        shutil.rmtree(self._spool, ignore_errors=True)
