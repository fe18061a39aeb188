# SPDX-License-Identifier: Apache-2.0
"""The FR3 with hand as a MuJoCo spec, set up for fine contact.

Meshes and inertias come from the installed franky-sim package (Apache-2.0). Changed here:
one box pad and one box per finger instead of five pads and a hull, no joint dry friction
(the real controller compensates it), gravity compensation, the joint law of
``core.control`` as actuators, and a hand that grips with a bounded force.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.arms import Arm
from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array, matrix_to_quat_wxyz, rotation_z
from resip_ros.core.kinematics import JOINT_NAMES

HAND_BODY = "hand"
TCP_SITE = "tcp"
FINGER_JOINTS = ("finger_joint1", "finger_joint2")
HAND_ACTUATOR = "hand"
TCP_OFFSET_M = 0.1034
FINGER_CLOSED_TARGET_M = -0.010
"""Target per finger when closing: beyond contact, so that the force limit decides."""
_FINGER_KP = 4000.0
_FINGER_KV = 300.0

# collision bits: a pair collides when one's contype meets the other's conaffinity
BIT_ROBOT, BIT_BENCH, BIT_FIXTURE, BIT_TOP, BIT_LEG, BIT_PIN = (1 << i for i in range(6))
_ARM_BITS = 6
"""The first bit of those with which arms meet each other."""


@dataclass(frozen=True)
class ArmIndices:
    """Where a model keeps the joints and controls of its A arms."""

    qpos: NDArray[np.int64]
    """(A, 7) joints in qpos."""
    dof: NDArray[np.int64]
    """(A, 7) joints in qvel."""
    control: NDArray[np.int64]
    """(A, 7) joints in ctrl."""
    fingers: NDArray[np.int64]
    """(A, 2) fingers in qpos."""
    hand: NDArray[np.int64]
    """(A,) hands in ctrl."""


def find_arms(model: mujoco.MjModel, arms: tuple[Arm, ...]) -> ArmIndices:
    """Look up the arms of a task in its compiled scene."""

    def joints(names: tuple[str, ...], what: str) -> NDArray[np.int64]:
        return np.array(
            [[getattr(model.joint(arm.prefix + n), what)[0] for n in names] for arm in arms]
        )

    return ArmIndices(
        qpos=joints(JOINT_NAMES, "qposadr"),
        dof=joints(JOINT_NAMES, "dofadr"),
        control=np.array([[model.actuator(a.prefix + n).id for n in JOINT_NAMES] for a in arms]),
        fingers=joints(FINGER_JOINTS, "qposadr"),
        hand=np.array([model.actuator(arm.prefix + HAND_ACTUATOR).id for arm in arms]),
    )


def fr3_assets_dir() -> Path:
    """Directory of franky-sim's FR3 model files."""
    found = importlib.util.find_spec("franky_sim")
    if found is None or found.origin is None:
        raise ResipError(
            "franky-sim is not installed; its FR3 model is needed: pip install franky-sim"
        )
    return Path(found.origin).parent / "assets"


def build_arms_spec(
    config: ControlConfig, arms: tuple[Arm, ...], *, visual: bool
) -> mujoco.MjSpec:
    """The arms of a task where they stand; names begin with each arm's prefix.

    Arms meet each other, though none meets itself.

    Args:
        config: Gains, torque limits and gripper numbers.
        arms: Names and places.
        visual: Keep the visual meshes (rendering) or drop them (physics only).
    """
    if len(arms) == 1 and not arms[0].prefix:
        return build_arm_spec(config, visual=visual)
    spec = mujoco.MjSpec()
    for i, arm in enumerate(arms):
        own = build_arm_spec(config, visual=visual)
        spec.option.integrator, spec.meshdir = own.option.integrator, own.meshdir
        for geom in own.geoms:
            if not _is_visual(geom):
                geom.contype |= 1 << (_ARM_BITS + i)
                geom.conaffinity |= sum(1 << (_ARM_BITS + j) for j in range(i))
        yaw = matrix_to_quat_wxyz(rotation_z(np.array(arm.base_yaw)))
        frame = spec.worldbody.add_frame(pos=[*arm.base_xy, 0.0], quat=yaw.tolist())
        spec.attach(own, prefix=arm.prefix, frame=frame)
    return spec


