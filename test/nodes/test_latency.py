# SPDX-License-Identifier: Apache-2.0
"""Notes of several nodes become the length of each hop, and nothing is made up."""

import io

import pytest
from rich.console import Console

from resip_ros.core.distribution import Distribution
from resip_ros.core.events import NodeReport, parse_report
from resip_ros.nodes import latency
from resip_ros.nodes.latency import Trace, join_hops, join_periods, make_table


def reports(points, offset_s=0.0):
    """One report a node, for steps 100 and 101, over the wire."""
    sent = []
    for node, marks in points.items():
        trace = Trace()
        for point, at_s in marks.items():
            for i, tick in enumerate((100, 101)):
                trace.mark(point, tick, offset_s + at_s + 0.1 * i)
        sent.append(parse_report(NodeReport(node, trace=trace.rows()).to_json()))
    return sent


FULL = {
    "franka_bridge": {
        latency.STATE_SENT: 1.0,
        latency.ACTION_RECEIVED: 1.030,
        latency.ACCEPTED: 1.032,
        latency.REFERENCE_WRITTEN: 1.037,
    },
    "base_policy": {
        latency.BASE_OBSERVED: 1.004,
        latency.PLANNED: 1.020,
        latency.CHUNK_SENT: 1.021,
    },
    "residual_policy": {
        latency.OBSERVED: 1.005,
        latency.CHUNK_RECEIVED: 1.0225,
        latency.CHUNK_READY: 1.0235,
        latency.ACTION_SENT: 1.029,
    },
}


def test_every_hop_is_between_its_notes():
    hops = join_hops(reports(FULL))
    assert {name: values[0] for name, values in hops.items()} == pytest.approx(
        {
            "state_to_base": 4.0,
            "inference": 16.0,
            "chunk_publish": 1.0,
            "chunk_transport": 1.5,
            "state_to_residual": 5.0,
            "chunk_wait": 18.5,
            "correction": 5.5,
            "action_transport": 1.0,
            "gate": 2.0,
            "reference": 5.0,
            "total": 37.0,
        }
    )
    assert all(len(values) == 2 for values in hops.values())
    chain = ("state_to_residual", "chunk_wait", "correction", "action_transport", "gate")
    assert sum(hops[h][0] for h in (*chain, "reference")) == pytest.approx(hops["total"][0])


def test_a_step_that_a_node_missed_has_no_hop_there():
    some = reports(FULL)
    del some[1].trace[latency.PLANNED][1]
    hops = join_hops(some)
    assert (len(hops["inference"]), len(hops["total"])) == (1, 2)


def test_clocks_of_two_machines_give_no_figures():
    apart = reports({"franka_bridge": FULL["franka_bridge"]})
    apart += reports({"residual_policy": FULL["residual_policy"]}, offset_s=5000.0)
    hops = join_hops(apart)
    assert hops["action_transport"] == hops["state_to_residual"] == []
    assert len(hops["correction"]) == len(hops["gate"]) == len(hops["total"]) == 2


def test_periods_are_between_steps_that_follow_each_other():
    some = reports(FULL)
    some[2].trace[latency.ACTION_SENT].append([105, 9_000_000])
    some[0].latency_ms[latency.REFERENCE_PERIOD] = [5.0, 5.5]
    assert join_periods(some) == {"residual": pytest.approx([100.0]), "reference": [5.0, 5.5]}


def test_only_the_first_passage_counts_and_an_episode_begins_empty():
    trace = Trace()
    trace.mark("observed", 100, 1.0)
    trace.mark("observed", 100, 2.0)
    assert trace.rows() == {"observed": [[100, 1_000_000]]}
    trace.clear()
    assert trace.rows() == {}


def test_references_are_of_the_command_that_was_accepted_next():
    trace = Trace()
    for tick, at_s in ((100, 1.000), (101, 1.100), (102, 1.200)):
        trace.mark(latency.ACCEPTED, tick, at_s)
    trace.mark_answers([(0.9995, 1.004), (1.1999, 1.206), (9.0, 9.1)])
    assert trace.rows()[latency.REFERENCE_WRITTEN] == [[100, 1_004_000], [102, 1_206_000]]


def test_a_trace_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(latency, "MAX_STEPS", 3)
    trace = Trace()
    for tick in range(10):
        trace.mark("observed", tick)
    assert len(trace.rows()["observed"]) == 3


def test_the_table_names_every_hop():
    hops = {name: Distribution(values) for name, values in join_hops(reports(FULL)).items()}
    out = io.StringIO()
    Console(file=out, width=120).print(make_table(hops, {"residual": Distribution([100.0])}))
    for name in (*latency.HOPS, "residual period"):
        assert name in out.getvalue()
    assert "18.50" in out.getvalue()
