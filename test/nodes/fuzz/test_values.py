# SPDX-License-Identifier: Apache-2.0
import copy
import json
from array import array

import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core.tasks import get_task
from resip_ros.nodes.fuzz.good import action_message
from resip_ros.nodes.fuzz.values import mutate, pick, random_json, random_parameter, random_text

pytestmark = pytest.mark.ros
ACTION = action_message(get_task("one_leg"), 10**9, np.tile(np.arange(10.0), (8, 1)))


@pytest.mark.parametrize("kind", [JointTrajectory, Float64MultiArray, String])
def test_every_mutation_can_be_sent(rng, kind):
    message = kind() if kind is not JointTrajectory else ACTION
    for _ in range(500):
        message = mutate(rng, message) if rng.random() < 0.9 else kind()
        deserialize_message(serialize_message(message), kind)


def test_mutations_reach_every_place_and_leave_the_original(rng):
    before = copy.deepcopy(ACTION)
    wrong = [mutate(rng, ACTION) for _ in range(1000)]
    assert before == ACTION
    assert {len(w.joint_names) for w in wrong} >= {0, 5, 10, 20}
    assert {len(w.points) for w in wrong} >= {0, 4, 8, 16}
    values = np.concatenate([p.positions for w in wrong for p in w.points])
    assert np.isnan(values).any()
    assert np.isinf(values).any()
    assert any(w.header.stamp.sec < 0 for w in wrong)
    assert any(w.header.frame_id == "gripper" for w in wrong)


def test_texts_and_parameters_are_of_every_kind(rng):
    texts = [random_text(rng) for _ in range(300)]
    assert any(text.startswith("[[[[") for text in texts)
    assert any(len(text) > 60_000 for text in [*texts, *(random_text(rng) for _ in range(3000))])
    json.dumps([random_json(rng, 3) for _ in range(100)])
    types = {random_parameter(rng, ["seed"]).type_ for _ in range(500)}
    assert types >= set(Parameter.Type) - {Parameter.Type.BYTE_ARRAY}


def test_pictures_are_spoiled_quickly_and_stay_arrays(rng):
    picture = Image(height=480, width=640, data=array("B", bytes(480 * 640 * 3)))
    sizes = {len(mutate(rng, picture).data) for _ in range(200)}
    assert len(sizes) > 5
    assert picture.data == array("B", bytes(480 * 640 * 3))


def test_a_zero_is_picked_as_it_is(rng):
    assert pick(rng, ["\x00"]) == "\x00"
