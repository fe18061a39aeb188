# SPDX-License-Identifier: Apache-2.0
"""MP4 files that every player and browser shows: H.264 through the bundled ffmpeg."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.errors import DataError


class VideoWriter:
    """Writes pictures of one size as a video; use as a context manager."""

    def __init__(self, path: Path, rate_hz: float, height: int, width: int) -> None:
        """Open the file.

        Args:
            path: Ends in .mp4; its folder must exist.
            rate_hz: Pictures per second of video.
            height: Even number of pixels (H.264 halves the colour planes).
            width: Even number of pixels.
        """
        if height % 2 or width % 2:
            raise DataError(f"video size {width} x {height}: expected even numbers")
        self.path = Path(path)
        self._shape = (height, width, 3)
        frames: Generator[None, NDArray[np.uint8] | None, None] = imageio_ffmpeg.write_frames(
            str(self.path),
            (width, height),
            fps=rate_hz,  # pyright: ignore[reportArgumentType] (ffmpeg takes fractions)
            codec="libx264",
            macro_block_size=2,
            # playable while it is still being written or when the writer was killed
            output_params=["-movflags", "+frag_keyframe+empty_moov"],
            ffmpeg_log_level="error",
        )
        frames.send(None)
        self._frames: Generator[None, NDArray[np.uint8] | None, None] | None = frames

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Append a picture (height, width, 3) RGB.

        Raises:
            DataError: wrong size, or the file cannot be written (disk full).
        """
        if picture.shape != self._shape:
            raise DataError(f"picture has shape {picture.shape}, the video {self._shape}")
        if self._frames is None:
            raise DataError(f"video {self.path} is closed")
        try:
            self._frames.send(np.ascontiguousarray(picture))
        except (OSError, StopIteration) as error:
            self._frames = None
            raise DataError(
                f"video {self.path} cannot be written: {error}; is the disk full?"
            ) from error

    def close(self) -> None:
        """Finish the file."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
