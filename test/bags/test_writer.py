# SPDX-License-Identifier: Apache-2.0
import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from resip_ros.bags.layout import METADATA
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
