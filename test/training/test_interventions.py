# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.bags import layout
from resip_ros.bags.layout import Topic
from resip_ros.bags.reader import Bag
from resip_ros.bags.writer import BagWriter
from resip_ros.core.errors import DataError
from resip_ros.core.events import TeleopActive
from training.interventions import read_interventions

STAMPS = [1000, 2000, 3000, 4000, 5000]


@pytest.fixture
def read(tmp_path):
    def read(*texts):
        store, topic = layout.type_store(), Topic(layout.TELEOP_ACTIVE, "std_msgs/msg/String")
        writer = BagWriter(tmp_path / "bag")
        for i, text in enumerate(texts):
            message = store.types[topic.msgtype](data=text)
            writer.write(topic, i, bytes(store.serialize_cdr(message, topic.msgtype)))
        writer.write(Topic("/fr3/other", topic.msgtype), 99, b"")
        writer.finish()
        with Bag(tmp_path / "bag") as bag:
            return read_interventions(bag, STAMPS).tolist()

    return read


def test_from_the_first_action_of_the_operator_to_the_first_of_the_policy(read):
    changes = [TeleopActive(True, 2000), TeleopActive(False, 4000), TeleopActive(True, 4500)]
    assert read(*(c.to_json() for c in changes)) == [False, True, True, False, True]


def test_nobody_intervened(read):
    assert read() == [False] * 5


def test_what_was_told_before_the_episode_does_not_count(read):
    assert read(TeleopActive(True, 999).to_json()) == [False] * 5


@pytest.mark.parametrize("text", ["no JSON", '{"active": 1, "stamp_ns": 2}', '{"active": true}'])
def test_malformed_messages_are_named_with_topic_and_time(read, text):
    with pytest.raises(DataError, match="/fr3/teleop/active at 0.000 s"):
        read(text)
