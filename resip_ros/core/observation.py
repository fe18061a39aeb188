# SPDX-License-Identifier: Apache-2.0
"""Observations: the one definition that environment, bag converter and nodes share.

Proprioception (16): position 3 m, rot6d 6, linear velocity 3 m/s, angular velocity 3 rad/s,
gripper width 1 m. State observation: proprioception of every arm, then 7 per observed body
(x y z m, qx qy qz qw with qw >= 0). Everything in the task frame, which is the base frame of
the only or first arm (``core.arms``). Leading axes are batch, A arms.
Source: ResiP §III-A and Appendix B; the reference gives parts in an AprilTag frame instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resip_ros.core.action import ACTION_DIM
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import (
    Array,
    canonical_quat_xyzw,
    matrix_to_rot6d,
    matrix_to_rotvec,
    quat_xyzw_to_matrix,
    rot6d_to_matrix,
)
from resip_ros.core.tasks import AssembledPair, TaskSpec, goal_poses

PROPRIO_NAMES: tuple[str, ...] = (
    "ee_x",
    "ee_y",
    "ee_z",
    *(f"ee_r6d_{i}" for i in range(6)),
    "ee_vx",
    "ee_vy",
    "ee_vz",
    "ee_wx",
    "ee_wy",
    "ee_wz",
    "gripper_width",
)
PROPRIO_DIM = len(PROPRIO_NAMES)
POSE_DIM = 7
_POSE_NAMES = ("x", "y", "z", "qx", "qy", "qz", "qw")

FEATURES = ("absolute", "relative", "precise")
"""What a network sees beside normalised observations: nothing, features of relative poses down to
some millimetres, or those and what tells tenths of a millimetre (docs/experiments.md, 27)."""
_COARSE_M = 0.05
_FINE_M = 0.005
_PRECISE_M = 0.001
_PRECISE_TILT = 0.02
_CLIP = 3.0
_GOAL_FEATURES = (
    *(f"tip_in_hole_coarse_{a}" for a in "xyz"),
    *(f"tip_in_hole_fine_{a}" for a in "xyz"),
    "tilt_x",
    "tilt_y",
    "yaw_cos",
    "yaw_sin",
)
_PRECISE_FEATURES = (
    *(f"tip_in_hole_precise_{a}" for a in "xyz"),
    "tilt_precise_x",
    "tilt_precise_y",
)
_REACH_FEATURES = (*(f"tip_in_hole_fine_{a}" for a in "xyz"), *_PRECISE_FEATURES)
_HAND_FEATURES = (
    *(f"in_hand_coarse_{a}" for a in "xyz"),
    *(f"in_hand_fine_{a}" for a in "xyz"),
    *(f"axis_in_hand_{a}" for a in "xyz"),
    "grasp_yaw4_cos",
    "grasp_yaw4_sin",
)


def proprioception_names(task: TaskSpec) -> tuple[str, ...]:
    """Names of every arm's proprioception, in order: the first of the state observation."""
    return tuple(f"{arm.prefix}{name}" for arm in task.arms for name in PROPRIO_NAMES)


def observation_names(task: TaskSpec) -> tuple[str, ...]:
    """Names of the state observation's entries, in order; its length is the dimension."""
    return proprioception_names(task) + tuple(
        f"{body}_{axis}" for body in task.observed for axis in _POSE_NAMES
    )


def build_proprioception(
    pos: Array, rot: Array, lin_vel: Array, ang_vel: Array, gripper_width: Array
) -> Array:
    """Proprioception (..., 16) from TCP pose, velocity (base frame) and gripper width (m)."""
    width = np.asarray(gripper_width, dtype=np.float64)[..., None]
    return np.concatenate([pos, matrix_to_rot6d(rot), lin_vel, ang_vel, width], axis=-1)


def build_state_observation(task: TaskSpec, proprio: Array, poses: Mapping[str, Array]) -> Array:
    """State observation (..., 16 A + 7 n).

    Args:
        task: Says which bodies, in which order.
        proprio: (..., 16 A), task frame.
        poses: Body name to pose (..., 7): x y z m, quaternion xyzw, task frame.

    Raises:
        DataError: if a body's pose is missing.
    """
    missing = [name for name in task.observed if name not in poses]
    if missing:
        raise DataError(
            f"no pose for {', '.join(missing)}; task {task.name} observes "
            f"{', '.join(task.observed)}; publish parts/<name>/pose for each"
        )
    proprio = np.asarray(proprio, dtype=np.float64)
    bodies = np.stack([np.asarray(poses[name]) for name in task.observed], -2, dtype=np.float64)
    bodies[..., 3:] = canonical_quat_xyzw(bodies[..., 3:])
    return np.concatenate([proprio, bodies.reshape(*proprio.shape[:-1], -1)], axis=-1)


