# SPDX-License-Identifier: Apache-2.0
"""Pictures of demonstrations on disk, read a batch at a time; they never are all in memory.

A dataset with pictures has the attribute `images`, the cameras' names, and of each an array
`image_<camera>` (N, 240, 320, 3) uint8 RGB beside `state_obs` and `action`. `training.render` and
`training.convert_bags` write it. The attribute is written last: without it the pictures are not
complete. Letters: N steps, B rows of a batch.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from resip_ros.core.errors import DataError
from resip_ros.core.images import IMAGE_SHAPE, image_array
from training.dataset import open_array

IMAGES_ATTRIBUTE = "images"
_COARSE = 8
_DARK = 1.0
"""A picture with a smaller standard deviation shows nothing, grey values."""


def create_image_arrays(group: zarr.Group, frames: int, cameras: tuple[str, ...] = ()) -> None:
    """Add empty arrays for `frames` pictures of each camera, front and wrist by default."""
    for name in cameras or ("front", "wrist"):
        group.create_array(
            image_array(name),
            shape=(frames, *IMAGE_SHAPE),
            # a batch reads single frames from everywhere
            chunks=(1, *IMAGE_SHAPE),
            dtype="uint8",
            compressors=BloscCodec(cname="lz4", clevel=5, shuffle="noshuffle"),
            config={"write_empty_chunks": True},
        )


class ImageReader:
    """Pictures of one dataset by row."""

    def __init__(self, path: Path, cameras: tuple[str, ...], frames: int) -> None:
        """Open and check the arrays.

        Args:
            path: The dataset.
            cameras: Those that are wanted.
            frames: N, steps of its demonstrations.

        Raises:
            DataError: a camera is missing, of another size, or not complete.
        """
        self.path, self.cameras = Path(path), cameras
        self.fingerprint = ""
        """Hash of the pictures that `check` looked at."""
        group = zarr.open_group(str(path), mode="r")
        there = group.attrs.get(IMAGES_ATTRIBUTE)
        if not isinstance(there, list):
            raise DataError(
                f"{path} has no complete pictures; make them with `python -m training.render`, or "
                "go on with its --resume"
            )
        missing = [name for name in cameras if name not in there]
        if missing:
            raise DataError(f"{path} lacks camera {', '.join(missing)}; it has {there}")
        self._arrays: dict[str, Any] = {}
        for name in cameras:
            array = open_array(self.path, group, image_array(name))
            if array is None:
                raise DataError(f"{path} has no array {image_array(name)}; render it again")
            expected = (frames, *IMAGE_SHAPE)
            if array.shape != expected or array.dtype != np.uint8:
                raise DataError(
                    f"{path}: {image_array(name)} is {array.dtype} {array.shape}, expected uint8 "
                    f"{expected}: rows, columns, RGB of every step"
                )
            self._arrays[name] = array

    def read(self, camera: str, row: int) -> NDArray[np.uint8]:
        """One picture (240, 320, 3).

        Raises:
            DataError: it cannot be read, or shows nothing.
        """
        try:
            picture = np.asarray(self._arrays[camera][int(row)])
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{self.path}: picture {row} of camera {camera} cannot be read ({error}); copy or "
                "render the dataset again"
            ) from error
        # a coarse look costs a tenth of one at every pixel, and a picture is no fine pattern
        if picture[::_COARSE, ::_COARSE].std() < _DARK:
            raise DataError(
                f"{self.path}: picture {row} of camera {camera} is one colour "
                f"({picture.reshape(-1, 3)[0].tolist()}): the frame is lost or the camera "
                "covered; drop that episode or render again"
            )
        return picture

    def check(self, samples: int = 32) -> None:
        """Look at pictures spread over the dataset before training starts; take the fingerprint.

        Raises:
            DataError: one cannot be read, or shows nothing.
        """
        digest = hashlib.sha256()
        for camera in self.cameras:
            count = self._arrays[camera].shape[0]
            for row in np.unique(np.linspace(0, count - 1, min(samples, count)).astype(int)):
                digest.update(self.read(camera, int(row)).tobytes())
        self.fingerprint = digest.hexdigest()


class ImageBatches:
    """Pictures of several datasets, whose rows are counted through."""

    def __init__(self, readers: list[ImageReader], lengths: list[int], threads: int = 1) -> None:
        """Take over readers of datasets with so many steps each; `threads` read together."""
        self._readers = readers
        self._starts = np.cumsum([0, *lengths])
        self.fingerprint = " ".join(reader.fingerprint for reader in readers)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")

    def __call__(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.uint8]]:
        """Pictures (B, 240, 320, 3) of each camera for rows (B,)."""
        source = np.searchsorted(self._starts, rows, side="right") - 1
        inside = np.asarray(rows, dtype=np.int64) - self._starts[source]
        picked = [(self._readers[s], int(row)) for s, row in zip(source, inside, strict=True)]
        return {
            name: np.stack(list(self._pool.map(lambda pick: pick[0].read(name, pick[1]), picked)))  # noqa: B023
            for name in self._readers[0].cameras
        }
