# SPDX-License-Identifier: Apache-2.0
"""Observations: layout, one quaternion per rotation, features that know no world frame."""

import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import (
    canonical_quat_xyzw,
    matrix_to_quat_xyzw,
    rotation_z,
    rotvec_to_matrix,
)
from resip_ros.core.observation import (
    PROPRIO_DIM,
    PROPRIO_NAMES,
    body_pose,
    build_proprioception,
    build_relative_features,
    build_state_observation,
    hand_pose,
    observation_names,
    relative_feature_names,
)
from resip_ros.core.tasks import BIMAN_INSERT, ONE_LEG

NAMES = observation_names(ONE_LEG)
FEATURES = [name.removeprefix("leg4_") for name in relative_feature_names(ONE_LEG)]
HOLE = np.array([-0.05625, 0.05625, 0.015625])
TIP_M = 0.05625


def _proprio(pos, rot, width=0.05):
    zero = np.zeros(np.shape(pos))
    return build_proprioception(pos, rot, zero, zero, np.full(np.shape(pos)[:-1], width))


def _poses(**moved):
    still = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    return {name: moved.get(name, still) for name in ONE_LEG.observed}


def _pose(pos, rot):
    return np.concatenate([pos, matrix_to_quat_xyzw(rot)], axis=-1)


def _features(top, leg, hand, action, names):
    """Values of the named features for poses given as pairs (position, R)."""
    poses = _poses(top=_pose(*top), leg4=_pose(*leg))
    obs = build_state_observation(ONE_LEG, _proprio(*hand), poses)
    values = build_relative_features(ONE_LEG, obs, encode_action(*action, np.array(1.0)))
    return np.array([values[FEATURES.index(name)] for name in names])


@pytest.fixture
def scene(rng):
    """Top, leg near a hole, hand at the leg, action near the hand: no feature is clipped."""
    top = np.array([0.5, 0.1, 0.0156]), rotation_z(np.array(0.3))
    tilt = rotvec_to_matrix(np.array([0.05, -0.08, 0.6]))
    leg_rot = top[1] @ tilt
    tip = top[0] + top[1] @ (HOLE + np.array([0.004, -0.003, 0.01]))
    leg = tip + TIP_M * leg_rot[:, 2], leg_rot
    hand = leg[0] + [0.005, 0.003, 0.01], rotvec_to_matrix(np.array([0.1, 0.2, 2.0]))
    action = hand[0] + [0.01, -0.02, 0.005], rotvec_to_matrix(np.array([0.1, 0, 0.1])) @ hand[1]
    return top, leg, hand, action


def test_names_are_the_layout():
    assert len(NAMES) == len(set(NAMES)) == 58
    assert NAMES[:16] == PROPRIO_NAMES
    assert PROPRIO_DIM == 16
    assert NAMES[16:23] == tuple(f"top_{a}" for a in ("x", "y", "z", "qx", "qy", "qz", "qw"))
    assert NAMES[44:51] == tuple(f"leg4_{a}" for a in ("x", "y", "z", "qx", "qy", "qz", "qw"))
    assert NAMES[51] == "fixture_x"


def test_blocks_are_where_their_names_say(rng):
    poses = {}
    for i, name in enumerate(ONE_LEG.observed):
        poses[name] = np.append([i, i + 0.1, i + 0.2], canonical_quat_xyzw(rng.normal(size=4)))
    pos, rot = np.array([1.0, 2.0, 3.0]), rotvec_to_matrix(rng.normal(size=3))
    proprio = build_proprioception(pos, rot, 10 + pos, 20 + pos, np.array(0.04))
    obs = dict(zip(NAMES, build_state_observation(ONE_LEG, proprio, poses), strict=True))
    assert [obs[f"ee_{a}"] for a in "xyz"] == [1, 2, 3]
    assert [obs[f"ee_r6d_{i}"] for i in range(6)] == rot[:2].ravel().tolist()
    assert [obs[f"ee_v{a}"] for a in "xyz"] == [11, 12, 13]
    assert [obs[f"ee_w{a}"] for a in "xyz"] == [21, 22, 23]
    assert obs["gripper_width"] == 0.04
    for name, pose in poses.items():
        axes = ("x", "y", "z", "qx", "qy", "qz", "qw")
        assert [obs[f"{name}_{a}"] for a in axes] == pose.tolist()