def body_pose(task: TaskSpec, obs: Array, body: str) -> tuple[Array, Array]:
    """Position (..., 3) and R (..., 3, 3) of an observed body, from the observation."""
    start = len(task.arms) * PROPRIO_DIM + POSE_DIM * task.observed.index(body)
    return obs[..., start : start + 3], quat_xyzw_to_matrix(obs[..., start + 3 : start + 7])


def hand_pose(obs: Array, arm: int = 0) -> tuple[Array, Array]:
    """Position (..., 3) and R (..., 3, 3) of an arm's hand, from the observation."""
    start = arm * PROPRIO_DIM
    return obs[..., start : start + 3], rot6d_to_matrix(obs[..., start + 3 : start + 9])


def part_feature_names(task: TaskSpec, precise: bool = False) -> tuple[str, ...]:
    """Names of the entries of ``build_part_features``."""
    names: list[str] = []
    for pair in task.pairs:
        names += [f"{pair.child}_{name}" for name in _GOAL_FEATURES]
        names += [
            f"{body}_{arm.prefix}{name}"
            for arm in task.arms
            for body in _handled(task, pair)
            for name in _HAND_FEATURES
        ]
    if precise:
        names += [f"{pair.child}_{name}" for pair in task.pairs for name in _PRECISE_FEATURES]
    return tuple(names)


def _handled(task: TaskSpec, pair: AssembledPair) -> tuple[str, ...]:
    """Parts of a pair that hands hold: the child; where there are several arms, both."""
    return (pair.child,) if len(task.arms) == 1 else (pair.child, pair.parent)


def relative_feature_names(task: TaskSpec, precise: bool = False) -> tuple[str, ...]:
    """Names of the entries of ``build_relative_features``."""
    moves = [
        f"{arm.prefix}base_{kind}_{axis}"
        for arm in task.arms
        for kind in ("move", "turn")
        for axis in "xyz"
    ]
    if precise:
        moves += [
            f"{pair.child}_{arm.prefix}reach_{body}_{name}"
            for pair in task.pairs
            for arm in task.arms
            for body in _handled(task, pair)
            for name in _REACH_FEATURES
        ]
    return (*part_feature_names(task, precise), *moves)


def build_relative_features(
    task: TaskSpec, obs: Array, base_action: Array, precise: bool = False
) -> Array:
    """Part in target, parts in hands, base target from hand: scaled to order one and clipped.

    Args:
        task: Gives the pairs and arms.
        obs: Raw state observation (..., D), SI.
        base_action: The base policy's action of this step (..., 10 A), SI.
        precise: Also what tells tenths of a millimetre: the part in its target, and where it
            would be there if a hand that holds it reached the base's action.

    Returns:
        (..., F) in the order of ``relative_feature_names``.
    """
    obs = np.asarray(obs, dtype=np.float64)
    features: list[Array] = []
    moves: list[tuple[Array, Array, Array]] = []
    for arm in range(len(task.arms)):
        ee_pos, ee_rot = hand_pose(obs, arm)
        target = base_action[..., arm * ACTION_DIM : (arm + 1) * ACTION_DIM]
        turn = rot6d_to_matrix(target[..., 3:9]) @ ee_rot.swapaxes(-1, -2)
        features += [(target[..., :3] - ee_pos) / 0.01, matrix_to_rotvec(turn) / 0.1]
        moves.append((ee_pos, target[..., :3], turn))
    if precise:
        features += _reached(task, obs, moves)
    move = np.clip(np.concatenate(features, axis=-1), -_CLIP, _CLIP)
    return np.concatenate([build_part_features(task, obs, precise), move], axis=-1)


def _reached(task: TaskSpec, obs: Array, moves: list[tuple[Array, Array, Array]]) -> list[Array]:
    """Each pair's child in its goal after each hand's move of what it may hold.

    A move is from (..., 3) m to (..., 3) m, turning by R (..., 3, 3).
    """
    features: list[Array] = []
    for pair in task.pairs:
        before = {name: body_pose(task, obs, name) for name in (pair.child, pair.parent)}
        for start, end, turn in moves:
            for body in _handled(task, pair):
                pos, rot = before[body]
                moved = end + (turn @ (pos - start)[..., None])[..., 0], turn @ rot
                after = before | {body: moved}
                tip, rel_rot = _pose_in_goal(pair, after[pair.child], after[pair.parent])
                features += [tip / _FINE_M, *_precisely(tip, rel_rot)]
    return features


def _precisely(tip_in_hole: Array, rel_rot: Array) -> tuple[Array, Array]:
    """In the order of _PRECISE_FEATURES."""
    return tip_in_hole / _PRECISE_M, rel_rot[..., :2, 2] / _PRECISE_TILT


