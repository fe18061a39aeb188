# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.core.errors import DataError
from resip_ros.core.events import FAULT, HOMED, STARTED, STOPPED, UNDONE, EpisodeEvent
from training.episode_spans import Spans


def take(*told):
    spans = Spans()
    for kind, stamp_ns, *detail in told:
        spans.take(EpisodeEvent(kind, stamp_ns, *map(str, detail)))
    return spans


def test_from_start_to_stop():
    spans = take((HOMED, 1), (STARTED, 10), (STOPPED, 50), (FAULT, 60))
    assert spans.spans == [(10, 50)]
    assert spans.end_ns == 50


def test_without_events_all_time_counts():
    assert take((STOPPED, 5)).spans == [(0, 2**63)]
    assert take((STARTED, 10)).spans == [(10, 2**63)]
    assert take((STARTED, 10)).end_ns is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["undone first", "fault first"])
def test_what_was_undone_is_left_out_in_whatever_order_it_was_told(order):
    pair = [(UNDONE, 50, 30), (FAULT, 50)]
    spans = take((STARTED, 10), *(pair[i] for i in order), (STARTED, 60), (STOPPED, 90))
    assert spans.spans == [(10, 29), (60, 90)]
    assert spans.end_ns == 90


def test_undone_twice_and_beyond_the_first_undo():
    begun = [(STARTED, 10), (UNDONE, 50, 30), (FAULT, 50), (STARTED, 60)]
    within = take(*begun, (UNDONE, 90, 80), (FAULT, 90), (STARTED, 95), (STOPPED, 99))
    assert within.spans == [(10, 29), (60, 79), (95, 99)]
    beyond = take(*begun, (UNDONE, 70, 20), (FAULT, 70), (STARTED, 95), (STOPPED, 99))
    assert beyond.spans == [(10, 19), (95, 99)]


def test_a_second_episode_and_nonsense_are_refused():
    with pytest.raises(DataError, match="second episode"):
        take((STARTED, 10), (STOPPED, 20), (STARTED, 30))
    with pytest.raises(DataError, match="undone to 'then'"):
        take((STARTED, 10), (UNDONE, 20, "then"))
