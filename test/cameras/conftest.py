# SPDX-License-Identifier: Apache-2.0
"""Pictures of random noise, as folder and as settings."""

import cv2
import numpy as np
import pytest

from resip_ros.cameras.settings import CameraSettings


def noise(seed, rows=240, columns=320):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Five different pictures."""
    into = tmp_path / "pictures"
    into.mkdir()
    for number in range(5):
        cv2.imwrite(str(into / f"{number}.png"), noise(number)[..., ::-1])
    return into


@pytest.fixture
def settings(folder):
    return CameraSettings("front", "files", path=str(folder), rate_hz=100.0)
