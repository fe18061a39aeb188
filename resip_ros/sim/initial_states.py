# SPDX-License-Identifier: Apache-2.0
"""Settled initial states: spread poses, impulses, then physics until all is at rest.

The same seed and index give the same state in training, evaluation and the live world.
"""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array, matrix_to_quat_wxyz
from resip_ros.core.tasks import TaskSpec
from resip_ros.sim.arm import BIT_ROBOT, find_arms, joint_control
from resip_ros.sim.task_scene import TaskScene, get_randomness, get_scene

_SETTLE_S = 1.0
_AT_REST = 2e-3
_ATTEMPTS = 100
"""round_table at high rests within a second in one draw of six: its foot rocks like a coin."""


@dataclass(frozen=True)
class InitialState:
    """One start of an episode, everything at rest."""

    joints: Array
    """(7 A,) rad, arm after arm."""
    part_qpos: dict[str, Array]
    """Part to (7,): position m, quaternion wxyz (MuJoCo order)."""
    mocap_pos: Array
    """(nmocap, 3) m: the fixture, or nothing."""


def sample_initial_state(
    model: mujoco.MjModel,
    task: TaskSpec,
    config: ControlConfig,
    randomness_name: str,
    seed: int,
    index: int,
) -> InitialState:
    """Initial state number ``index`` of ``seed``.

    Draws again when a part does not come to rest on the bench within reach, or the arm touches
    anything.

    Raises:
        ConfigError: for an unknown randomness.
        ResipError: when no draw settles (a broken scene).
    """
    randomness, scene = get_randomness(randomness_name), get_scene(task.name)
    data = mujoco.MjData(model)
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((seed, index, attempt))
        noise = rng.uniform(-randomness.joint_rad, randomness.joint_rad, (len(task.arms), 7))
        joints = np.clip(
            np.asarray(config.home_joints) + noise, config.joint_low, config.joint_high
        ).ravel()
        offset = np.append(rng.uniform(-randomness.fixture_m, randomness.fixture_m, 2), 0.0)
        fixture = np.zeros((0, 3)) if scene.fixture_pos is None else scene.fixture_pos[None]
        mocap_pos = fixture + offset
        mujoco.mj_resetData(model, data)
        place_arms(model, data, task, config, joints)
        data.mocap_pos[:] = mocap_pos
        for name, (pos, rot) in scene.sample_poses(rng).items():
            data.joint(name).qpos[:] = np.concatenate([pos, matrix_to_quat_wxyz(rot)])
        _apply_impulses(model, data, scene.sample_velocities(randomness, rng))
        mujoco.mj_step(model, data, round(_SETTLE_S / model.opt.timestep))
        parts = {name: data.joint(name).qpos.copy() for name in task.parts}
        if _is_settled(data, scene, parts) and not _arm_touches(model, data):
            return InitialState(joints, parts, mocap_pos)
    raise ResipError(
        f"{task.name}: no settled initial state in {_ATTEMPTS} draws (seed {seed}, index "
        f"{index}); the scene or its randomness is wrong"
    )


def place_arms(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    task: TaskSpec,
    config: ControlConfig,
    joints: Array,
) -> None:
    """Put a task's arms at joints (7 A,), rad, hands open, and hold them there."""
    where, opening = find_arms(model, task.arms), config.gripper_max_width_m / 2
    q = joints.reshape(where.qpos.shape)
    data.qpos[where.qpos] = q
    data.ctrl[where.control] = joint_control(config, q, np.zeros(7))
    data.qpos[where.fingers] = opening
    data.ctrl[where.hand] = opening


def _apply_impulses(
    model: mujoco.MjModel,
    data: mujoco.MjData,
    velocities: dict[str, tuple[Array, Array]],
) -> None:
    """Free-joint velocities: linear in the world frame, angular in the body frame."""
    mujoco.mj_forward(model, data)
    for name, (linear, angular) in velocities.items():
        rot = data.body(name).xmat.reshape(3, 3)
        data.joint(name).qvel[:] = np.concatenate([linear, rot.T @ angular])


def _is_settled(data: mujoco.MjData, scene: TaskScene, parts: dict[str, Array]) -> bool:
    speeds = [np.abs(data.joint(name).qvel).max() for name in parts]
    positions = np.array([pose[:3] for pose in parts.values()])
    inside = ((positions > scene.parts_low) & (positions < scene.parts_high)).all()
    return bool(inside and max(speeds) < _AT_REST)


def _arm_touches(model: mujoco.MjModel, data: mujoco.MjData) -> bool:
    return bool((model.geom_contype[data.contact.geom] & BIT_ROBOT).any())
