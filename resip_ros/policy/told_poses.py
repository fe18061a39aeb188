# SPDX-License-Identifier: Apache-2.0
"""What a student tells of the parts' poses, and the state observation that it makes.

A told pose is a position (m) and the first two rows of a rotation. What a hand is to hold, the
child of a pair, is told as the hand sees it: there the wrist's camera sees it, too, and it stays
where it is once it is grasped. Everything else is told in the task's frame, as is everything where
there are several arms. So each number is a smooth function of the pictures and proprioception,
which quaternions and part features are not: a quaternion has two signs, a part the nearer of
several goals. Letters: B batch, D state observation, P = 9 a body.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import (
    Array,
    matrix_to_quat_xyzw,
    matrix_to_rot6d,
    norm,
    rot6d_to_matrix,
)
from resip_ros.core.observation import body_pose, build_state_observation, hand_pose
from resip_ros.core.tasks import TaskSpec

_POSE = 9
_POSITION_M = 0.01
_LEVER_M = 0.05
"""A rotation is as wrong as it moves a point so far from the body's origin."""


def told_dim(task: TaskSpec) -> int:
    """P."""
    return _POSE * len(task.observed)


def told_scale(task: TaskSpec) -> Array:
    """Unit (P,) in which each number is told: a centimetre, or what moves a point by one."""
    return np.tile([_POSITION_M] * 3 + [_POSITION_M / _LEVER_M] * 6, len(task.observed))


def in_hand(task: TaskSpec) -> tuple[str, ...]:
    """Bodies whose pose is told as the hand sees it."""
    return tuple({pair.child for pair in task.pairs}) if len(task.arms) == 1 else ()


def tell_poses(task: TaskSpec, obs: Array) -> Array:
    """What is to be told (B, P) of raw state observations (B, D)."""
    hand_pos, hand_rot = hand_pose(obs)
    told = []
    for body in task.observed:
        pos, rot = body_pose(task, obs, body)
        if body in in_hand(task):
            to_hand = hand_rot.swapaxes(-1, -2)
            pos, rot = (to_hand @ (pos - hand_pos)[..., None])[..., 0], to_hand @ rot
        told += [pos, matrix_to_rot6d(rot)]
    return np.concatenate(told, axis=-1)


def read_told(task: TaskSpec, proprio: Array, told: Array) -> Array:
    """The raw state observation (B, D) of raw proprioception (B, ...) and told poses (B, P)."""
    told = np.asarray(told, dtype=np.float64)
    hand_pos, hand_rot = hand_pose(proprio)
    poses = {}
    for index, body in enumerate(task.observed):
        pose = told[..., _POSE * index : _POSE * (index + 1)]
        pos, rot = pose[..., :3], rot6d_to_matrix(pose[..., 3:])
        if body in in_hand(task):
            pos, rot = hand_pos + (hand_rot @ pos[..., None])[..., 0], hand_rot @ rot
        poses[body] = np.concatenate([pos, matrix_to_quat_xyzw(rot)], axis=-1)
    return build_state_observation(task, proprio, poses)


def position_errors(task: TaskSpec, told: Array, obs: Array) -> Array:
    """Distances (B, bodies) m between told (B, P) and true positions of what hands hold.

    With several arms, of all bodies.
    """
    wrong = np.asarray(told) - tell_poses(task, obs)
    wrong = wrong.reshape(len(obs), len(task.observed), _POSE)
    held = [task.observed.index(body) for body in in_hand(task) or task.observed]
    return norm(wrong[:, held, :3])


def hand_distance(task: TaskSpec, obs: Array) -> Array:
    """Distance (B, bodies) m of each body from the nearest hand."""
    hands = [hand_pose(obs, arm)[0] for arm in range(len(task.arms))]
    return np.stack(
        [
            np.min([norm(body_pose(task, obs, body)[0] - hand) for hand in hands], axis=0)
            for body in task.observed
        ],
        axis=-1,
    )
