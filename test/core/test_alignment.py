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
