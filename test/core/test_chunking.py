# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.chunking import (
    MAX_BEGIN_STEP,
    ActionChunk,
    ChunkSequence,
    greatest_delay,
    is_plan_due,
    period_ns,
    splice,
    tick_of,
    tick_start_ns,
)
from resip_ros.core.errors import DataError, StaleStreamError

STAMP = 12_300_000_000


STEP = 100_000_000


def make_chunk(steps=8, stamp=STAMP, begin_step=0):
    actions = np.random.default_rng(stamp % 1000).normal(size=(steps, 10))
    return ActionChunk(stamp, actions, 10.0, begin_step)


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


@pytest.mark.parametrize("begin_step", [-1, MAX_BEGIN_STEP + 1])
def test_a_chunk_that_begins_at_another_time_is_refused(begin_step):
    with pytest.raises(DataError, match="begins"):
        make_chunk(begin_step=begin_step)


def test_a_chunk_may_begin_after_its_observation():
    chunk = make_chunk(begin_step=2)
    assert not chunk.covers(STAMP + 2 * STEP - 1)
    assert chunk.at(STAMP + 2 * STEP)[0] == 0
    np.testing.assert_array_equal(chunk.at(STAMP + 9 * STEP)[1], chunk.actions[7])
    assert not chunk.covers(STAMP + 10 * STEP)
    assert STAMP + chunk.time_from_start_ns(0) == STAMP + 3 * STEP


def test_a_plan_is_due_so_many_steps_before_the_end():
    assert [bool(is_plan_due(tick, 108, 2)) for tick in (105, 106, 108)] == [False, True, True]
    assert not is_plan_due(107, 108, 0)
    assert is_plan_due(5, 0, 0)


@pytest.mark.parametrize(
    ("observed", "end_tick", "ready", "begin", "left_out"),
    [
        (100, 0, 100, 100, 0),  # the first, at once
        (100, 0, 103, 103, 0),  # the first, late: nobody executed anything meanwhile
        (108, 108, 108, 108, 0),  # synchronous
        (108, 108, 110, 110, 0),  # synchronous and late: the arm stood
        (106, 108, 107, 108, 2),  # early: the present chunk is followed to its end
        (106, 108, 108, 108, 2),  # in time
        (106, 108, 111, 111, 2),  # late: only the two executed steps are left out
        (111, 108, 112, 112, 0),  # the end had passed already when it was asked for
    ],
)
def test_only_executed_steps_are_left_out(observed, end_tick, ready, begin, left_out):
    assert splice(observed, end_tick, ready) == (begin, left_out)


def test_a_delay_needs_predicted_steps():
    assert greatest_delay(8, 32) == 8
    assert greatest_delay(8, 12) == 4
    assert greatest_delay(8, 8) == 0


def test_splice_takes_arrays():
    begin, left_out = splice(np.array([100, 106]), np.array([0, 108]), np.array([103, 107]))
    np.testing.assert_array_equal(begin, [103, 108])
    np.testing.assert_array_equal(left_out, [0, 2])


def test_each_chunk_is_followed_until_the_next_begins():
    chunks = ChunkSequence()
    assert chunks.covering(STAMP) is None
    first, second = make_chunk(), make_chunk(stamp=STAMP + 6 * STEP, begin_step=2)
    chunks.add(first)
    chunks.add(second)
    assert chunks.covering(STAMP + 8 * STEP - 1) is first
    assert chunks.covering(STAMP + 8 * STEP) is second
    assert chunks.newest() is second
    assert chunks.covering(STAMP + 16 * STEP) is None
    chunks.clear()
    assert chunks.covering(STAMP + 8 * STEP) is None


def test_a_newer_chunk_for_the_same_time_replaces_an_older_one():
    chunks = ChunkSequence()
    present, early = make_chunk(), make_chunk(stamp=STAMP + 4 * STEP, begin_step=4)
    better = make_chunk(stamp=STAMP + 5 * STEP, begin_step=3)
    for chunk in (present, early, better):
        chunks.add(chunk)
    assert chunks.covering(STAMP + 8 * STEP) is better
    assert chunks.covering(STAMP + 7 * STEP) is present


@pytest.mark.parametrize("stamp", [STAMP, STAMP - 1])
def test_an_older_chunk_is_refused_and_the_present_one_stays(stamp):
    chunks, present = ChunkSequence(), make_chunk()
    chunks.add(present)
    with pytest.raises(DataError, match="not newer"):
        chunks.add(make_chunk(stamp=stamp))
    assert chunks.covering(STAMP) is present


def test_a_chunk_that_is_over_already_does_not_end_the_present_one():
    chunks, present = ChunkSequence(), make_chunk()
    chunks.add(present)
    chunks.add(make_chunk(stamp=STAMP + STEP, steps=1))
    assert chunks.covering(STAMP + 5 * STEP) is present


def test_what_was_followed_is_forgotten():
    chunks = ChunkSequence()
    for i in range(4):
        chunks.add(make_chunk(stamp=STAMP + 8 * i * STEP))
    assert chunks.covering(STAMP) is None
