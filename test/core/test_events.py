# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.core.errors import DataError
from resip_ros.core.events import STARTED, EpisodeEvent, NodeReport, parse_event, parse_report


def test_event_round_trip():
    event = EpisodeEvent(STARTED, 123, "seed 4")
    assert parse_event(event.to_json()) == event


def test_report_round_trip():
    trace = {"planned": [[100, 5_000_000], [108, 5_800_000]]}
    report = NodeReport("base_policy", {"chunks": 3}, {"chunk": [1.5, 2.5]}, trace)
    assert parse_report(report.to_json()) == report


@pytest.mark.parametrize("rows", ["5", "[5]", "[[5]]", "[[5, 6, 7]]", '[["5", 6]]', "[null]"])
def test_a_trace_of_other_rows_is_refused(rows):
    with pytest.raises(DataError, match="trace"):
        parse_report(f'{{"node": "base_policy", "trace": {{"planned": {rows}}}}}')


@pytest.mark.parametrize(
    "text", ["", "[]", '{"kind": "exploded", "stamp_ns": 1}', '{"kind": "started"}', '{"x": 1}']
)
def test_other_text_is_refused(text):
    with pytest.raises(DataError):
        parse_event(text)


@pytest.mark.parametrize("count", ["NaN", "Infinity"])
def test_a_count_that_result_json_cannot_hold_is_refused(count):
    with pytest.raises(DataError, match="not finite"):
        parse_report(f'{{"node": "x", "counts": {{"late": {count}}}}}')
