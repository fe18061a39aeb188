# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.chunking import ActionChunk, period_ns, tick_of, tick_start_ns
from resip_ros.core.errors import DataError, StaleStreamError

STAMP = 12_300_000_000


def make_chunk(steps=8):
    return ActionChunk(STAMP, np.random.default_rng(0).normal(size=(steps, 10)), 10.0)


def test_step_is_current_from_its_start_up_to_but_not_at_its_end():
    chunk = make_chunk()
    for step in range(8):
        start = STAMP + step * 100_000_000
        assert chunk.at(start)[0] == step
        assert chunk.at(start + 99_999_999)[0] == step
    np.testing.assert_array_equal(chunk.at(STAMP + 350_000_000)[1], chunk.actions[3])


@pytest.mark.parametrize("time_ns", [STAMP - 1, STAMP + 800_000_000])
def test_outside_the_chunk_is_an_error(time_ns):
    chunk = make_chunk()
    assert not chunk.covers(time_ns)
    with pytest.raises(StaleStreamError, match="base policy"):
        chunk.at(time_ns)


def test_time_from_start_is_the_end_of_the_step():
    chunk = make_chunk()
    assert chunk.time_from_start_ns(0) == 100_000_000
    assert STAMP + chunk.time_from_start_ns(7) == chunk.end_ns


@pytest.mark.parametrize(
    "actions", [np.zeros((0, 10)), np.zeros((8, 9)), np.full((8, 10), np.nan)]
)
def test_malformed_chunk_is_refused(actions):
    with pytest.raises(DataError):
        ActionChunk(STAMP, actions, 10.0)


def test_ticks_tile_time():
    assert period_ns(50.0) == 20_000_000
    tick = tick_of(STAMP + 99_999_999, 10.0)
    assert tick_start_ns(tick, 10.0) == STAMP
    assert tick_of(STAMP + 100_000_000, 10.0) == tick + 1