def build_arm_spec(config: ControlConfig, *, visual: bool) -> mujoco.MjSpec:
    """FR3 with hand at the origin.

    Args:
        config: Gains, torque limits and gripper numbers.
        visual: Keep the visual meshes (rendering) or drop them (physics only).
    """
    assets = fr3_assets_dir()
    text = (assets / "fr3.xml").read_text()
    text = text.replace('meshdir="assets"', f'meshdir="{assets / "meshes"}"')
    spec = mujoco.MjSpec.from_string(text)
    for key in list(spec.keys):
        spec.delete(key)
    _set_collision(spec, visual)
    for body in spec.bodies:
        if body.name != "world":
            body.gravcomp = 1.0
    for joint in spec.joints:
        joint.frictionloss = 0.0
        if joint.name in JOINT_NAMES:
            joint.damping[:] = 0.0
        else:
            # closed fingers rest on their stop: as stiff as a contact
            joint.solref_limit[:] = [0.004, 1.0]
            joint.solimp_limit[:] = [0.95, 0.99, 0.0005, 0.5, 2.0]
    _set_actuators(spec, config)
    spec.body(HAND_BODY).add_site(name=TCP_SITE, pos=[0, 0, TCP_OFFSET_M])
    return spec


def _is_visual(geom: mujoco.MjsGeom) -> bool:
    return geom.contype == 0 and geom.conaffinity == 0


def _set_collision(spec: mujoco.MjSpec, visual: bool) -> None:
    """Box fingers; the arm meets everything but itself; unused meshes are dropped."""
    for geom in list(spec.geoms):
        on_finger = geom.parent.name.endswith("_finger")
        if _is_visual(geom):
            if not visual:
                spec.delete(geom)
        elif on_finger:
            spec.delete(geom)
        else:
            geom.contype, geom.conaffinity = BIT_ROBOT, 0
    for body in spec.bodies:
        if not body.name.endswith("_finger"):
            continue
        shared: dict[str, Any] = {
            "type": mujoco.mjtGeom.mjGEOM_BOX,
            "contype": BIT_ROBOT,
            "conaffinity": 0,
            "mass": 0.0,
        }
        # pad face at y = 0 of the finger frame, tip 53.6 mm along z: the TCP is 45 mm along
        body.add_geom(
            name=f"{body.name}_pad",
            pos=[0, 0.004, 0.0445],
            size=[0.0085, 0.004, 0.0085],
            condim=4,
            friction=[1.0, 0.01, 1e-4],
            priority=1,
            group=3,
            **shared,
        )
        body.add_geom(
            name=f"{body.name}_body",
            pos=[0, 0.012, 0.02],
            size=[0.0085, 0.008, 0.018],
            group=3,
            **shared,
        )
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)


def _set_actuators(spec: mujoco.MjSpec, config: ControlConfig) -> None:
    """Joints: tau = ctrl-form of K (q_ref - q) + D (dq_ref - dq); hand: bounded force.

    The control of joint i is q_ref + (D / K) dq_ref, see ``joint_control``. Control of the
    hand is the target of each finger, m.
    """
    for actuator in spec.actuators:
        actuator.inheritrange = 0.0
        actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_FALSE
        if actuator.name in JOINT_NAMES:
            i = JOINT_NAMES.index(actuator.name)
            actuator.gainprm[0] = config.stiffness[i]
            actuator.biasprm[1] = -config.stiffness[i]
            actuator.biasprm[2] = -config.damping[i]
        elif actuator.name == HAND_ACTUATOR:
            actuator.gainprm[0] = _FINGER_KP
            actuator.biasprm[1] = -_FINGER_KP
            actuator.biasprm[2] = -_FINGER_KV
            # the tendon is the mean of the fingers: each gets half of the force
            limit = 2.0 * config.gripper_force_n
            actuator.forcerange = [-limit, limit]


def joint_control(config: ControlConfig, q_ref: Array, dq_ref: Array) -> Array:
    """Actuator controls (..., 7) for a reference q_ref (..., 7) rad, dq_ref (..., 7) rad/s."""
    ratio = np.asarray(config.damping) / np.asarray(config.stiffness)
    return q_ref + ratio * dq_ref
