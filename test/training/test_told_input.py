# SPDX-License-Identifier: Apache-2.0
"""Gradients through the robot's own functions are those of the numbers they compute."""

import numpy as np
import torch

from resip_ros.core.tasks import get_task
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.runtime import base_input
from resip_ros.policy.told_poses import read_told, tell_poses, told_scale
from training.told_input import make_told_input

from ..policy.test_told_poses import draw

TASK = get_task("mug_rack")
COUNT = 6


def build(obs: np.ndarray) -> np.ndarray:
    ranges = np.ones(37, np.float32), np.ones(10, np.float32)
    return base_input(
        TASK, Normalizer(-3 * ranges[0], 3 * ranges[0], -ranges[1], ranges[1]), obs, "relative"
    )


def near_the_goal() -> tuple[np.ndarray, np.ndarray]:
    """Proprioception, and poses of a mug close to the rack, where features are not clipped."""
    obs = draw(TASK, COUNT, 0)
    obs[:, 23:26] = obs[:, 16:19] + np.random.default_rng(1).normal(0, 0.02, (COUNT, 3))
    obs[:, :3] = obs[:, 23:26] + 0.03
    return obs[:, :16], tell_poses(TASK, obs)


def test_the_input_is_the_robots():
    proprio, poses = near_the_goal()
    told = torch.from_numpy(poses)
    inputs = make_told_input(TASK, build, proprio, told)
    np.testing.assert_allclose(inputs, build(read_told(TASK, proprio, poses)), rtol=1e-6)


def test_gradients():
    proprio, poses = near_the_goal()
    unit = torch.from_numpy(told_scale(TASK))
    told = torch.from_numpy(poses).requires_grad_()
    rng = np.random.default_rng(2)
    weight = torch.from_numpy(rng.normal(size=build(read_told(TASK, proprio, poses)).shape))

    def loss(values: torch.Tensor) -> torch.Tensor:
        return (weight * make_told_input(TASK, build, proprio, values)).sum()

    loss(told).backward()
    assert told.grad is not None
    for _ in range(5):
        way = torch.from_numpy(rng.normal(size=poses.shape)) * unit * 3e-3
        with torch.no_grad():
            change = loss(told + way) - loss(told - way)
        slope = 2 * (told.grad * way).sum()
        assert abs(change - slope) < 0.03 * abs(slope) + 1e-3
    # rows do not mix
    told.grad = None
    make_told_input(TASK, build, proprio, told)[2].sum().backward()
    assert told.grad[2].abs().max() > 0
    assert told.grad[[0, 1, 3, 4, 5]].abs().max() == 0