def test_both_quaternions_of_a_rotation_give_one_observation(rng):
    pose = np.append([0.1, 0.2, 0.3], rng.normal(size=4))
    other = np.append(pose[:3], -pose[3:])
    proprio = _proprio(np.zeros(3), np.eye(3))
    one, two = (build_state_observation(ONE_LEG, proprio, _poses(leg4=p)) for p in (pose, other))
    np.testing.assert_array_equal(one, two)
    assert one[NAMES.index("leg4_qw")] >= 0


def test_body_pose_reads_what_was_built(rng):
    rot = rotvec_to_matrix(rng.normal(size=(5, 3)))
    pos = rng.normal(size=(5, 3))
    poses = {name: np.tile(pose, (5, 1)) for name, pose in _poses().items()}
    poses["leg2"] = _pose(pos, rot)
    proprio = _proprio(np.zeros((5, 3)), np.tile(np.eye(3), (5, 1, 1)))
    found, found_rot = body_pose(ONE_LEG, build_state_observation(ONE_LEG, proprio, poses), "leg2")
    np.testing.assert_array_equal(found, pos)
    np.testing.assert_allclose(found_rot, rot, atol=1e-12)


def test_missing_poses_are_named():
    poses = _poses()
    del poses["leg3"], poses["fixture"]
    with pytest.raises(DataError, match="no pose for leg3, fixture"):
        build_state_observation(ONE_LEG, np.zeros(16), poses)


def _moved(scene, rot, offset):
    return [(rot @ pos + offset, rot @ turned) for pos, turned in scene]


def test_features_do_not_change_when_everything_moves_together(scene):
    """Base moves are in the base frame, as the action is: those turn with it."""
    turn, offset = rotation_z(np.array(0.8)), np.array([0.03, -0.2, 0.0])
    inner = [n for n in FEATURES if not n.startswith(("base_", "tilt", "yaw"))]
    near = ["tilt_x", "tilt_y", "yaw_cos", "yaw_sin"]
    before = _features(*scene, [*inner, *near])
    after = _features(*_moved(scene, turn, offset), [*inner, *near])
    assert np.abs(before).max() <= 3.0
    np.testing.assert_allclose(after, before, atol=1e-9)
    for kind in ("move", "turn"):
        names = [f"base_{kind}_{axis}" for axis in "xyz"]
        turned = turn @ _features(*scene, names)
        np.testing.assert_allclose(
            _features(*_moved(scene, turn, offset), names), turned, atol=1e-9
        )


@pytest.mark.parametrize("corner", [(-1, -1), (-1, 1), (1, -1), (1, 1)])
def test_tip_is_measured_from_the_nearest_hole(corner):
    top = np.array([0.5, 0.1, 0.0156]), rotation_z(np.array(0.3))
    error = np.array([0.002, -0.001, 0.003])
    mouth = HOLE * [-corner[0], corner[1], 1.0]
    leg = top[0] + top[1] @ (mouth + error + [0, 0, TIP_M]), top[1]
    hand = leg[0], np.eye(3)
    for scale, name in ((0.05, "coarse"), (0.005, "fine")):
        names = [f"tip_in_hole_{name}_{axis}" for axis in "xyz"]
        np.testing.assert_allclose(
            _features(top, leg, hand, hand, names), error / scale, atol=1e-9
        )


def test_seated_leg_has_identity_features(scene):
    top = scene[0]
    leg = top[0] + top[1] @ (HOLE * [1, 1, 0] + [0, 0, 0.046875]), top[1]
    names = ["tilt_x", "tilt_y", "yaw_cos", "yaw_sin", "tip_in_hole_coarse_z"]
    found = _features(top, leg, leg, leg, names)
    np.testing.assert_allclose(found, [0, 0, 1, 0, -0.5], atol=1e-9)


