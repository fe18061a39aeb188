# SPDX-License-Identifier: Apache-2.0
"""Plans are asked for in time, one at a time, and never leave out what nobody executed."""

import numpy as np
import pytest

from resip_ros.core.chunking import ChunkSequence
from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.plan_delay import AUTOMATIC
from resip_ros.core.planner import Pace, Planner

STEP_NS = 100_000_000
OBS = np.zeros(3)


def run(planner, inference, steps, first_tick=100):
    """Plays base and residual policy; what is ready within half a step is used in that step.

    Args:
        planner: Under test.
        inference: Steps that the answer to request number i takes, as a function of i.
        steps: Policy steps.
        first_tick: Where the episode begins.

    Returns:
        By tick, of which plan (tick of its observation) which step was executed.
    """
    chunks, pending, asked, executed = ChunkSequence(), [], 0, {}
    planner.start()
    for tick in range(first_tick, first_tick + steps):
        planner.see(tick, 0.1 * tick)
        request = planner.ask(OBS, 0.1 * tick)
        if request is not None:
            pending.append((tick + inference(asked), request))
            asked += 1
        while pending and pending[0][0] <= tick + 0.5:
            ready, request = pending.pop(0)
            plan = np.zeros((32, 10))
            plan[:, 0], plan[:, 1] = request.tick, np.arange(32)
            chunk = planner.cut(request, plan, 8)
            assert planner.finish(request, chunk, 0.1 * ready)
            chunks.add(chunk)
        chunk = chunks.covering(tick * STEP_NS)
        if chunk is not None:
            executed[tick] = tuple(chunk.at(tick * STEP_NS)[1][:2].astype(int))
    return executed


def test_inference_that_fits_is_synchronous():
    executed = run(Planner(10.0, 8, 32, AUTOMATIC), lambda _: 0.2, 24)
    assert [executed[t] for t in (100, 107, 108, 123)] == [(100, 0), (100, 7), (108, 0), (116, 7)]
    assert len(executed) == 24


@pytest.mark.parametrize(
    ("inference", "delay", "begin"), [(0.8, 1, 101), (1.7, 2, 102), (3.2, 4, 103)]
)
def test_slow_inference_is_asked_for_ahead_and_no_step_goes_without(inference, delay, begin):
    planner = Planner(10.0, 8, 32, AUTOMATIC)
    planner.rehearse(0.1 * inference)
    assert planner.delay.steps == delay
    executed = run(planner, lambda _: inference, 60)
    assert min(executed) == begin, "the first plan is waited for"
    assert executed[begin] == (100, 0), "and starts in full"
    assert sorted(executed) == list(range(begin, 160)), "no step without an action"
    second = executed[begin + 8]
    assert second == (begin + 8 - delay, delay), "executed steps are left out, no others"


def test_a_fixed_delay_is_obeyed_however_fast_inference_is():
    executed = run(Planner(10.0, 8, 32, 2), lambda _: 0.1, 32)
    assert executed[107] == (100, 7)
    assert executed[108] == (106, 2)
    assert executed[116] == (114, 2)


def test_a_plan_that_is_late_once_starts_where_the_last_one_ended():
    planner = Planner(10.0, 8, 32, 2)
    executed = run(planner, lambda i: 4.2 if i == 1 else 1.5, 40)
    assert min(executed) == 101
    # asked at 107 for 109, ready during 111: only what was executed is left out
    assert sorted(set(range(101, 140)) - set(executed)) == [109, 110]
    assert executed[111] == (107, 2)
    assert planner.waits == 4
    assert executed[119] == (117, 2), "the next one is on time again"


def test_the_next_plan_is_not_asked_for_while_one_is_made():
    planner = Planner(10.0, 8, 32, 0)
    planner.start()
    planner.see(100, 0.0)
    request = planner.ask(OBS, 0.0)
    planner.see(101, 0.1)
    assert planner.ask(OBS, 0.1) is None
    assert planner.waits == 1
    assert not planner.finish(request, None, 0.2)
    planner.see(102, 0.2)
    assert planner.ask(OBS, 0.2).tick == 102, "after an error it is asked again"


def test_a_plan_for_the_last_episode_is_of_no_use():
    planner = Planner(10.0, 8, 32, 0)
    planner.start()
    planner.see(100, 0.0)
    request = planner.ask(OBS, 0.0)
    planner.start()
    chunk = planner.cut(request, np.zeros((32, 10)), 8)
    assert not planner.finish(request, chunk, 0.1)
    planner.see(101, 0.1)
    assert planner.ask(OBS, 0.1).end_tick == 0


def test_a_plan_that_took_too_long_is_no_chunk():
    planner = Planner(10.0, 8, 32, 0)
    planner.start()
    planner.see(100, 0.0)
    request = planner.ask(OBS, 0.0)
    planner.see(1000, 90.0)
    with pytest.raises(DataError, match="begins 900 steps"):
        planner.cut(request, np.zeros((32, 10)), 8)


def test_a_plan_is_never_padded():
    planner = Planner(10.0, 8, 32, 2)
    planner.start()
    planner.see(100, 0.0)
    request = planner.ask(OBS, 0.0)
    assert len(planner.cut(request, np.zeros((5, 10)), 8)) == 5


def test_a_delay_beyond_the_horizon_is_refused():
    with pytest.raises(ConfigError, match="at most 4"):
        Planner(10.0, 8, 12, 5)


def test_a_step_lasts_as_long_as_the_clock_makes_it():
    pace = Pace(10.0)
    assert pace.step_s == 0.1
    for tick in range(5):
        pace.add(tick, 50.0 + 0.4 * tick)
    pace.add(7, 50.0 + 0.4 * 7)
    assert pace.step_s == pytest.approx(0.4)
    pace.add(2, 60.0)
    assert pace.step_s == 0.1, "a clock that was reset begins anew"
