# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import yaml
from mcap.reader import make_reader
from mcap_ros2.reader import read_ros2_messages
from rosbags.highlevel import AnyReader

from resip_ros.bags.layout import METADATA, NET_ACTION, Topic, type_store
from resip_ros.bags.reader import Bag
from resip_ros.bags.writer import BagWriter, is_being_written


def test_other_tools_read_the_same_messages(closed_bag):
    """The folder through rosbags with decoding, the file through mcap with its index."""
    with AnyReader([closed_bag]) as reader:
        texts = [reader.deserialize(raw, c.msgtype).data for c, _, raw in reader.messages()]
    assert texts == [str(i) for i in range(1000)]
    with (closed_bag / "first.mcap").open("rb") as stream:
        summary = make_reader(stream).get_summary()
    assert summary.statistics.message_count == 1000
    assert len(summary.chunk_indexes) == 10


def test_an_independent_decoder_reads_every_field_by_the_schemas_in_the_file(tmp_path):
    """mcap-ros2-support knows no type by itself: names, times and numbers come from the file."""
    store, kind = type_store(), "trajectory_msgs/msg/JointTrajectory"
    make = store.types
    actions = np.random.default_rng(0).normal(size=(5, 10))
    writer = BagWriter(tmp_path / "a")
    for number, action in enumerate(actions):
        stamp = make["builtin_interfaces/msg/Time"](sec=number, nanosec=7)
        empty = np.zeros(0)
        point = make["trajectory_msgs/msg/JointTrajectoryPoint"](
            positions=action,
            velocities=empty,
            accelerations=empty,
            effort=empty,
            time_from_start=make["builtin_interfaces/msg/Duration"](sec=0, nanosec=100_000_000),
        )
        header = make["std_msgs/msg/Header"](stamp=stamp, frame_id="fr3_link0")
        message = make[kind](header=header, joint_names=list("abcdefghij"), points=[point])
        data = bytes(store.serialize_cdr(message, kind))
        writer.write(Topic(NET_ACTION, kind), number * 100, data)
    writer.finish()
    found = list(read_ros2_messages(str(tmp_path / "a" / "a.mcap")))
    assert [f.log_time_ns for f in found] == [0, 100, 200, 300, 400]
    assert [f.channel.topic for f in found] == [NET_ACTION] * 5
    for number, (message, action) in enumerate(zip(found, actions, strict=True)):
        ros = message.ros_msg
        assert (ros.header.stamp.sec, ros.header.stamp.nanosec) == (number, 7)
        assert ros.header.frame_id == "fr3_link0"
        assert list(ros.joint_names) == list("abcdefghij")
        assert ros.points[0].time_from_start.nanosec == 100_000_000
        np.testing.assert_array_equal(np.array(ros.points[0].positions), action)


def test_metadata_states_counts_and_times(closed_bag):
    document = yaml.safe_load((closed_bag / METADATA).read_text())
    information = document["rosbag2_bagfile_information"]
    assert information["message_count"] == 1000
    assert information["duration"]["nanoseconds"] == 999_000_000
    assert information["relative_file_paths"] == ["first.mcap"]


def test_an_existing_folder_is_not_written_to(closed_bag):
    with pytest.raises(FileExistsError):
        BagWriter(closed_bag)
    with Bag(closed_bag) as bag:
        assert sum(bag.counts.values()) == 1000


def test_a_bag_in_progress_is_told_from_one_that_was_left(notes, tmp_path):
    """The mark is the kernel's: it goes with the process, however that ends."""
    writer = notes.write(tmp_path / "a", 10)
    assert is_being_written(writer.file)
    writer.abandon()
    assert not is_being_written(writer.file)
