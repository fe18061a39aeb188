# SPDX-License-Identifier: Apache-2.0
"""Rotations: round trips, group axioms, one quaternion per rotation."""

import mujoco
import numpy as np
import pytest

from resip_ros.core import geometry as geo

CLOSE = {"rtol": 0, "atol": 1e-12}


def test_matrices_are_rotations(rotations):
    identity = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.swapaxes(-1, -2), identity, **CLOSE)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, **CLOSE)


def test_quaternion_matches_mujoco(rng):
    quats = rng.normal(size=(50, 4))
    quats /= np.linalg.norm(quats, axis=-1, keepdims=True)
    for quat, rot in zip(quats, geo.quat_wxyz_to_matrix(quats), strict=True):
        expected = np.zeros(9)
        mujoco.mju_quat2Mat(expected, quat)
        np.testing.assert_allclose(rot.ravel(), expected, **CLOSE)


@pytest.mark.parametrize(
    ("encode", "decode"),
    [
        (geo.matrix_to_quat_wxyz, geo.quat_wxyz_to_matrix),
        (geo.matrix_to_quat_xyzw, geo.quat_xyzw_to_matrix),
        (geo.matrix_to_rotvec, geo.rotvec_to_matrix),
        (geo.matrix_to_rot6d, geo.rot6d_to_matrix),
    ],
)
def test_round_trip(encode, decode, rotations):
    np.testing.assert_allclose(decode(encode(rotations)), rotations, rtol=0, atol=1e-9)
    batched = rotations[:24].reshape(2, 12, 3, 3)
    np.testing.assert_array_equal(encode(batched).reshape(24, -1), encode(rotations[:24]))


def test_scalar_part_is_not_negative(rotations):
    wxyz, xyzw = geo.matrix_to_quat_wxyz(rotations), geo.matrix_to_quat_xyzw(rotations)
    assert (wxyz[:, 0] >= 0).all()
    np.testing.assert_array_equal(xyzw[:, 3], wxyz[:, 0])
    np.testing.assert_array_equal(xyzw[:, :3], wxyz[:, 1:])
    np.testing.assert_allclose(np.linalg.norm(xyzw, axis=-1), 1.0, **CLOSE)


def test_canonical_quaternion_is_one_of_the_two(rng):
    quat = rng.normal(size=(100, 4))
    canonical = geo.canonical_quat_xyzw(quat)
    assert (canonical[:, 3] >= 0).all()
    np.testing.assert_array_equal(canonical, geo.canonical_quat_xyzw(-quat))
    np.testing.assert_array_equal(np.abs(canonical), np.abs(quat))


def test_quaternion_orders_are_inverse(rng):
    xyzw = rng.normal(size=(5, 4))
    np.testing.assert_array_equal(geo.quat_xyzw_to_wxyz([1.0, 2.0, 3.0, 4.0]), [4, 1, 2, 3])
    np.testing.assert_array_equal(geo.quat_wxyz_to_xyzw(geo.quat_xyzw_to_wxyz(xyzw)), xyzw)


def test_rotation_vectors_about_one_axis_add_and_negate(rng):
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    a, b = geo.rotvec_to_matrix(0.7 * axis), geo.rotvec_to_matrix(1.1 * axis)
    np.testing.assert_allclose(a @ b, geo.rotvec_to_matrix(1.8 * axis), **CLOSE)
    np.testing.assert_allclose(geo.rotvec_to_matrix(-0.7 * axis), a.T, **CLOSE)
    np.testing.assert_allclose(a @ axis, axis, **CLOSE)


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-14, 1e-9, 1e-4, np.pi - 1e-9])
def test_rotation_vector_of_any_size(size):
    vector = size * np.array([0.6, 0.0, 0.8])
    found = geo.matrix_to_rotvec(geo.rotvec_to_matrix(vector))
    np.testing.assert_allclose(found, vector, rtol=1e-9, atol=1e-300)


def test_rotation_z_turns_x_towards_y():
    turned = geo.rotation_z(np.array([0.0, np.pi / 2])) @ [1.0, 0.0, 0.0]
    np.testing.assert_allclose(turned, [[1, 0, 0], [0, 1, 0]], **CLOSE)


