# SPDX-License-Identifier: Apache-2.0
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from resip_ros.bags import layout
from resip_ros.bags.reader import Bag, Record, find_bags, measure
from resip_ros.core.errors import DataError

MS = 1_000_000


def write_foreign(folder, notes, plugin):
    """A bag of ten messages as `ros2 bag record` leaves it."""
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        topic = notes.topic
        connection = writer.add_connection(
            topic.name, topic.msgtype, typestore=layout.type_store()
        )
        for i in range(10):
            writer.write(connection, i * MS, notes.data(str(i)))
    return folder


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_bags_of_ros2_bag_record_are_read(tmp_path, notes, plugin):
    with Bag(write_foreign(tmp_path / "a", notes, plugin)) as bag:
        records = list(bag.records())
        assert bag.counts == {notes.topic.name: 10}
    assert [record.decode().data for record in records] == [str(i) for i in range(10)]
    assert [record.log_ns for record in records] == [i * MS for i in range(10)]


def test_only_the_topics_asked_for(closed_bag):
    with Bag(closed_bag) as bag:
        assert len(list(bag.records(["/fr3/note"]))) == 1000
        assert list(bag.records(["/fr3/other"])) == []


def test_rates_and_gaps_by_hand(tmp_path, notes):
    writer = notes.write(tmp_path / "a", 101)
    writer.write(notes.topic, 400 * MS, notes.data("late"))
    writer.write(notes.active, 50 * MS, notes.data("{}"))
    writer.finish()
    with Bag(tmp_path / "a") as bag:
        topics, duration_s = measure(bag)
    note = topics[notes.topic.name]
    assert (note.count, note.rate_hz, note.max_gap_s) == (102, 252.5, 0.3)
    assert topics[notes.active.name].rate_hz is None
    assert duration_s == 0.4


@pytest.mark.parametrize("size", [0, 5, 100, 4000])
def test_cut_off_file_is_named_with_what_to_do(closed_bag, size):
    file = closed_bag / "first.mcap"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(DataError, match="resip repair") as error, Bag(closed_bag):
        pass
    assert str(closed_bag) in str(error.value)


def test_damage_in_the_middle_is_found_while_reading(closed_bag):
    file = closed_bag / "first.mcap"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    with Bag(closed_bag) as bag, pytest.raises(DataError, match="damaged"):
        list(bag.records())


def test_wrong_bytes_for_a_type_are_named():
    record = Record("/fr3/joint_states", "sensor_msgs/msg/JointState", 5 * 10**9, b"\0\1\0\0\7")
    with pytest.raises(DataError, match=r"/fr3/joint_states at 5\.000 s"):
        record.decode()


def test_bags_are_found(closed_bag, tmp_path):
    demos = closed_bag.parent
    (demos / ".trash").mkdir()
    (demos / "empty").mkdir()
    assert find_bags(demos) == [closed_bag]
    assert find_bags(closed_bag) == [closed_bag]
    with pytest.raises(DataError, match="no bags"):
        find_bags(demos / "empty")
    with pytest.raises(DataError, match="no folder"):
        find_bags(tmp_path / "nowhere")
