# SPDX-License-Identifier: Apache-2.0
import os
import resource
import time

import pytest

from resip_ros.bags import recorder as recorder_module
from resip_ros.bags import sidecar
from resip_ros.bags.layout import TRASH
from resip_ros.bags.reader import Bag
from resip_ros.bags.recorder import Recorder
from resip_ros.bags.repair import repair
from resip_ros.bags.sidecar import Episode, load_episode
from resip_ros.core.errors import ConfigError

MS = 1_000_000


def texts(folder):
    with Bag(folder) as bag:
        return [record.decode().data for record in bag.records()]


def test_an_episode_has_its_pre_roll_and_every_message(recorder, notes, episode):
    notes.feed(recorder, 0, 1000)
    recorder.start(episode)
    notes.feed(recorder, 1000, 1500)
    saved = recorder.save().result(20)
    notes.feed(recorder, 1500, 1600)
    assert saved.ok
    # 100 ms before the start
    assert texts(saved.path) == [str(i) for i in range(899, 1500)]
    kept = load_episode(saved.path)
    assert kept.state == sidecar.SAVED
    assert kept.operator == "mia"
    assert kept.topics["/fr3/note"].count == 601
    assert "601 messages" in saved.text


def test_what_is_latched_is_carried_into_every_episode(recorder, notes):
    recorder.take(notes.active, 0, notes.data("base"))
    for number in range(2):
        start = 1000 * (number + 1)
        notes.feed(recorder, start, start + 500)
        recorder.start(Episode(task="one_leg"))
        saved = recorder.save().result(20)
        assert texts(saved.path)[0] == "base"
        assert len(texts(saved.path)) == 102


def test_nothing_of_an_episode_is_pre_roll_of_the_next(recorder, notes):
    notes.feed(recorder, 0, 20)
    recorder.start(Episode(task="one_leg"))
    notes.feed(recorder, 20, 50)
    recorder.save().result(20)
    recorder.start(Episode(task="one_leg"))
    notes.feed(recorder, 50, 60)
    assert texts(recorder.save().result(20).path) == [str(i) for i in range(50, 60)]


def test_the_pre_roll_is_on_the_disk_at_once(recorder, notes, episode, monkeypatch):
    monkeypatch.setattr(recorder_module, "FLUSH_S", 60.0)
    notes.feed(recorder, 0, 100)
    time.sleep(0.5)
    folder = recorder.start(episode)
    file = folder / f"{folder.name}.mcap"
    deadline = time.monotonic() + 20
    while not (file.exists() and file.stat().st_size > 500):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert recorder.save().result(20).ok


def test_discarded_episodes_are_moved_not_deleted(recorder, notes, episode):
    folder = recorder.start(episode)
    notes.feed(recorder, 0, 100)
    saved = recorder.discard().result(20)
    assert saved.path == folder.parent / TRASH / folder.name
    assert not folder.exists()
    assert len(texts(saved.path)) == 100
    assert load_episode(saved.path).state == sidecar.DISCARDED


def test_start_and_save_out_of_order_are_refused(recorder, notes, episode):
    with pytest.raises(ConfigError, match="no episode is being recorded"):
        recorder.save()
    recorder.start(episode)
    with pytest.raises(ConfigError, match="save or discard it first"):
        recorder.start(Episode(task="one_leg"))
    assert recorder.discard().result(20).ok


def test_an_end_in_an_episode_saves_it(tmp_path, notes, episode):
    recorder = Recorder(tmp_path, 0.0, print)
    folder = recorder.start(episode)
    notes.feed(recorder, 0, 100)
    recorder.close()
    assert len(texts(folder)) == 100
    kept = load_episode(folder)
    assert kept.state == sidecar.SAVED
    assert "ended before" in kept.problems[0]


def test_a_message_that_is_missing_in_the_file_is_not_called_saved(recorder, notes, episode):
    """As when the disk is so slow that memory would run out."""
    recorder.start(episode)
    notes.feed(recorder, 0, 10)
    limit, recorder_module.MAX_WAITING_BYTES = recorder_module.MAX_WAITING_BYTES, 0
    notes.feed(recorder, 10, 11)
    recorder_module.MAX_WAITING_BYTES = limit
    saved = recorder.save().result(20)
    assert not saved.ok
    assert "(10, 11)" in saved.text
    assert load_episode(saved.path).state == sidecar.BAD
    assert recorder.told


@pytest.fixture
def small_disk():
    """Files of this process end at 20 kB, as a full disk ends them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_marks_the_episode_bad_and_the_recorder_goes_on(
    recorder, notes, episode, small_disk
):
    folder = recorder.start(episode)
    file = folder / f"{folder.name}.mcap"

    def wait_for(done):
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def take(first, last):
        for i in range(first, last):
            recorder.take(notes.topic, i * MS, notes.data(os.urandom(3000).hex()))

    take(0, 3)
    wait_for(lambda: file.exists() and file.stat().st_size > 9000)
    small_disk()
    take(3, 20)
    wait_for(lambda: recorder.told)
    saved = recorder.save().result(20)
    assert not saved.ok
    assert "BAD" in saved.text
    assert "free some space" in saved.text
    assert load_episode(folder).state == sidecar.BAD
    assert "File too large" in recorder.told[0]
    # the next one, on a disk with room again
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    recorder.start(Episode(task="one_leg"))
    notes.feed(recorder, 100, 200)
    assert recorder.save().result(20).ok
    assert repair(folder).messages >= 3
    assert load_episode(folder).state == sidecar.REPAIRED


@pytest.mark.parametrize("kind", ["file", "full"])
def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch, kind):
    if kind == "file":
        (tmp_path / "file").write_text("")
    else:
        monkeypatch.setattr(recorder_module, "MIN_FREE_BYTES", 10**18)
    with pytest.raises(ConfigError, match=r"cannot record to|free some space"):
        Recorder(tmp_path / "file" / "demos" if kind == "file" else tmp_path, 1.0, print)
