# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.sim.part_boxes import part_boxes
from resip_ros.sim.peg_in_hole import BLOCK_HALF_M, PEG_HALF_M


def test_boxes_are_those_of_the_dimensions():
    boxes = part_boxes(PEG_IN_HOLE, load_control_config())
    assert list(boxes) == ["peg", "hole", "fixture"]
    np.testing.assert_allclose(boxes["peg"][0], 0.0, atol=1e-3)
    np.testing.assert_allclose(boxes["peg"][1], PEG_HALF_M, atol=1e-3)
    # without the invisible foot that keeps it from tilting
    assert boxes["hole"][1] == pytest.approx([0.0125, 0.0125, BLOCK_HALF_M[2]], abs=1e-3)
    # three walls, some centimetres high
    assert 0.01 < boxes["fixture"][1][2] < 0.05
