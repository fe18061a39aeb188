# SPDX-License-Identifier: Apache-2.0
"""FR3 kinematics against MuJoCo's model of the arm and against finite differences."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_rotvec
from resip_ros.core.kinematics import (
    JOINT_NAMES,
    forward,
    jacobian,
    tcp_velocity,
    torque_to_wrench,
)
from resip_ros.sim.arm import build_arm_spec


@pytest.fixture
def joints(config, rng):
    return rng.uniform(config.joint_low, config.joint_high, (30, 7))


def test_forward_is_the_site_of_the_model(config, joints):
    model = build_arm_spec(config, visual=False).compile()
    data = mujoco.MjData(model)
    pos, rot = forward(joints)
    for q, at, turned in zip(joints, pos, rot, strict=True):
        for name, angle in zip(JOINT_NAMES, q, strict=True):
            data.joint(name).qpos[0] = angle
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(at, data.site("tcp").xpos, rtol=0, atol=1e-6)
        np.testing.assert_allclose(turned.ravel(), data.site("tcp").xmat, rtol=0, atol=1e-5)


def test_jacobian_is_the_derivative_of_forward(joints):
    _, _, jac = jacobian(joints)
    step = 1e-6
    for i in range(7):
        move = step * np.eye(7)[i]
        (ahead, ahead_rot), (behind, behind_rot) = forward(joints + move), forward(joints - move)
        turn = matrix_to_rotvec(ahead_rot @ behind_rot.swapaxes(-1, -2))
        np.testing.assert_allclose(jac[:, :3, i], (ahead - behind) / (2 * step), atol=1e-8)
        np.testing.assert_allclose(jac[:, 3:, i], turn / (2 * step), atol=1e-8)


def test_velocity_is_jacobian_times_joint_speed(joints, rng):
    speed = rng.normal(size=joints.shape)
    linear, angular = tcp_velocity(joints, speed)
    for i, jac in enumerate(jacobian(joints)[2]):
        np.testing.assert_allclose(np.append(linear[i], angular[i]), jac @ speed[i], atol=1e-12)


def test_batches_are_rows(joints):
    pos, rot = forward(joints.reshape(5, 6, 7))
    one, one_rot = forward(joints[13])
    np.testing.assert_allclose(pos[2, 1], one, rtol=0, atol=1e-14)
    np.testing.assert_allclose(rot[2, 1], one_rot, rtol=0, atol=1e-14)


def test_hand_points_down_at_home(config):
    pos, rot = forward(np.array(config.home_joints))
    np.testing.assert_allclose(rot[:, 2], [0, 0, -1], atol=0.01)
    assert np.all(np.array(config.workspace_min) < pos)
    assert np.all(pos < np.array(config.workspace_max))


def test_batches_of_any_shape_give_what_each_pose_gives(joints):
    batch = joints[:12].reshape(2, 3, 2, 7)
    for whole, one in zip(jacobian(batch), jacobian(joints[7]), strict=True):
        assert whole.shape == (2, 3, 2, *one.shape)
        np.testing.assert_array_equal(whole[1, 0, 1], one)
    assert forward(joints[:0])[1].shape == (0, 3, 3)


def test_a_wrench_is_found_in_the_torques_that_it_makes(config, rng):
    _, _, jac = jacobian(np.asarray(config.home_joints) + rng.uniform(-0.5, 0.5, (30, 7)))
    wrench = rng.normal(size=(30, 6))
    torque = (jac.swapaxes(-1, -2) @ wrench[..., None])[..., 0]
    found = (torque_to_wrench(jac) @ torque[..., None])[..., 0]
    np.testing.assert_allclose(found, wrench, rtol=0, atol=1e-8)


def test_torque_to_wrench_is_the_pseudo_inverse(config, rng):
    """Also where the arm is singular: stretched out, or with wrist axes in line."""
    joints = rng.uniform(config.joint_low, config.joint_high, (3000, 7))
    joints[0] = 0.0
    joints[1:300, [1, 2, 4, 5]] *= 1e-4
    _, _, jac = jacobian(joints)
    exact = np.linalg.pinv(jac.swapaxes(-1, -2), rcond=1e-3)
    error = np.abs(torque_to_wrench(jac) - exact).max((-1, -2)) / np.abs(exact).max((-1, -2))
    assert error.max() < 1e-10
