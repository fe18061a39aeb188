# SPDX-License-Identifier: Apache-2.0
"""Pictures on disk: read by row beyond 255, across datasets, refused before training starts."""

import numpy as np
import pytest
import zarr

from resip_ros.core.errors import DataError
from resip_ros.core.images import image_array
from training.image_dataset import (
    IMAGES_ATTRIBUTE,
    ImageBatches,
    ImageReader,
    create_image_arrays,
)

CAMERAS = ("front",)


def picture(row: int) -> np.ndarray:
    """A picture (240, 320, 3) whose corner tells the row."""
    out = np.zeros((240, 320, 3), np.uint8)
    out[:, 160:] = 200
    out[0, 0] = row // 256, row % 256, 7
    return out


def make(path, frames: int, offset: int = 0):
    group = zarr.open_group(str(path), mode="w")
    create_image_arrays(group, frames, CAMERAS)
    for row in range(frames):
        group[image_array("front")][row] = picture(row + offset)
    group.attrs[IMAGES_ATTRIBUTE] = ["front"]
    return group


def test_rows_beyond_255_and_of_several_datasets(tmp_path):
    group = zarr.open_group(str(tmp_path / "a"), mode="w")
    create_image_arrays(group, 300, CAMERAS)
    group[image_array("front")][:] = 9
    for row in (0, 44, 299):
        group[image_array("front")][row] = picture(row)
    group.attrs[IMAGES_ATTRIBUTE] = ["front"]
    make(tmp_path / "b", 3, offset=1000)
    lengths = [300, 3]
    readers = [ImageReader(tmp_path / n, CAMERAS, c) for n, c in zip("ab", lengths, strict=True)]
    batch = ImageBatches(readers, lengths, threads=2)(np.array([299, 302, 0, 300, 44]))["front"]
    numbers = batch[:, 0, 0, 0].astype(int) * 256 + batch[:, 0, 0, 1]
    assert numbers.tolist() == [299, 1002, 0, 1000, 44]


def test_what_is_not_there_or_does_not_fit_is_refused(tmp_path):
    group = make(tmp_path / "a", 5)
    with pytest.raises(DataError, match="lacks camera wrist; it has"):
        ImageReader(tmp_path / "a", ("front", "wrist"), 5)
    with pytest.raises(DataError, match=r"\(5, 240, 320, 3\), expected uint8 \(6, 240"):
        ImageReader(tmp_path / "a", CAMERAS, 6)
    del group.attrs[IMAGES_ATTRIBUTE]
    with pytest.raises(DataError, match="no complete pictures"):
        ImageReader(tmp_path / "a", CAMERAS, 5)
    small = zarr.open_group(str(tmp_path / "b"), mode="w")
    small.create_array(image_array("front"), data=np.ones((5, 120, 160, 3), np.uint8))
    small.attrs[IMAGES_ATTRIBUTE] = ["front"]
    with pytest.raises(DataError, match=r"\(5, 120, 160, 3\), expected"):
        ImageReader(tmp_path / "b", CAMERAS, 5)


def test_a_picture_that_was_not_copied(tmp_path):
    make(tmp_path / "a", 5)
    (tmp_path / "a" / "image_front" / "c" / "2" / "0" / "0" / "0").unlink()
    with pytest.raises(DataError, match="1 of 5 files of array image_front are missing"):
        ImageReader(tmp_path / "a", CAMERAS, 5)


def test_the_fingerprint_is_that_of_the_pictures(tmp_path):
    prints = []
    for name, offset in (("a", 0), ("b", 0), ("c", 1)):
        make(tmp_path / name, 5, offset)
        reader = ImageReader(tmp_path / name, CAMERAS, 5)
        reader.check()
        prints.append(ImageBatches([reader], [5]).fingerprint)
    assert prints[0] == prints[1] != prints[2]
    assert prints[0]


def test_frames_that_show_nothing_or_cannot_be_read(tmp_path):
    group = make(tmp_path / "a", 5)
    reader = ImageReader(tmp_path / "a", CAMERAS, 5)
    reader.check()
    group[image_array("front")][3] = 0
    for look in (reader.check, lambda: reader.read("front", 3)):
        with pytest.raises(
            DataError, match=r"picture 3 of camera front is one colour \(\[0, 0, 0"
        ):
            look()
    assert reader.read("front", 2).any()
    (tmp_path / "a" / "image_front" / "c" / "0" / "0" / "0" / "0").write_bytes(b"cut short")
    with pytest.raises(DataError, match="picture 0 of camera front cannot be read"):
        reader.check()
