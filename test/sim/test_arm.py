# SPDX-License-Identifier: Apache-2.0
"""The simulated arm: holds against gravity, follows its law, grips with a bounded force."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.arms import Arm
from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_quat_wxyz, rotation_z
from resip_ros.core.kinematics import JOINT_NAMES, forward
from resip_ros.sim.arm import (
    FINGER_CLOSED_TARGET_M,
    FINGER_JOINTS,
    HAND_ACTUATOR,
    build_arm_spec,
    build_arms_spec,
    find_arms,
    fr3_assets_dir,
    joint_control,
)
from resip_ros.sim.scene import set_physics_options

CONFIG = load_control_config()
HOME = np.array(CONFIG.home_joints)


def _compile(spec: mujoco.MjSpec) -> tuple[mujoco.MjModel, mujoco.MjData]:
    set_physics_options(spec, 0.002)
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[_arm(model)] = HOME
    data.ctrl[:7] = HOME
    return model, data


def _arm(model: mujoco.MjModel) -> list[int]:
    return [int(model.joint(name).qposadr[0]) for name in JOINT_NAMES]


def test_assets_are_installed():
    assert (fr3_assets_dir() / "fr3.xml").is_file()


def test_arm_holds_its_reference_against_gravity():
    model, data = _compile(build_arm_spec(CONFIG, visual=False))
    mujoco.mj_step(model, data, 1000)
    np.testing.assert_allclose(data.qpos[_arm(model)], HOME, atol=1e-4)


def test_actuators_are_the_joint_law(rng):
    model, data = _compile(build_arm_spec(CONFIG, visual=False))
    q_ref, dq_ref, q, dq = rng.uniform(-0.01, 0.01, (4, 7)) + [[1], [0], [1], [0]] * HOME
    data.qpos[_arm(model)] = q
    data.qvel[_arm(model)] = dq
    data.ctrl[:7] = joint_control(CONFIG, q_ref, dq_ref)
    mujoco.mj_forward(model, data)
    expected = np.array(CONFIG.stiffness) * (q_ref - q) + np.array(CONFIG.damping) * (dq_ref - dq)
    np.testing.assert_allclose(data.actuator_force[:7], expected, atol=1e-9)
    assert np.abs(expected).max() > 1.0


def test_joints_have_neither_dry_friction_nor_damping():
    model, _ = _compile(build_arm_spec(CONFIG, visual=False))
    for name in JOINT_NAMES:
        dof = model.joint(name).dofadr[0]
        assert model.dof_frictionloss[dof] == 0.0
        assert model.dof_damping[dof] == 0.0


@pytest.mark.parametrize("width", [0.02, 0.03])
def test_grip_force_is_the_configured_one(width):
    """A fixed block between the fingers feels gripper_force_n from either."""
    spec = build_arm_spec(CONFIG, visual=False)
    pos, rot = forward(HOME)
    spec.worldbody.add_geom(
        name="block",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=pos.tolist(),
        quat=matrix_to_quat_wxyz(rot).tolist(),
        size=[0.005, width / 2, 0.005],
        contype=0,
        conaffinity=1,
        mass=0.0,
    )
    model, data = _compile(spec)
    for name in FINGER_JOINTS:
        data.joint(name).qpos[0] = 0.03
    data.actuator(HAND_ACTUATOR).ctrl[0] = FINGER_CLOSED_TARGET_M
    mujoco.mj_step(model, data, 500)
    for name in FINGER_JOINTS:
        assert data.joint(name).qpos[0] == pytest.approx(width / 2, abs=1e-3)
        assert abs(data.joint(name).qfrc_constraint[0]) == pytest.approx(
            CONFIG.gripper_force_n, rel=0.05
        )


def test_fingers_close_to_their_stop_and_open_again():
    model, data = _compile(build_arm_spec(CONFIG, visual=False))
    for target, width in ((FINGER_CLOSED_TARGET_M, 0.0), (0.0325, 0.065)):
        data.actuator(HAND_ACTUATOR).ctrl[0] = target
        mujoco.mj_step(model, data, 1000)
        opening = sum(data.joint(name).qpos[0] for name in FINGER_JOINTS)
        assert opening == pytest.approx(width, abs=1e-3)


ARMS = (Arm("left"), Arm("right", (0.9, 0.1), 2.0))


def test_several_arms_stand_where_they_should():
    model, data = compile_two(HOME)
    where = find_arms(model, ARMS)
    pos, rot = forward(HOME)
    for i, arm in enumerate(ARMS):
        assert model.joint(f"{arm.prefix}fr3_joint3").qposadr[0] == where.qpos[i, 2]
        assert model.actuator(f"{arm.prefix}hand").id == where.hand[i]
        turn = rotation_z(np.array(arm.base_yaw))
        site = data.site(f"{arm.prefix}tcp")
        np.testing.assert_allclose(site.xpos, turn @ pos + [*arm.base_xy, 0.0], atol=1e-5)
        np.testing.assert_allclose(site.xmat.reshape(3, 3), turn @ rot, atol=1e-4)
    one = build_arm_spec(CONFIG, visual=False).compile()
    np.testing.assert_array_equal(model.actuator_gainprm[8:], one.actuator_gainprm)
    np.testing.assert_array_equal(model.body_mass[1:], np.tile(one.body_mass[1:], 2))


def compile_two(joints: np.ndarray) -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = build_arms_spec(CONFIG, ARMS, visual=False)
    model = spec.compile()
    data = mujoco.MjData(model)
    data.qpos[find_arms(model, ARMS).qpos] = joints
    mujoco.mj_forward(model, data)
    return model, data


def test_arms_meet_each_other_but_none_meets_itself():
    """Side by side they touch; one folded into itself does not, as for a single arm."""
    model, data = compile_two(HOME)
    assert data.ncon == 0
    reach = HOME + np.array([0.0, 0.9, 0.0, 0.6, 0.0, 0.0, 0.0])
    model, data = compile_two(reach)
    data.qpos[find_arms(model, ARMS).qpos[1, 0]] = np.pi - 2.0
    mujoco.mj_forward(model, data)
    names = [[model.body(model.geom_bodyid[g]).name for g in c.geom] for c in data.contact]
    assert names, "the forearms cross"
    assert all({a.split("_")[0], b.split("_")[0]} == {"left", "right"} for a, b in names)
    folded = HOME.copy()
    folded[3], folded[5] = -3.0, 0.6
    assert compile_two(folded)[1].ncon == 0
