# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.core.alignment import AlignedStreams, StreamBuffer
from resip_ros.core.errors import StaleStreamError

MS = 1_000_000


def test_sample_is_the_nearest_value():
    buffer = StreamBuffer("pose", 0.1)
    for stamp in (0, 20, 40):
        buffer.push(stamp * MS, stamp)
    assert buffer.sample(20 * MS) == 20
    assert buffer.sample(29 * MS) == 20
    assert buffer.sample(31 * MS) == 40
    assert buffer.sample(30 * MS) == 40
    assert buffer.latest_ns == 40 * MS


def test_age_limit_is_exact():
    buffer = StreamBuffer("pose", 0.1)
    buffer.push(0, "value")
    assert buffer.sample(100 * MS) == "value"
    with pytest.raises(StaleStreamError, match="pose"):
        buffer.sample(100 * MS + 1)


def test_nothing_received_is_an_error_not_a_zero():
    with pytest.raises(StaleStreamError, match="nothing received"):
        StreamBuffer("pose", 0.1).sample(0)


def test_a_step_back_in_time_restarts_the_stream():
    buffer = StreamBuffer("pose", 10.0)
    buffer.push(900 * MS, "old")
    buffer.push(5 * MS, "new")
    assert buffer.sample(900 * MS) == "new"


def test_what_was_seen_is_never_of_later():
    buffer = StreamBuffer("picture", 0.2)
    for stamp in (0, 100, 200):
        buffer.push(stamp * MS, stamp)
    assert buffer.newest_at(99 * MS) == (0, 0)
    assert buffer.newest_at(100 * MS) == (100 * MS, 100)
    assert buffer.newest_at(400 * MS) == (200 * MS, 200)
    with pytest.raises(StaleStreamError, match=r"picture: newest value is 0\.201 s old"):
        buffer.newest_at(401 * MS)
    with pytest.raises(StaleStreamError, match=r"0\.010 s after the instant, none before it"):
        buffer.newest_at(-10 * MS)
    with pytest.raises(StaleStreamError, match="nothing received"):
        StreamBuffer("picture", 0.2).newest_at(0)


def test_a_later_value_settles_an_instant():
    buffer = StreamBuffer("picture", 0.2)
    assert not buffer.is_settled(0)
    buffer.push(100 * MS, "a")
    assert buffer.is_settled(100 * MS)
    # one value has no rhythm
    assert not buffer.is_settled(101 * MS)


def test_the_rhythm_settles_an_instant_before_the_next_value_is_due():
    buffer = StreamBuffer("picture", 0.2)
    stamps = [0, 100, 200, 290, 390]
    for stamp in stamps[:-1]:
        buffer.push(stamp * MS, stamp)
    assert not buffer.is_settled(291 * MS)
    buffer.push(stamps[-1] * MS, stamps[-1])
    # the shortest interval was 90 ms
    assert buffer.is_settled(479 * MS)
    assert not buffer.is_settled(480 * MS)
    # a value that comes twice is no rhythm
    buffer.push(stamps[-1] * MS, stamps[-1])
    assert buffer.is_settled(479 * MS)
    # what was short is forgotten
    for stamp in range(490, 490 + 17 * 100, 100):
        buffer.push(stamp * MS, stamp)
    assert buffer.is_settled(buffer.latest_ns + 99 * MS)


def test_streams_are_aligned_at_the_newest_common_instant():
    streams = AlignedStreams({"a": 0.1, "b": 0.1})
    streams.push("a", 100 * MS, "a100")
    assert streams.common_ns() is None
    streams.push("b", 80 * MS, "b80")
    streams.push("a", 80 * MS + 30 * MS, "a110")
    assert streams.common_ns() == 80 * MS
    assert streams.sample(100 * MS) == {"a": "a100", "b": "b80"}
    streams.clear()
    assert streams.common_ns() is None
