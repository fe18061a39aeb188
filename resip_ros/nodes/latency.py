# SPDX-License-Identifier: Apache-2.0
"""Where the time goes between a state of the arm and the reference that answers it.

Nodes note when a policy step passed them, on the clock that all processes of a machine share
(CLOCK_MONOTONIC), and report it at the end of an episode; here the notes are joined by step. A
graph that is spread over several machines therefore has no figures for the hops between them.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from rich.box import SIMPLE
from rich.table import Table

from resip_ros.core.distribution import Distribution
from resip_ros.core.events import NodeReport

STATE_SENT = "state_sent"
BASE_OBSERVED = "base_observed"
PLANNED = "planned"
CHUNK_SENT = "chunk_sent"
CHUNK_RECEIVED = "chunk_received"
OBSERVED = "observed"
CHUNK_READY = "chunk_ready"
ACTION_SENT = "action_sent"
ACTION_RECEIVED = "action_received"
ACCEPTED = "accepted"
REFERENCE_WRITTEN = "reference_written"

HOPS: Mapping[str, tuple[str, str, str]] = {
    "state_to_base": (STATE_SENT, BASE_OBSERVED, "bridge to base"),
    "inference": (BASE_OBSERVED, PLANNED, "base: plan"),
    "chunk_publish": (PLANNED, CHUNK_SENT, "base: send"),
    "chunk_transport": (CHUNK_SENT, CHUNK_RECEIVED, "base to residual"),
    "state_to_residual": (STATE_SENT, OBSERVED, "bridge to residual"),
    "chunk_wait": (OBSERVED, CHUNK_READY, "residual: wait"),
    "correction": (CHUNK_READY, ACTION_SENT, "residual: correct"),
    "action_transport": (ACTION_SENT, ACTION_RECEIVED, "residual to bridge"),
    "gate": (ACTION_RECEIVED, ACCEPTED, "bridge: check, IK"),
    "reference": (ACCEPTED, REFERENCE_WRITTEN, "bridge: lead"),
    "total": (STATE_SENT, REFERENCE_WRITTEN, "state to reference"),
}
"""Hop to the notes it lies between, and where.

A state is the first one of a policy step; a command's own reference is the first of its segment,
which begins where the one before it ends.
"""
PERIODS: Mapping[str, str] = {
    "residual": "residual: actions",
    "reference": "bridge: references",
}
REFERENCE_PERIOD = "reference_period"
CONTROL_SUCCESS = "control_success_rate"
MAX_STEPS = 36_000
"""Steps that are noted in an episode: an hour at 10 Hz."""
LONGEST_US = 60_000_000
"""Longer hops are those of clocks that have nothing to do with each other."""
Times = dict[int, int]
"""Number of a policy step to microseconds."""


class Trace:
    """What one node notes in an episode."""

    def __init__(self) -> None:
        self._times: dict[str, Times] = {}

    def clear(self) -> None:
        """Begins an episode."""
        self._times = {}

    def mark(self, point: str, tick: int, at_s: float | None = None) -> None:
        """Notes when a policy step passed a point, first time only.

        Args:
            point: One of the constants above.
            tick: The step.
            at_s: When, s on time.monotonic(); now by default.
        """
        at_s = time.monotonic() if at_s is None else at_s
        times = self._times.setdefault(point, {})
        if len(times) < MAX_STEPS:
            times.setdefault(tick, round(at_s * 1e6))

    def mark_answers(self, answers: Iterable[tuple[float, float]]) -> None:
        """Notes the references that answered accepted commands.

        Args:
            answers: When the arm was given a command, and when the first reference of it was
                written, s on time.monotonic(). A command is accepted just after it was given.
        """
        accepted = sorted((us, tick) for tick, us in self._times.get(ACCEPTED, {}).items())
        for given_s, written_s in answers:
            place = bisect_left(accepted, (round(given_s * 1e6), -1))
            if place < len(accepted):
                self.mark(REFERENCE_WRITTEN, accepted[place][1], written_s)

    def rows(self) -> dict[str, list[list[int]]]:
        """For the node's report: point to rows of step and time."""
        # copies, because another thread may be writing
        points = dict(self._times)
        return {name: [list(row) for row in dict(points[name]).items()] for name in points}


def join_hops(reports: Iterable[NodeReport]) -> dict[str, list[float]]:
    """Length of every hop of every step of an episode, ms."""
    times = _merge(reports)
    hops: dict[str, list[float]] = {}
    for hop, (start, end, _) in HOPS.items():
        begun, ended = times.get(start, {}), times.get(end, {})
        lengths = [ended[tick] - begun[tick] for tick in begun.keys() & ended.keys()]
        hops[hop] = [us / 1e3 for us in lengths if abs(us) < LONGEST_US]
    return hops


def join_periods(reports: Iterable[NodeReport]) -> dict[str, list[float]]:
    """Time between two actions of following steps, and between two references, ms."""
    reports = list(reports)
    sent = _merge(reports).get(ACTION_SENT, {})
    return {
        "residual": [(sent[tick] - sent[tick - 1]) / 1e3 for tick in sent if tick - 1 in sent],
        "reference": [ms for r in reports for ms in r.latency_ms.get(REFERENCE_PERIOD, [])],
    }


def _merge(reports: Iterable[NodeReport]) -> dict[str, Times]:
    times: dict[str, Times] = {}
    for report in reports:
        for point, rows in report.trace.items():
            times.setdefault(point, {}).update({int(tick): int(us) for tick, us in rows})
    return times


def make_table(hops: Mapping[str, Distribution], periods: Mapping[str, Distribution]) -> Table:
    """For people: every hop and period with median, 99th percentile and greatest value."""
    table = Table(title="latency and periods, ms", title_justify="left", box=SIMPLE)
    table.add_column("hop")
    for name in ("p50", "p99", "max", "n"):
        table.add_column(name, justify="right")
    table.add_column("where")
    lines = [(name, hops[name], HOPS[name][2]) for name in HOPS if name in hops]
    lines += [
        (f"{name} period", periods[name], PERIODS[name]) for name in PERIODS if name in periods
    ]
    for name, values, what in lines:
        numbers = ["-" if v is None else f"{v:.2f}" for v in values.summary().values()]
        table.add_row(name, *numbers, str(len(values)), what)
    return table
