# SPDX-License-Identifier: Apache-2.0
"""Cubic segments: end conditions, continuity, rest after the end, stopping distance."""

import numpy as np
import pytest

from resip_ros.core.interpolation import Segment, stopping_segment


@pytest.fixture
def segment(rng):
    return Segment(*rng.normal(size=(4, 3, 7)), duration_s=0.1)


def test_end_conditions(segment):
    q, dq = segment.sample(np.array([0.0, 0.1]))
    assert q.shape == dq.shape == (3, 2, 7)
    np.testing.assert_allclose(q[:, 0], segment.q_start, atol=1e-12)
    np.testing.assert_allclose(dq[:, 0], segment.dq_start, atol=1e-12)
    np.testing.assert_allclose(q[:, 1], segment.q_end, atol=1e-12)
    np.testing.assert_allclose(dq[:, 1], segment.dq_end, atol=1e-12)


def test_velocity_is_the_derivative_of_position(segment):
    times = np.linspace(0.001, 0.099, 50)
    step = 1e-6
    change = segment.sample(times + step)[0] - segment.sample(times - step)[0]
    np.testing.assert_allclose(segment.sample(times)[1], change / (2 * step), atol=1e-5)


def test_rests_past_the_end(segment):
    q, dq = segment.sample(np.array([0.1 + 1e-9, 0.15, 10.0]))
    np.testing.assert_array_equal(q, np.repeat(segment.q_end[:, None], 3, axis=1))
    np.testing.assert_array_equal(dq, 0.0)


def test_consecutive_segments_join_smoothly(segment, rng):
    following = Segment(segment.q_end, segment.dq_end, *rng.normal(size=(2, 3, 7)), 0.1)
    q, dq = segment.sample(np.array([0.1 - 1e-9]))
    q_next, dq_next = following.sample(np.array([0.0]))
    np.testing.assert_allclose(q, q_next, atol=1e-6)
    np.testing.assert_allclose(dq, dq_next, atol=1e-5)


def test_steady_motion_stays_steady():
    speed = np.full((1, 7), 0.5)
    segment = Segment(np.zeros((1, 7)), speed, 0.1 * speed, speed, 0.1)
    times = np.linspace(0.0, 0.1, 11)
    q, dq = segment.sample(times)
    np.testing.assert_allclose(q[0], 0.5 * times[:, None] * np.ones(7), atol=1e-12)
    np.testing.assert_allclose(dq, 0.5, atol=1e-12)


def test_stop_decelerates_evenly_over_half_the_distance(rng):
    start, speed = rng.normal(size=(2, 4, 7))
    stop = stopping_segment(start, speed, 0.2)
    np.testing.assert_allclose(stop.q_end - start, 0.1 * speed, atol=1e-12)
    times = np.linspace(0.0, 0.2, 21)
    dq = stop.sample(times)[1]
    np.testing.assert_allclose(dq, speed[:, None] * (1 - times / 0.2)[None, :, None], atol=1e-12)