def test_rotation_angle(rotations):
    angles = np.array([0.0, 0.3, 3.0])
    np.testing.assert_allclose(geo.rotation_angle(geo.rotation_z(angles)), angles, **CLOSE)
    expected = np.arccos(np.clip((np.trace(rotations, axis1=1, axis2=2) - 1) / 2, -1, 1))
    np.testing.assert_allclose(geo.rotation_angle(rotations), expected, rtol=0, atol=1e-6)


def test_rot6d_is_the_first_two_rows(rotations):
    rot = rotations[0]
    np.testing.assert_array_equal(geo.matrix_to_rot6d(rot), [*rot[0], *rot[1]])


def test_gram_schmidt_keeps_the_first_row_and_the_plane(rng):
    rot6d = rng.normal(size=(100, 6)) * 3.0
    rot = geo.rot6d_to_matrix(rot6d)
    identity = np.broadcast_to(np.eye(3), rot.shape)
    np.testing.assert_allclose(rot @ rot.swapaxes(-1, -2), identity, **CLOSE)
    np.testing.assert_allclose(np.linalg.det(rot), 1.0, **CLOSE)
    first = rot6d[:, :3] / np.linalg.norm(rot6d[:, :3], axis=-1, keepdims=True)
    np.testing.assert_allclose(rot[:, 0], first, **CLOSE)
    assert ((rot[:, 1] * rot6d[:, 3:]).sum(-1) > 0).all()
    np.testing.assert_allclose((rot[:, 2] * rot6d[:, 3:]).sum(-1), 0.0, atol=1e-11)


def test_what_spans_no_rotation():
    angle = np.arcsin(0.1)
    slanted = [[np.cos(a), np.sin(a), 0.0] for a in (angle + 1e-6, angle - 1e-6)]
    cases = {
        (1, 0, 0, 0, 1, 0): True,
        (0.11, 0, 0, 0, 0.11, 0): True,
        (0.09, 0, 0, 0, 1, 0): False,
        (1, 0, 0, 0, 0.09, 0): False,
        (0, 0, 0, 0, 0, 0): False,
        (1, 0, 0, 1, 0, 0): False,
        (1, 0, 0, -2, 0, 0): False,
        (np.nan, 0, 0, 0, 1, 0): False,
        (1, 0, 0, 0, np.inf, 0): False,
        (1, 0, 0, *slanted[0]): True,
        (1, 0, 0, *slanted[1]): False,
    }
    with np.errstate(invalid="ignore"):
        found = geo.is_orthonormalisable(np.array(list(cases)))
    assert dict(zip(cases, found.tolist(), strict=True)) == cases


def test_norm_and_cross_are_numpys(rng):
    a, b = rng.normal(size=(2, 4, 5, 3))
    np.testing.assert_allclose(geo.norm(a), np.linalg.norm(a, axis=-1), rtol=1e-15)
    np.testing.assert_array_equal(geo.cross(a, b[0]), np.cross(a, b[0]))


@pytest.mark.parametrize("angle", [0.0, 1e-14, 1e-8, 0.1, 2.09, 2.1, 3.0, np.pi - 1e-7])
def test_rotation_vectors_to_twelve_digits_at_every_angle(rng, angle):
    """Small ones and half turns too; what a row gives does not depend on the others."""
    axis = rng.normal(size=(50, 3))
    rotvec = angle * axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    rot = geo.rotvec_to_matrix(rotvec)
    found = geo.matrix_to_rotvec(rot)
    np.testing.assert_allclose(found, rotvec, rtol=0, atol=1e-14 + 1e-12 * angle)
    np.testing.assert_allclose(geo.rotation_angle(rot), angle, rtol=1e-12, atol=1e-14)
    half_turn = np.diag([1.0, -1.0, -1.0])
    mixed = geo.matrix_to_rotvec(np.concatenate([rot, half_turn[None]]))
    np.testing.assert_array_equal(mixed[:-1], found)