def test_base_move_is_the_target_from_the_hand(scene):
    top, leg, hand, _ = scene
    target = hand[0] + [0.01, 0.02, -0.005], rotvec_to_matrix(np.array([0, 0, 0.05])) @ hand[1]
    names = [f"base_{kind}_{axis}" for kind in ("move", "turn") for axis in "xyz"]
    found = _features(top, leg, hand, target, names)
    np.testing.assert_allclose(found, [1, 2, -0.5, 0, 0, 0.5], atol=1e-9)
    np.testing.assert_allclose(_features(top, leg, hand, hand, names), 0.0, atol=1e-9)


def test_grasp_looks_the_same_every_quarter_turn(scene):
    top, leg, hand, action = scene
    names = ["grasp_yaw4_cos", "grasp_yaw4_sin"]
    down = leg[1] @ np.diag([1.0, -1.0, -1.0])
    turns = [leg[1] @ rotation_z(np.array(k * np.pi / 2)) @ leg[1].T @ down for k in range(4)]
    found = [_features(top, leg, (hand[0], rot), action, names) for rot in turns]
    np.testing.assert_allclose(found, np.tile(found[0], (4, 1)), atol=1e-9)
    oblique = leg[1] @ rotation_z(np.array(np.pi / 4)) @ leg[1].T @ down
    np.testing.assert_allclose(
        _features(top, leg, (hand[0], oblique), action, names), -found[0], atol=1e-9
    )


def test_features_are_clipped_and_batched(scene, rng):
    top, leg, hand, action = scene
    one = build_state_observation(
        ONE_LEG, _proprio(*hand), _poses(top=_pose(*top), leg4=_pose(*leg))
    )
    target = encode_action(*action, np.array(1.0))
    batch = build_relative_features(ONE_LEG, np.tile(one, (2, 3, 1)), np.tile(target, (2, 3, 1)))
    assert batch.shape == (2, 3, len(FEATURES))
    assert len(set(FEATURES)) == len(FEATURES)
    np.testing.assert_allclose(batch[1, 2], build_relative_features(ONE_LEG, one, target))
    far = target.copy()
    far[:3] += [10.0, -10.0, 0.0]
    clipped = build_relative_features(ONE_LEG, one, far)
    assert clipped[FEATURES.index("base_move_x")] == 3.0
    assert clipped[FEATURES.index("base_move_y")] == -3.0


def _precise(top, leg, hand, action):
    obs = build_state_observation(
        ONE_LEG, _proprio(*hand), _poses(top=_pose(*top), leg4=_pose(*leg))
    )
    values = build_relative_features(ONE_LEG, obs, encode_action(*action, np.array(1.0)), True)
    return dict(zip(relative_feature_names(ONE_LEG, True), values, strict=True))


def test_precise_features_tell_tenths_of_a_millimetre():
    top = np.array([0.5, 0.1, 0.0156]), rotation_z(np.array(0.3))
    error = np.array([0.0004, -0.0011, 0.0025])
    tilt = rotvec_to_matrix(np.array([0.01, -0.02, 0.0]))
    leg_rot = top[1] @ tilt
    leg = top[0] + top[1] @ (HOLE + error) + TIP_M * leg_rot[:, 2], leg_rot
    found = _precise(top, leg, leg, leg)
    tip = [found[f"leg4_tip_in_hole_precise_{a}"] for a in "xyz"]
    np.testing.assert_allclose(tip, error / 0.001, atol=1e-9)
    np.testing.assert_allclose(
        [found[f"leg4_tilt_precise_{a}"] for a in "xy"], tilt[:2, 2] / 0.02, atol=1e-9
    )


