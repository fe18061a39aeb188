# SPDX-License-Identifier: Apache-2.0
import os
import threading
import time

import numpy as np
import pytest

from resip_ros.cameras import stream as stream_module
from resip_ros.cameras.source import Frame, PictureSource
from resip_ros.cameras.stream import CameraStream, Freshness
from resip_ros.core.errors import CameraError, ConfigError

from .conftest import noise

MS = 1_000_000


class Scripted(PictureSource):
    """Does what it is told, one thing a read; then nothing."""

    cameras = ("front",)

    def __init__(self, *script):
        self.script, self.opened, self.closed = list(script), 0, 0
        self.hangs = threading.Event()
        self.hangs.set()

    def open(self):
        self.opened += 1

    def read(self):
        self.hangs.wait(5)
        time.sleep(0.002)
        if not self.script:
            return []
        now = self.script.pop(0)
        if isinstance(now, Exception):
            raise now
        return [now]

    def close(self):
        self.closed += 1


def frame(number, mark=None, stamp_ns=0):
    return Frame("front", stamp_ns, noise(number, 8, 8), mark)


def wait_for(done, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(stream_module, "FIRST_PAUSE_S", 0.01)
    streams = []

    def start(source, **options):
        passed = []
        stream = CameraStream(source, passed.append, **{"max_silence_s": 0.3, **options})
        streams.append(stream)
        return stream, passed

    yield start
    for stream in streams:
        stream.source.hangs.set()
        stream.close()


def test_repeated_pictures_are_told():
    fresh = Freshness(has_noise=True, max_age_ns=100 * MS)
    assert fresh.fault(frame(0, mark=1), None) is None
    assert "frozen" in fresh.fault(frame(1, mark=1), None)
    assert "frozen" in fresh.fault(frame(0, mark=2), None)
    assert fresh.fault(frame(1, mark=2), None) is None
    # a simulated camera sees the same when nothing moves
    drawn = Freshness(has_noise=False, max_age_ns=0)
    assert drawn.fault(frame(0, mark=1), None) is None
    assert drawn.fault(frame(0, mark=2), None) is None


def test_late_pictures_are_told():
    fresh = Freshness(has_noise=True, max_age_ns=100 * MS)
    assert fresh.fault(frame(0, stamp_ns=500 * MS), 600 * MS) is None
    assert "0.20 s old" in fresh.fault(frame(1, stamp_ns=500 * MS), 700 * MS)


def test_a_frozen_camera_passes_nothing_on_and_says_so(run):
    stream, passed = run(Scripted(frame(0), *[frame(1)] * 20))
    wait_for(lambda: stream.statuses()[0].refused == 19)
    assert len(passed) == 2
    wait_for(lambda: not stream.statuses()[0].is_ok)
    assert "frozen" in stream.statuses()[0].text
    # and goes on when it thaws
    stream.source.script += [frame(2)]
    wait_for(lambda: stream.statuses()[0].is_ok)
    np.testing.assert_array_equal(passed[-1].picture, noise(2, 8, 8))


def test_a_hanging_device_is_in_error_meanwhile(run):
    source = Scripted(frame(0))
    stream, _ = run(source)
    wait_for(lambda: stream.statuses()[0].is_ok)
    source.hangs.clear()
    wait_for(lambda: not stream.statuses()[0].is_ok)
    assert "nothing new for" in stream.statuses()[0].text


def test_a_lost_camera_is_opened_again_with_growing_pauses(run, caplog):
    lost = [CameraError("front is gone") for _ in range(4)]
    source = Scripted(frame(0), *lost, frame(1))
    begun_s = time.monotonic()
    stream, passed = run(source)
    wait_for(lambda: len(passed) == 2)
    assert source.opened == 5
    assert source.closed == 4
    # 10, 10 (it had worked), 20, 40 ms
    assert time.monotonic() - begun_s > 0.07
    assert stream.statuses()[0].is_ok
    assert [r.message for r in caplog.records].count("front is gone") == 1


def test_a_silent_camera_is_opened_again(run, monkeypatch):
    monkeypatch.setattr(stream_module, "REOPEN_AFTER_S", 0.05)
    stream, _ = run(Scripted(frame(0)))
    wait_for(lambda: stream.source.opened > 2)
    wait_for(lambda: not stream.statuses()[0].is_ok)
    assert "silent" in stream.statuses()[0].text


def test_what_trying_again_does_not_mend_ends_it(run):
    stream, _ = run(Scripted(ConfigError("no OpenGL")))
    wait_for(lambda: stream.failure is not None)
    with pytest.raises(ConfigError, match="no OpenGL"):
        stream.wait_opened(1)
    assert "ended: no OpenGL" in stream.statuses()[0].text
    assert stream.source.closed == 1


def test_a_thread_of_a_process_that_comes_later_comes_later_still(run):
    """Asking for the priority of others instead would be refused, and no camera opened."""

    class Told(Scripted):
        def open(self):
            super().open()
            self.nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    source, before = Told(), os.getpriority(os.PRIO_PROCESS, 0)

    def begin():
        os.nice(3)
        run(source, nice=2)[0].wait_opened(5)

    starter = threading.Thread(target=begin)
    starter.start()
    starter.join()
    assert source.nice == min(before + 5, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
