# SPDX-License-Identifier: Apache-2.0
"""What an episode looked like: actions of every step and pictures, kept small in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from resip_ros.core.action import ACTION_DIM
from resip_ros.core.geometry import Array

JPEG_QUALITY = 85


@dataclass
class EpisodeRecording:
    """Base action and net action by time, and pictures by time."""

    start_ns: int = 0
    base: dict[int, Array] = field(default_factory=dict[int, Array])
    """Observation stamp (ns) to base action (10 A,) SI, of A arms."""
    net: dict[int, Array] = field(default_factory=dict[int, Array])
    """Same stamps to net action (10 A,) SI."""
    pictures: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    """Stamp (ns) and JPEG, oldest first."""

    def add_picture(self, stamp_ns: int, image: np.ndarray) -> None:
        """Keeps a picture, (H, W, 3) uint8 RGB: 700 of them take some 10 MB as JPEG."""
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="JPEG", quality=JPEG_QUALITY)
        self.pictures.append((stamp_ns, buffer.getvalue()))

    def actions(self) -> tuple[Array, Array, Array]:
        """Steps for which both are known, in order.

        Returns:
            Time since the start (n,) s, then base and net action (n, 10 A) SI.
        """
        stamps = sorted(set(self.base) & set(self.net))
        time_s = (np.array(stamps, dtype=np.float64) - self.start_ns) / 1e9

        def rows(series: dict[int, Array]) -> Array:
            return np.array([series[stamp] for stamp in stamps]).reshape(
                len(stamps), -1 if stamps else ACTION_DIM
            )

        return time_s, rows(self.base), rows(self.net)


def decode_picture(data: bytes) -> np.ndarray:
    """JPEG to (H, W, 3) uint8 RGB."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
