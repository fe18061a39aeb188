# SPDX-License-Identifier: Apache-2.0
import copy
import json

import numpy as np
import pytest
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.nodes.fuzz.nodes import HOME, action_message, good_message
from resip_ros.nodes.fuzz.values import mutate, random_json, random_parameter, random_text

pytestmark = pytest.mark.ros
ACTION = action_message(10**9, np.tile(np.arange(10.0), (8, 1)))


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


def test_good_actions_stay_at_home(rng):
    message = good_message(rng, "/fr3/residual_policy/action", JointTrajectory, 10**9)
    assert len(message.points) == 1
    assert np.isfinite(message.points[0].positions).all()
    assert len(HOME) == 7
