# SPDX-License-Identifier: Apache-2.0
"""The force estimate: a filter of known step response, and forces from the torques they make."""

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.kinematics import jacobian
from training.contact_force import BLOCK_S, FILTER_S, filter_torque, hand_force


def test_a_step_of_torque_rises_with_the_filters_time_constant():
    torque = np.ones((2, 50, 1, 7))
    torque[1] = -3.0
    rising = filter_torque(np.zeros((2, 1, 7)), torque, 0.002)
    assert rising.shape == (2, 10, 1, 7)
    time_s = BLOCK_S * np.arange(1, 11)
    np.testing.assert_allclose(rising[0, :, 0, 3], 1 - np.exp(-time_s / FILTER_S), atol=0.025)
    np.testing.assert_allclose(rising[1], -3.0 * rising[0])


def test_blocks_are_means_and_the_last_may_be_shorter(rng):
    before, torque = rng.normal(size=(3, 2, 7)), rng.normal(size=(3, 12, 2, 7))
    filtered = filter_torque(before, torque, 0.002)
    expected, share = before, 1 - 0.9**5
    for i, block in enumerate((slice(0, 5), slice(5, 10), slice(10, 12))):
        expected = expected + share * (torque[:, block].mean(1) - expected)
        np.testing.assert_allclose(filtered[:, i], expected, rtol=0, atol=1e-14)
    # a step goes on where the last one ended
    halves = filter_torque(
        filter_torque(before, torque[:, :5], 0.002)[:, -1], torque[:, 5:], 0.002
    )
    np.testing.assert_allclose(halves[:, -1], filtered[:, -1], rtol=0, atol=1e-14)


def test_a_force_at_the_hand_is_found_in_its_torques(rng):
    home = np.asarray(load_control_config().home_joints)
    _, _, jac = jacobian(home + rng.uniform(-0.3, 0.3, (4, 2, 7)))
    wrench = rng.normal(size=(4, 2, 6))
    torque = (jac.swapaxes(-1, -2) @ wrench[..., None])[..., 0]
    force = hand_force(np.stack([torque, 2.0 * torque], axis=1), jac)
    assert force.shape == (4, 2, 2, 3)
    np.testing.assert_allclose(force[:, 0], wrench[..., :3], atol=1e-9)
    assert force[0, 1, 0, 0] == pytest.approx(2.0 * wrench[0, 0, 0], abs=1e-9)
