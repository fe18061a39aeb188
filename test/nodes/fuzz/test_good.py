# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.action import action_names
from resip_ros.core.errors import DataError
from resip_ros.core.tasks import get_task
from resip_ros.core.teleop import decode_teleop
from resip_ros.nodes import topics
from resip_ros.nodes.fuzz.good import GoodMessages
from resip_ros.nodes.fuzz.subjects import tag_picture

pytestmark = pytest.mark.ros
NOW_NS = 10**9


@pytest.mark.parametrize("name", ["one_leg", "biman_insert"])
def test_good_messages_are_what_their_readers_take(rng, name):
    task = get_task(name)
    good, names = GoodMessages(task, tag_picture()), action_names(task)
    message = good.make(rng, f"/fr3/{topics.NET_ACTION}", JointTrajectory, NOW_NS)
    assert len(messages.decode_action_message(message, task.rate_hz, names)[1]) == len(names)
    chunk = good.make(rng, f"/fr3/{topics.ACTION_CHUNK}", JointTrajectory, NOW_NS)
    assert len(messages.decode_chunk(chunk, task.rate_hz, names).actions) == 8
    report = good.make(rng, f"/fr3/{topics.EPISODE_REPORT}", String, NOW_NS)
    assert events.parse_report(report.data).counts
    teleop = good.make(rng, f"/fr3/{topics.TELEOP_ACTION}", JointTrajectory, NOW_NS)
    assert decode_teleop(teleop, task.rate_hz)[0] == NOW_NS


def test_some_messages_are_good_and_others_are_not(rng):
    good, refused = GoodMessages(get_task("one_leg"), tag_picture()), 0
    for _ in range(100):
        try:
            messages.decode_image(good.fuzzed(rng, "/fr3/front/color/image_raw", Image, NOW_NS))
        except DataError:
            refused += 1
    assert 20 < refused < 90


def test_the_picture_shows_the_tag():
    family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    _, numbers, _ = cv2.aruco.ArucoDetector(family).detectMarkers(tag_picture()[..., 0])
    assert np.ravel(numbers).tolist() == [0]
