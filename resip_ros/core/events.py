# SPDX-License-Identifier: Apache-2.0
"""What nodes tell each other about an episode, as JSON text in a string message."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any, cast

from resip_ros.core.errors import DataError

HOMED = "homed"
PLACED = "placed"
STARTED = "started"
SUCCEEDED = "succeeded"
STOPPED = "stopped"
FAULT = "fault"
UNDONE = "undone"
"""The simulated bench went back; the detail is the ROS time of the state it went back to, ns."""
SHADOW = "shadow"
"""Detail of a start in shadow mode: nothing that is commanded is carried out."""
KINDS = (HOMED, PLACED, STARTED, SUCCEEDED, STOPPED, FAULT, UNDONE)


@dataclass(frozen=True)
class EpisodeEvent:
    """Something that happened in an episode."""

    kind: str
    """One of KINDS."""
    stamp_ns: int
    """When, ns of the ROS clock."""
    detail: str = ""
    """For people."""

    def __post_init__(self) -> None:
        """Checks the kind and the types.

        Raises:
            DataError: for an unknown kind or a wrong type.
        """
        if self.kind not in KINDS:
            raise DataError(f"episode event {self.kind!r:.80} is unknown; expected one of {KINDS}")
        # from JSON, so that the annotations promise nothing
        if type(self.stamp_ns) is not int or type(self.detail) is not str:
            raise DataError(
                f"episode event has stamp_ns {self.stamp_ns!r:.60}, detail {self.detail!r:.60}; "
                "expected a whole number and text"
            )

    def to_json(self) -> str:
        """Text of the message."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class NodeReport:
    """What one node counted and measured from start to stop of an episode."""

    node: str
    counts: dict[str, int] = field(default_factory=dict[str, int])
    latency_ms: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    trace: dict[str, list[list[int]]] = field(default_factory=dict[str, list[list[int]]])
    """When steps passed the node: point to rows of step and microseconds (nodes.latency)."""

    def __post_init__(self) -> None:
        """Checks the types.

        Raises:
            DataError: for wrong ones.
        """
        tables: list[object] = [self.counts, self.latency_ms, self.trace]
        if type(self.node) is not str or not all(isinstance(t, dict) for t in tables):
            raise DataError(f"report of {self.node!r:.80}: expected a name and tables")
        rows = self.latency_ms.values()
        values = [*self.counts.values(), *(v for row in rows for v in _as_list(row))]
        if not all(type(value) in (int, float) for value in values):
            raise DataError(f"report of {self.node!r:.80} holds what is no number")
        # JSON's reader takes NaN and Infinity, which result.json cannot hold
        if not all(type(c) is int or isfinite(c) for c in self.counts.values()):
            raise DataError(f"report of {self.node!r:.80} has a count that is not finite")
        passages = [pair for rows in self.trace.values() for pair in _as_list(rows)]
        if not all([type(v) for v in _as_list(pair)] == [int, int] for pair in passages):
            raise DataError(f"trace of {self.node!r:.80}: expected rows of step and microseconds")

    def to_json(self) -> str:
        """Text of the message."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class TeleopActive:
    """Who leads from some action on: the operator or the policy."""

    active: bool
    """Whether an operator leads."""
    stamp_ns: int
    """Stamp of the first action of the new leader, ns of the ROS clock."""

    def to_json(self) -> str:
        """Text of the message."""
        return json.dumps(asdict(self))


def parse_teleop_active(text: str) -> TeleopActive:
    """Reads who leads.

    Raises:
        DataError: when the text does not say it.
    """
    found = _parse(text, TeleopActive)
    if type(found.active) is not bool or type(found.stamp_ns) is not int:
        raise DataError(f"TeleopActive is {text[:80]!r}; expected true or false and whole ns")
    return found


def parse_event(text: str) -> EpisodeEvent:
    """Reads an event.

    Raises:
        DataError: when the text is not one.
    """
    return _parse(text, EpisodeEvent)


def parse_report(text: str) -> NodeReport:
    """Reads a report.

    Raises:
        DataError: when the text is not one.
    """
    return _parse(text, NodeReport)


def _as_list(row: object) -> list[object]:
    """A list, or None for what is none, which is no number."""
    return cast("list[object]", row) if isinstance(row, list) else [None]


def _parse(text: str, kind: type[Any]) -> Any:
    """JSON object to dataclass, refusing other keys."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{kind.__name__} is not JSON: {text[:80]!r}") from error
    names = {spec.name for spec in fields(kind)}
    if not isinstance(document, dict) or not names.issuperset(cast("dict[str, Any]", document)):
        raise DataError(f"{kind.__name__} is {text[:80]!r}; expected keys {sorted(names)}")
    try:
        return kind(**document)
    except TypeError as error:
        raise DataError(f"{kind.__name__} is incomplete: {error}") from error