def build_part_features(task: TaskSpec, obs: Array, precise: bool = False) -> Array:
    """Each pair's child in its goal and in the hand: scaled to order one and clipped.

    What an action depends on, which a network otherwise has to learn as small differences of
    large numbers. Of several goals the one whose mouth is nearest to the part's tip. With
    several arms, child and parent in each hand.

    Args:
        task: Gives the pairs.
        obs: Raw state observation (..., D), SI.
        precise: Also the child in its goal to tenths of a millimetre.

    Returns:
        (..., F) in the order of ``part_feature_names``.
    """
    obs = np.asarray(obs, dtype=np.float64)
    in_goal = [pose_in_goal(task, pair, obs) for pair in task.pairs]
    features = [
        _pair_features(task, pair, obs, *pose)
        for pair, pose in zip(task.pairs, in_goal, strict=True)
    ]
    if precise:
        features += [feature for pose in in_goal for feature in _precisely(*pose)]
    return np.clip(np.concatenate(features, axis=-1), -_CLIP, _CLIP)


def pose_in_goal(task: TaskSpec, pair: AssembledPair, obs: Array) -> tuple[Array, Array]:
    """Where a pair's child is, seen from the goal that it is nearest to.

    Args:
        task: Says where in the observation the bodies are.
        pair: The pair.
        obs: Raw state observation (..., D), SI.

    Returns:
        The tip (..., 3) m from the mouth, z positive outside; R (..., 3, 3) of child in goal.
    """
    return _pose_in_goal(pair, body_pose(task, obs, pair.child), body_pose(task, obs, pair.parent))


def _pose_in_goal(
    pair: AssembledPair, child: tuple[Array, Array], parent: tuple[Array, Array]
) -> tuple[Array, Array]:
    """As pose_in_goal, of poses: position (..., 3) m, R (..., 3, 3)."""
    (part_pos, part_rot), (parent_pos, parent_rot) = child, parent
    to_parent = parent_rot.swapaxes(-1, -2)
    tip = part_pos + (part_rot @ np.asarray(pair.tip)[:, None])[..., 0]
    tip = (to_parent @ (tip - parent_pos)[..., None])[..., 0]
    goal_pos, goal_rot = goal_poses(pair)
    entering = np.asarray(pair.tip) + np.array([0.0, 0.0, pair.depth])
    mouths = goal_pos + (goal_rot @ entering[:, None])[..., 0]
    in_parent = to_parent @ part_rot
    away = np.linalg.norm(tip[..., None, :] - mouths, axis=-1)
    # goals at one place differ by rotation: a whole turn counts as some millimetres
    cosines = (in_parent[..., None, :, :] * goal_rot).sum((-1, -2))
    nearest = np.argmin(away - 0.001 * cosines, axis=-1)
    to_goal = goal_rot[nearest].swapaxes(-1, -2)
    tip_in_hole = (to_goal @ (tip - mouths[nearest])[..., None])[..., 0]
    return tip_in_hole, to_goal @ in_parent


def _pair_features(
    task: TaskSpec, pair: AssembledPair, obs: Array, tip_in_hole: Array, rel_rot: Array
) -> Array:
    yaw = np.arctan2(rel_rot[..., 1, 0], rel_rot[..., 0, 0])
    features = [
        tip_in_hole / _COARSE_M,
        tip_in_hole / _FINE_M,
        rel_rot[..., :2, 2] / 0.1,
        np.stack([np.cos(yaw), np.sin(yaw)], axis=-1),
    ]
    for arm in range(len(task.arms)):
        for body in _handled(task, pair):
            features += _in_hand(*hand_pose(obs, arm), *body_pose(task, obs, body))
    return np.concatenate(features, axis=-1)


def _in_hand(ee_pos: Array, ee_rot: Array, part_pos: Array, part_rot: Array) -> list[Array]:
    """A part (..., 3) m, (..., 3, 3) seen from a hand, in the order of _HAND_FEATURES."""
    to_hand = ee_rot.swapaxes(-1, -2)
    in_hand = (to_hand @ (part_pos - ee_pos)[..., None])[..., 0]
    hand_in_part = part_rot.swapaxes(-1, -2) @ ee_rot
    # fingers close along y of the hand; a square part looks the same every quarter turn
    grasp = 4.0 * np.arctan2(hand_in_part[..., 1, 1], hand_in_part[..., 0, 1])
    return [
        in_hand / _COARSE_M,
        in_hand / _FINE_M,
        (to_hand @ part_rot[..., :, 2:])[..., 0],
        np.stack([np.cos(grasp), np.sin(grasp)], axis=-1),
    ]
