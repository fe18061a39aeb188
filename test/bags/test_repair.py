# SPDX-License-Identifier: Apache-2.0
"""What is rescued of damaged bags, and of recorders that were killed.

``RESIP_KILLS=50 pytest test/bags/test_repair.py -k killed -s`` kills as many, one after the other.
"""

import os
import random
import subprocess
import sys
import time

import pytest
import yaml

from resip_ros.bags import sidecar
from resip_ros.bags.layout import METADATA, ORIGINALS
from resip_ros.bags.reader import Bag
from resip_ros.bags.repair import LOST_AT_MOST_S, repair
from resip_ros.bags.sidecar import Episode, load_episode, write_episode
from resip_ros.core.errors import DataError

KILLS = int(os.environ.get("RESIP_KILLS", "2"))

# 1000 small messages and 30 pictures a second; says what was taken, number and time
RECORDER = """
import os, sys, time
from pathlib import Path
from resip_ros.bags import layout, recorder
from resip_ros.bags.sidecar import Episode
store = layout.type_store()
topic = layout.Topic("/fr3/note", "std_msgs/msg/String")
picture = layout.Topic("/fr3/picture", "std_msgs/msg/String")
message = store.types[topic.msgtype]
made = recorder.Recorder(Path(sys.argv[1]), 0.0, print)
folder = made.start(Episode(task="one_leg"))
print("started", folder, flush=True)
i = 0
while True:
    now = time.time_ns()
    made.take(topic, now, bytes(store.serialize_cdr(message(data=str(i)), topic.msgtype)))
    os.write(1, f"{i} {now}\\n".encode())
    if i % 33 == 0:
        data = os.urandom(50_000).hex()
        made.take(picture, now, bytes(store.serialize_cdr(message(data=data), topic.msgtype)))
    i += 1
    time.sleep(0.001)
"""


def notes_of(folder):
    with Bag(folder) as bag:
        records = list(bag.records(["/fr3/note"]))
    return [(record.log_ns, record.decode().data) for record in records]


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_recorder_loses_its_last_second_at_most(tmp_path, number):
    command = [sys.executable, "-c", RECORDER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    folder = tmp_path / process.stdout.readline().decode().split()[1].rpartition("/")[2]
    time.sleep(random.Random().uniform(0.2, 2.0))
    process.kill()
    taken = [line.split() for line in process.stdout.read().splitlines() if b" " in line]
    process.wait()
    last, last_ns = int(taken[-2][0]), int(taken[-2][1])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    try:
        findings = repair(folder)
    except DataError:
        # killed before the first chunk was whole, when less than a second had been taken
        lost_s = (last_ns - int(taken[0][1])) / 1e9
        sys.stdout.write(f"kill {number}: all of {lost_s:.3f} s lost\n")
        assert lost_s < LOST_AT_MOST_S
        return
    rescued = notes_of(folder)
    assert [text for _, text in rescued] == [str(i) for i in range(len(rescued))]
    lost_s = (last_ns - rescued[-1][0]) / 1e9
    text = f"kill {number}: {last + 1} taken, {len(rescued)} rescued, {lost_s:.3f} s lost\n"
    sys.stdout.write(text)
    assert lost_s <= LOST_AT_MOST_S
    assert "up to 1 s at the end" in findings.text
    kept = tmp_path / ORIGINALS / folder.name
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    episode = load_episode(folder)
    assert episode.state == sidecar.REPAIRED
    assert "up to 1 s" in episode.problems[0]
    assert repair(folder).original is None


def test_a_whole_bag_is_left_as_it_is(closed_bag):
    before = {path: path.stat().st_mtime_ns for path in closed_bag.iterdir()}
    assert "whole, nothing to repair: 1000 messages" in repair(closed_bag).text
    assert {path: path.stat().st_mtime_ns for path in closed_bag.iterdir()} == before


def test_a_bag_that_was_closed_but_never_read_back_is_repaired(closed_bag):
    write_episode(closed_bag, Episode("one_leg"))
    assert repair(closed_bag).messages == 1000
    assert load_episode(closed_bag).state == sidecar.REPAIRED


def test_a_copy_that_was_cut_off_says_how_much_is_gone(closed_bag):
    file = closed_bag / "first.mcap"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    findings = repair(closed_bag)
    texts = [text for _, text in notes_of(closed_bag)]
    assert texts == [str(i) for i in range(len(texts))]
    assert 100 <= len(texts) < 900
    assert len(texts) % 100 == 0
    assert findings.end_lost_s == pytest.approx((1000 - len(texts)) / 1000)
    information = yaml.safe_load((closed_bag / METADATA).read_text())
    assert information["rosbag2_bagfile_information"]["message_count"] == len(texts)


def test_a_damaged_chunk_is_a_hole_and_the_rest_is_kept(closed_bag):
    file = closed_bag / "first.mcap"
    data = bytearray(file.read_bytes())
    at = data.index(b"\x04\x22\x4d\x18", len(data) // 3) + 40
    data[at] ^= 0xFF
    file.write_bytes(data)
    findings = repair(closed_bag)
    assert findings.messages == 900
    assert findings.holes_s == [pytest.approx(0.101)]
    assert findings.end_lost_s == 0.0
    assert "0.10 s in 1 damaged places" in findings.text


def test_lost_index_and_metadata_are_made_anew(closed_bag, notes):
    """What `ros2 bag record` leaves when it is killed."""
    (closed_bag / METADATA).unlink()
    assert repair(closed_bag).messages == 1000
    assert len(notes_of(closed_bag)) == 1000


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"x" * 500])
def test_nothing_to_rescue_changes_nothing(tmp_path, content):
    bag = tmp_path / "a"
    bag.mkdir()
    (bag / "a.mcap").write_bytes(content)
    with pytest.raises(DataError, match=f"nothing to rescue.*{len(content)} bytes"):
        repair(bag)
    assert (bag / "a.mcap").read_bytes() == content
    assert list(tmp_path.iterdir()) == [bag]


def test_a_bag_in_progress_is_not_touched(tmp_path, notes):
    writer = notes.write(tmp_path / "a", 100)
    with pytest.raises(DataError, match="is being recorded"):
        repair(tmp_path / "a")
    writer.finish()
    assert len(notes_of(tmp_path / "a")) == 100
