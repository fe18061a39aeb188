# SPDX-License-Identifier: Apache-2.0
"""What the arm did after a fault, and whether that was safe; pure. K samples of the true state.

Times are simulated ones, so that a busy machine, on which the simulation runs slower, changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import forward, tcp_velocity
from resip_ros.core.results import percentiles
from resip_ros.nodes.faults.catalogue import Fault

REST_RAD_S = 0.02
"""Joint speed below which the arm rests; a held arm stays below 0.005 rad/s."""


@dataclass(frozen=True)
class Trace:
    """True state of the arm from the fault on."""

    time_s: Array
    """(K,) simulated time, s."""
    q: Array
    """(K, 7) rad."""
    dq: Array
    """(K, 7) rad/s."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]], since_s: float) -> Trace:
        """Rows [time, q 7, dq 7] from a time on; the last row before it is the first."""
        table = np.asarray(rows, dtype=np.float64).reshape(-1, 15)
        first = max(0, int(np.searchsorted(table[:, 0], since_s, side="right")) - 1)
        table = table[first:]
        return cls(table[:, 0], table[:, 1:8], table[:, 8:])


@dataclass(frozen=True)
class Outcome:
    """One injection."""

    safe: bool
    reasons: list[str] = field(default_factory=list[str])
    """Why not."""
    hold_ms: float | None = None
    """Simulated time from the fault to lasting rest; None: the arm did not come to rest."""
    motion_m: float = 0.0
    """Farthest that the hand was from where it was at the fault, m."""
    speed_m_s: float = 0.0
    """Speed of the hand at the fault, m/s."""
    note: str = ""
    """What was safe but not expected."""


def time_to_rest_ms(trace: Trace) -> float | None:
    """From the first sample to the one from which on the arm rests; None if it never does."""
    moving = np.flatnonzero(np.abs(trace.dq).max(axis=1) > REST_RAD_S)
    last = int(moving[-1]) + 1 if len(moving) else 0
    if last >= len(trace.time_s):
        return None
    return float(trace.time_s[last] - trace.time_s[0]) * 1e3


def judge(
    fault: Fault, trace: Trace, details: Sequence[str], wrong: Sequence[str] = ()
) -> Outcome:
    """Compares what was seen with what the fault demands.

    Args:
        fault: Its bounds.
        trace: From the fault to the end of the watch; at least one sample.
        details: Texts of the fault events since then.
        wrong: What else was seen that must not be.
    """
    pos, _ = forward(trace.q)
    motion_m = float(np.linalg.norm(pos - pos[0], axis=-1).max())
    hold_ms = time_to_rest_ms(trace)
    reasons = [*_event_reasons(fault, details), *wrong]
    seconds = max(1.0, float(trace.time_s[-1] - trace.time_s[0]))
    allowed_m = fault.motion_m * (seconds if fault.hold_ms is None else 1.0)
    if fault.has_truth and motion_m > allowed_m:
        reasons.append(f"the hand moved {motion_m:.3f} m, allowed {allowed_m:.3f} m")
    if fault.hold_ms is not None:
        if hold_ms is None:
            reasons.append("the arm did not come to rest")
        elif hold_ms > fault.hold_ms:
            reasons.append(f"rest after {hold_ms:.0f} ms, allowed {fault.hold_ms:.0f} ms")
    linear, _ = tcp_velocity(trace.q[0], trace.dq[0])
    speed = float(np.linalg.norm(linear))
    note = ""
    if fault.hold_ms is None and fault.has_truth and details:
        # always safe, and on a busy machine a command may be late for its own reasons
        note = f"did not go on: {details[0]}"
    return Outcome(not reasons, reasons, hold_ms, motion_m, speed, note)


def _event_reasons(fault: Fault, details: Sequence[str]) -> list[str]:
    """What is wrong with the events that came."""
    if fault.event and not any(fault.event in text for text in details):
        told = "; ".join(details) or "nothing"
        return [f"expected an event with {fault.event!r}, was told {told}"]
    return []


def summarise(fault: Fault, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Row of the report."""
    holds = [o.hold_ms for o in outcomes if o.hold_ms is not None]
    reasons = sorted({text for o in outcomes for text in (*o.reasons, o.note) if text})
    holds = holds if fault.hold_ms is not None else []
    motion_m = max((o.motion_m for o in outcomes), default=0.0)
    words = [f"moved {1e3 * motion_m:.0f} mm at most"] if fault.has_truth else ["no arm left"]
    words += [f"rest after {max(holds):.0f} ms at most"] if holds else []
    return {
        "name": fault.name,
        "expected": fault.expected,
        "measured": "; ".join(words + reasons),
        "safe": bool(outcomes) and all(o.safe for o in outcomes),
        "hold_ms": percentiles(holds),
        "motion_mm": round(1e3 * motion_m, 1),
        "allowed": {"hold_ms": fault.hold_ms, "motion_mm": round(1e3 * fault.motion_m, 1)},
        "speed_mm_s": [round(1e3 * o.speed_m_s) for o in outcomes],
        "n": len(outcomes),
    }
