# SPDX-License-Identifier: Apache-2.0
"""Pictures out of messages, and to the size that policies see; the one way, live and offline."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from resip_ros.core import messages
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import Array
from resip_ros.core.images import IMAGE_HEIGHT, IMAGE_WIDTH

Picture = NDArray[np.uint8]
JPEG_QUALITY = 95


def decode_picture(message: Any) -> tuple[int, Picture]:
    """Image or CompressedImage to stamp (ns) and what a policy sees, (240, 320, 3) uint8 RGB.

    Raises:
        DataError: for another encoding, damaged bytes, or a picture that is too small.
    """
    if hasattr(message, "encoding"):
        stamp_ns, picture = messages.decode_image(message)
    else:
        stamp_ns = messages.stamp_to_ns(message.header.stamp)
        picture = decode_jpeg(message.data)
    return stamp_ns, fit_picture(picture)


def encode_jpeg(picture: Picture, quality: int = JPEG_QUALITY) -> bytes:
    """Picture (H, W, 3) RGB to JPEG."""
    ok, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not ok:
        raise DataError(f"a picture of shape {picture.shape} cannot be written as JPEG")
    return data.tobytes()


def decode_jpeg(data: Any) -> Picture:
    """JPEG or PNG to (H, W, 3) uint8 RGB.

    Raises:
        DataError: when the bytes are no whole picture.
    """
    buffer = np.frombuffer(data, dtype=np.uint8)
    # the decoder fills the missing end of a cut-off picture with grey and says nothing
    is_cut = buffer[:2].tobytes() == b"\xff\xd8" and b"\xff\xd9" not in buffer[-64:].tobytes()
    picture = None if not buffer.size or is_cut else cv2.imdecode(buffer, cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(
            f"compressed image of {buffer.size} bytes is damaged or of another format; expected "
            "a whole JPEG or PNG"
        )
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def fit_picture(picture: Picture, height: int = IMAGE_HEIGHT, width: int = IMAGE_WIDTH) -> Picture:
    """The middle of a picture at another size; one of this size is passed on as it is.

    Args:
        picture: (H, W, 3), at least of the size asked for.
        height: Rows wanted.
        width: Columns wanted.

    Raises:
        DataError: when it is smaller.
    """
    if picture.shape[:2] == (height, width):
        return picture
    top, left, rows, columns = _middle(picture.shape[0], picture.shape[1], height, width)
    middle = np.ascontiguousarray(picture[top : top + rows, left : left + columns])
    fitted = cv2.resize(middle, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(fitted, dtype=np.uint8)


def fit_intrinsics(
    matrix: Array, size: tuple[int, int], height: int = IMAGE_HEIGHT, width: int = IMAGE_WIDTH
) -> Array:
    """Camera matrix (3, 3) of a picture of ``size`` (rows, columns) after ``fit_picture``."""
    if size == (height, width):
        return matrix
    top, left, rows, columns = _middle(*size, height, width)
    sx, sy = width / columns, height / rows
    fitted = np.diag([sx, sy, 1.0]) @ matrix
    # pixel 0 has its centre at 0, so its edge is at -0.5
    fitted[0, 2] = (matrix[0, 2] - left + 0.5) * sx - 0.5
    fitted[1, 2] = (matrix[1, 2] - top + 0.5) * sy - 0.5
    return fitted


def _middle(rows: int, columns: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of the largest middle part of the wanted shape."""
    if rows < height or columns < width:
        raise DataError(
            f"picture has {rows} x {columns} pixels; expected at least {height} x {width}: let "
            "the camera send larger ones"
        )
    kept_rows = min(rows, round(columns * height / width))
    kept_columns = min(columns, round(rows * width / height))
    return (rows - kept_rows) // 2, (columns - kept_columns) // 2, kept_rows, kept_columns
