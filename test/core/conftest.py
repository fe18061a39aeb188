# SPDX-License-Identifier: Apache-2.0
"""What the tests of core share."""

import numpy as np
import pytest

from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.core.geometry import Array, rotvec_to_matrix


@pytest.fixture(scope="session")
def config() -> ControlConfig:
    return load_control_config()


@pytest.fixture
def rotations(rng: np.random.Generator) -> Array:
    """R (206, 3, 3): random, and half turns, where conversions divide by small numbers."""
    axes = rng.normal(size=(200, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    vectors = axes * rng.uniform(0.0, np.pi, (200, 1))
    half_turns = np.pi * np.concatenate([np.eye(3), -np.eye(3)])
    return rotvec_to_matrix(np.concatenate([vectors, half_turns]))
