# SPDX-License-Identifier: Apache-2.0
import pytest
import yaml
from rosbags.rosbag2.metadata import parse_qos

from resip_ros.bags import layout
from resip_ros.core.errors import DataError


def test_metadata_and_channel_offer_the_same(notes):
    """rosbag2 readers look a channel up by what both say about it."""
    for topic in (notes.topic, notes.active):
        document = layout.metadata_document("a.mcap", [(topic, 3)], 5, 9)
        (entry,) = document["rosbag2_bagfile_information"]["topics_with_message_count"]
        text = layout.channel_metadata(topic)["offered_qos_profiles"]
        assert parse_qos(entry["topic_metadata"]["offered_qos_profiles"]) == parse_qos(text)
        assert yaml.safe_load(text)[0]["durability"] == (
            "transient_local" if topic.latched else "volatile"
        )


def test_unknown_type_is_named():
    assert layout.is_known("sensor_msgs/msg/JointState")
    assert not layout.is_known("my_msgs/msg/Thing")
    with pytest.raises(DataError, match="my_msgs/msg/Thing"):
        layout.definition_of("my_msgs/msg/Thing")
