# SPDX-License-Identifier: Apache-2.0
"""What eyes are taught: the truth where it is known, the more exactly the nearer to the hand."""

import numpy as np
import pytest
import torch

from resip_ros.core.errors import DataError
from resip_ros.core.tasks import get_task
from resip_ros.policy.told_poses import tell_poses
from training.told_poses import ToldPoses

from ..policy.test_told_poses import draw

TASK = get_task("mug_rack")


def test_the_truth_costs_nothing_and_an_error_its_square():
    obs, known = draw(TASK, 4, 0), np.array([True, True, False, True])
    told = ToldPoses.of(TASK, obs, known)
    rows = torch.tensor([3, 1, 2])
    truth = torch.from_numpy(tell_poses(TASK, obs[[3, 1, 2]])).float()
    assert float(told.loss(truth, rows)) == pytest.approx(0.0, abs=1e-9)
    wrong = truth.clone()
    wrong[0, 0] += 0.01
    distance = np.linalg.norm(obs[3, 16:19] - obs[3, :3])
    expected = 0.1 / (0.05 + distance) / truth.numel()
    assert float(told.loss(wrong, rows)) == pytest.approx(expected, rel=1e-3)
    wrong[0, 0] += 0.01
    assert float(told.loss(wrong, rows)) == pytest.approx(4 * expected, rel=1e-3)
    # a turn counts as what it moves 5 cm away
    wrong = truth.clone()
    wrong[0, 3] += 0.2
    assert float(told.loss(wrong, rows)) == pytest.approx(expected, rel=1e-3)
    wrong = truth.clone()
    wrong[2] += 1.0
    assert float(told.loss(wrong, rows)) == pytest.approx(0.0, abs=1e-9), "nobody knows them"
    np.testing.assert_allclose(told.mean(), tell_poses(TASK, obs[known]).mean(0), atol=1e-3)


def test_what_is_near_the_hand_counts_more():
    obs = draw(TASK, 2, 1)
    obs[:, 23:26] = obs[:, :3]
    obs[1, 23] += 0.2
    weight = ToldPoses.of(TASK, obs, np.ones(2, bool)).weight
    assert float(weight[0, 9] / weight[1, 9]) == pytest.approx(5.0)


def test_poses_that_are_none():
    obs, known = draw(TASK, 3, 2), np.array([True, True, False])
    obs[2, 26:30] = np.nan
    ToldPoses.of(TASK, obs, known).check("a.zarr")
    obs[0, 26:30] = np.nan
    with pytest.raises(DataError, match="not finite in 1 training steps of a.zarr"):
        ToldPoses.of(TASK, obs, known).check("a.zarr")
