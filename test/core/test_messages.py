# SPDX-License-Identifier: Apache-2.0
import contextlib
from types import SimpleNamespace as Msg

import numpy as np
import pytest

from resip_ros.core import messages
from resip_ros.core.action import ACTION_NAMES
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.errors import DataError, UnsafeCommand


def new_header():
    return Msg(stamp=Msg(sec=0, nanosec=0), frame_id="")


def new_point():
    return Msg(positions=[], time_from_start=Msg(sec=0, nanosec=0))


def new_trajectory():
    return Msg(header=new_header(), joint_names=[], points=[])


def encoded_chunk(steps=8):
    chunk = ActionChunk(7_123_456_789, np.random.default_rng(1).normal(size=(steps, 10)), 10.0)
    message = new_trajectory()
    messages.fill_chunk_inplace(message, chunk, new_point)
    return chunk, message


def test_chunk_round_trip_is_exact():
    chunk, message = encoded_chunk()
    back = messages.decode_chunk(message, 10.0)
    assert back.stamp_ns == chunk.stamp_ns
    np.testing.assert_array_equal(back.actions, chunk.actions)
    assert message.points[2].time_from_start.nanosec == 300_000_000
    assert tuple(message.joint_names) == ACTION_NAMES


def test_action_message_holds_exactly_one_point():
    chunk, message = encoded_chunk(1)
    stamp, action = messages.decode_action_message(message, 10.0)
    assert stamp == chunk.stamp_ns
    np.testing.assert_array_equal(action, chunk.actions[0])
    with pytest.raises(UnsafeCommand, match="2 points"):
        messages.decode_action_message(encoded_chunk(2)[1], 10.0)


def rename(m):
    m.joint_names = m.joint_names[::-1]


def shorten(m):
    m.points[3].positions = m.points[3].positions[:9]


def poison(m):
    m.points[0].positions[4] = float("inf")


def empty(m):
    m.points = []


def retime(m):
    m.points[1].time_from_start.nanosec += 1


def reframe(m):
    m.header.frame_id = "world"


def test_a_chunk_says_when_it_begins():
    actions = np.random.default_rng(1).normal(size=(8, 10))
    message = Msg(header=new_header())
    messages.fill_chunk_inplace(message, ActionChunk(500_000_000, actions, 10.0, 2), new_point)
    assert messages.stamp_to_ns(message.points[0].time_from_start) == 300_000_000
    back = messages.decode_chunk(message, 10.0)
    assert (back.stamp_ns, back.begin_step) == (500_000_000, 2)
    np.testing.assert_array_equal(back.actions, actions)
    message.points = message.points[:1]
    with pytest.raises(UnsafeCommand, match="expected 100000000"):
        messages.decode_action_message(message, 10.0)


@pytest.mark.parametrize("damage", [rename, shorten, poison, empty, retime, reframe])
def test_damaged_chunk_is_unsafe(damage):
    _, message = encoded_chunk()
    damage(message)
    with pytest.raises(UnsafeCommand, match=r"expected|finite"):
        messages.decode_chunk(message, 10.0)


@pytest.mark.parametrize("time_ns", [0, 999_999_999, 1_000_000_000, 2**31 * 1_000_000_000 + 5])
def test_stamp_round_trip(time_ns):
    stamp = Msg(sec=0, nanosec=0)
    messages.fill_stamp_inplace(stamp, time_ns)
    assert messages.stamp_to_ns(stamp) == time_ns
    assert 0 <= stamp.nanosec < 1_000_000_000


def pose_message(values):
    message = Msg(header=new_header(), pose=Msg(position=Msg(), orientation=Msg()))
    messages.fill_header_inplace(message.header, 5, messages.BASE_FRAME)
    messages.fill_pose_inplace(message.pose, values)
    return message


def test_pose_round_trip_and_checks():
    values = np.array([0.1, -0.2, 0.3, 0.5, -0.5, 0.5, 0.5])
    np.testing.assert_array_equal(messages.decode_pose(pose_message(values))[1], values)
    with pytest.raises(DataError, match="norm"):
        messages.decode_pose(pose_message(values * 1.1))
    with pytest.raises(DataError, match="finite"):
        messages.decode_pose(pose_message(values * np.nan))
    with pytest.raises(DataError, match="frame"):
        messages.decode_pose(pose_message(values), frame="tag")
    for place, is_good in ((100.0, True), (-100.1, False)):
        values[1] = place
        with contextlib.nullcontext() if is_good else pytest.raises(DataError, match="in metres"):
            messages.decode_pose(pose_message(values))


def test_joints_are_found_by_name():
    message = Msg(header=new_header())
    names = [*messages.FINGER_JOINTS, *reversed(messages.ARM_JOINTS)]
    messages.fill_joint_state_inplace(message, 3, names, np.arange(9.0), np.arange(9.0) / 2)
    stamp, q, dq = messages.decode_joint_state(message, messages.ARM_JOINTS)
    assert stamp == 3
    np.testing.assert_array_equal(q, [8, 7, 6, 5, 4, 3, 2])
    np.testing.assert_array_equal(dq, q / 2)
    with pytest.raises(DataError, match="lacks"):
        messages.decode_joint_state(message, ["fr3_joint8"])


def test_twist_is_decoded():
    message = Msg(header=new_header(), twist=Msg(linear=Msg(), angular=Msg()))
    messages.fill_header_inplace(message.header, 9, messages.BASE_FRAME)
    messages.fill_vector_inplace(message.twist.linear, np.array([1.0, 2.0, 3.0]))
    messages.fill_vector_inplace(message.twist.angular, np.array([4.0, 5.0, 6.0]))
    stamp, lin, ang = messages.decode_twist(message)
    assert stamp == 9
    np.testing.assert_array_equal(np.r_[lin, ang], np.arange(1.0, 7.0))


def test_image_round_trip_padding_and_bgr():
    image = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    message = Msg(header=new_header())
    messages.fill_image_inplace(message, 11, "front_color_optical_frame", image)
    np.testing.assert_array_equal(messages.decode_image(message)[1], image)
    message.encoding = "bgr8"
    np.testing.assert_array_equal(messages.decode_image(message)[1], image[..., ::-1])
    padded = np.zeros((4, 20), dtype=np.uint8)
    padded[:, :18] = image.reshape(4, 18)
    message.encoding, message.step, message.data = "rgb8", 20, padded.tobytes()
    np.testing.assert_array_equal(messages.decode_image(message)[1], image)
    huge = Msg(header=new_header())
    messages.fill_image_inplace(huge, 0, "x", np.zeros((1, 65_501, 3), np.uint8))
    with pytest.raises(DataError, match="at most 65500"):
        messages.decode_image(huge)
    message.encoding = "mono8"
    with pytest.raises(DataError, match="encoding"):
        messages.decode_image(message)
    with pytest.raises(DataError, match="uint8"):
        messages.fill_image_inplace(message, 0, "x", image.astype(np.float32))