def test_reach_features_tell_where_the_base_brings_the_part(scene):
    """They are those of the part where the hand would have carried it."""
    top, leg, hand, action = scene
    action = (
        hand[0] + [0.004, -0.003, -0.008],
        rotvec_to_matrix(np.array([0.02, 0, 0.1])) @ hand[1],
    )
    found = _precise(top, leg, hand, action)
    grasped = hand[1].T @ (leg[0] - hand[0]), hand[1].T @ leg[1]
    carried = action[0] + action[1] @ grasped[0], action[1] @ grasped[1]
    there = _precise(top, carried, action, action)
    names = [f"tip_in_hole_{kind}_{a}" for kind in ("fine", "precise") for a in "xyz"]
    names += ["tilt_precise_x", "tilt_precise_y"]
    np.testing.assert_allclose(
        [found[f"leg4_reach_leg4_{name}"] for name in names],
        [there[f"leg4_{name}"] for name in names],
        atol=1e-9,
    )
    assert found["leg4_tip_in_hole_fine_z"] - found["leg4_reach_leg4_tip_in_hole_fine_z"] > 1


def test_precise_features_come_beside_the_others(scene):
    top, leg, hand, action = scene
    plain = dict(zip(FEATURES, _features(top, leg, hand, action, FEATURES), strict=True))
    found = _precise(top, leg, hand, action)
    assert {name: found[f"leg4_{name}"] for name in plain if f"leg4_{name}" in found} == {
        name: value for name, value in plain.items() if not name.startswith("base_")
    }
    assert len(found) == len(FEATURES) + 5 + 8


def test_two_arms_have_their_blocks_and_features(rng):
    """Both parts in both hands, by the very functions that serve one arm."""
    names = observation_names(BIMAN_INSERT)
    assert len(names) == 46
    assert (names[0], names[16], names[32]) == ("left_ee_x", "right_ee_x", "plate_x")
    pos, rot = rng.normal(size=(4, 3)) * 0.05, rotvec_to_matrix(rng.normal(size=(4, 3)))
    poses = {"plate": _pose(pos[2], rot[2]), "receptacle": _pose(pos[3], rot[3])}
    obs = build_state_observation(BIMAN_INSERT, _proprio(pos[:2], rot[:2]).ravel(), poses)
    for arm in range(2):
        found = hand_pose(obs, arm)
        np.testing.assert_allclose(found[0], pos[arm])
        np.testing.assert_allclose(found[1], rot[arm], atol=1e-12)
    np.testing.assert_allclose(body_pose(BIMAN_INSERT, obs, "receptacle")[0], pos[3])
    target = pos[1] + [0.01, 0.02, -0.005]
    action = np.ravel([encode_action(pos[0], rot[0], 1.0), encode_action(target, rot[1], 1.0)])
    values = build_relative_features(BIMAN_INSERT, obs, action)
    feature = dict(zip(relative_feature_names(BIMAN_INSERT), values, strict=True))
    assert len(feature) == 10 + 4 * 11 + 12
    precise = build_relative_features(BIMAN_INSERT, obs, action, True)
    reached = dict(zip(relative_feature_names(BIMAN_INSERT, True), precise, strict=True))
    assert len(reached) == len(feature) + 5 + 4 * 8
    still = [f"tip_in_hole_fine_{a}" for a in "xyz"]
    for body in ("plate", "receptacle"):
        # the left hand's target is where it is
        np.testing.assert_allclose(
            [reached[f"plate_left_reach_{body}_{name}"] for name in still],
            [feature[f"plate_{name}"] for name in still],
        )
    assert [feature[f"left_base_move_{a}"] for a in "xyz"] == [0.0, 0.0, 0.0]
    np.testing.assert_allclose([feature[f"right_base_move_{a}"] for a in "xyz"], [1, 2, -0.5])
    for arm, hand in enumerate(("left", "right")):
        for body, part in (("plate", 2), ("receptacle", 3)):
            seen = rot[arm].T @ (pos[part] - pos[arm]) / 0.05
            coarse = [feature[f"{body}_{hand}_in_hand_coarse_{a}"] for a in "xyz"]
            np.testing.assert_allclose(coarse, np.clip(seen, -3, 3), atol=1e-9)
