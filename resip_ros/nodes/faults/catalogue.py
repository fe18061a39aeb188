# SPDX-License-Identifier: Apache-2.0
"""Every fault that the bench injects, what must happen, and the bounds on what the arm does.

Bounds come from the limits in config/robots/fr3.yaml. A command's segment lasts 0.1 s, the
reference then coasts to rest within ``hold_duration_s`` (0.1 s), and the watchdog of
``command_timeout_s`` (0.25 s) declares the hold; the arm itself settles within another 0.2 s.
The hand is led by at most a leash (25 mm) per step, so it moves at up to 0.25 m/s.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.faults import corruption
from resip_ros.nodes.faults.switch import (
    CLOCK_AHEAD,
    CLOCK_BACK,
    CLOCK_STOPPED,
    DISCONNECTED,
    GRIPPER_SILENT,
    PARTS_FROZEN,
    REFLEX,
    STALL_SIGNAL,
)

BASE, RESIDUAL, CAMERA = "base_policy", "residual_policy", "camera"
BRIDGE, WORLD, RECORDER = "franka_bridge", "sim_world", "recorder"
MISSING, DAMAGED, FOREIGN = "missing", "damaged", "foreign"
"""Policies that base_policy is asked to exchange its own for."""

SILENCE_MS, SILENCE_M = 700.0, 0.08
"""One more segment, coasting, settling; a leash and what was on its way."""
CHUNK_MS, CHUNK_M = 1600.0, 0.30
"""A chunk's 8 steps are carried out, then silence."""
STOP_MS, STOP_M = 400.0, 0.06
"""The robot has ended the motion by itself, or the bridge has held at once."""
GRIPPER_MS, GRIPPER_M = 2000.0, 0.40
"""1 s of silence by the wall clock, the next command, a stop."""
HANG_MS, HANG_M = 2200.0, 0.08
"""The reference stands still at once; after ``supervisor_timeout_s`` (1.5 s) the robot ends the
motion."""


@dataclass(frozen=True)
class Fault:
    """One way to break the stack. Exactly one of the ways is set."""

    name: str
    expected: str
    """For people."""
    hold_ms: float | None
    """The arm rests after at most this much simulated time; None: it may go on."""
    motion_m: float
    """The hand moves by at most this much after the fault, m; of an arm that goes on, per
    second."""
    node: str = ""
    """Node that is sent ``number``."""
    number: signal.Signals | None = None
    duty: bool = False
    """Stops and continues the node in turns instead, so that it gets a quarter of its time."""
    topic: str = ""
    """Text for the faulty nodes' topic."""
    intruder: str = ""
    """What a second publisher sends: action, or a kind of corruption of a chunk."""
    exchange: str = ""
    """Bad policy that base_policy is asked to take, which it must refuse."""
    is_full: bool = False
    """Whether the node may write no more to any file, as on a full disk."""
    event: str = ""
    """Text that the fault's event must contain; empty: no event is needed."""
    ends_graph: bool = False
    """Processes have ended: the next injection needs a new graph."""
    has_truth: bool = True
    """Whether the simulated world lives, so that it can tell what the arm did."""


_HOLD = "no command for 250 ms: hold"
_NO_COMMAND = "no command in time"
_LOST = "call ~/recover"


def _killed(node: str, expected: str, hold_ms: float | None, motion_m: float, event: str) -> Fault:
    name = f"{_SHORT[node]}_killed"
    return Fault(
        name,
        expected,
        hold_ms,
        motion_m,
        node=node,
        number=signal.SIGKILL,
        event=event,
        ends_graph=True,
        has_truth=node != WORLD,
    )


def _stopped(node: str, expected: str, hold_ms: float, motion_m: float, event: str) -> Fault:
    # of a bridge or a robot that comes back nothing is left that could go on
    return Fault(
        f"{_SHORT[node]}_stopped",
        expected,
        hold_ms,
        motion_m,
        node=node,
        number=signal.SIGSTOP,
        event=event,
        ends_graph=node in (BRIDGE, WORLD),
    )


def _exchange(kind: str) -> Fault:
    return Fault(f"policy_{kind}", "refused; goes on", None, 0.5, exchange=kind)


_UNHEARD = (corruption.SILENT, corruption.LOST)


def _action(kind: str) -> Fault:
    expected = _HOLD if kind in _UNHEARD else f"refused; {_HOLD}"
    name = f"action_{kind}"
    return Fault(name, expected, SILENCE_MS, SILENCE_M, topic=kind, event=_NO_COMMAND)


_SHORT = {
    BASE: "base",
    RESIDUAL: "residual",
    CAMERA: "camera",
    BRIDGE: "bridge",
    WORLD: "world",
    RECORDER: "recorder",
}

FAULTS: tuple[Fault, ...] = (
    _killed(BASE, f"the chunk's rest, then {_HOLD}", CHUNK_MS, CHUNK_M, _NO_COMMAND),
    _stopped(BASE, f"the chunk's rest, then {_HOLD}", CHUNK_MS, CHUNK_M, _NO_COMMAND),
    _killed(RESIDUAL, _HOLD, SILENCE_MS, SILENCE_M, _NO_COMMAND),
    _stopped(RESIDUAL, _HOLD, SILENCE_MS, SILENCE_M, _NO_COMMAND),
    Fault(
        "residual_starved",
        "late actions are refused; a gap of 250 ms: hold",
        CHUNK_MS,
        CHUNK_M,
        node=RESIDUAL,
        duty=True,
        event=_NO_COMMAND,
    ),
    _killed(CAMERA, "goes on: no policy here sees pictures", None, 0.5, ""),
    _killed(BRIDGE, "robot ends the motion after 20 missed commands", STOP_MS, STOP_M, ""),
    _stopped(BRIDGE, "robot ends the motion; supervisor kills the bridge", STOP_MS, STOP_M, ""),
    Fault(
        "bridge_hung",
        "supervisor kills the bridge, robot ends the motion",
        HANG_MS,
        HANG_M,
        node=BRIDGE,
        number=STALL_SIGNAL,
        ends_graph=True,
    ),
    _killed(WORLD, "bridge reports the lost robot", None, 0.0, _LOST),
    _stopped(WORLD, "bridge reports the lost robot; no motion after", STOP_MS, STOP_M, _LOST),
    Fault(
        "connection_lost",
        "robot ends the motion; bridge reports it",
        STOP_MS,
        STOP_M,
        topic=DISCONNECTED,
        event=_LOST,
    ),
    Fault(
        "reflex",
        "robot ends the motion; bridge reports it",
        STOP_MS,
        STOP_M,
        topic=REFLEX,
        event="cartesian_reflex",
    ),
    Fault(
        "parts_frozen",
        f"no observation; {_HOLD}",
        SILENCE_MS + 200.0,
        SILENCE_M + 0.05,
        topic=PARTS_FROZEN,
        event=_NO_COMMAND,
    ),
    *(
        Fault(
            name,
            f"no observation, or refused; {_HOLD}",
            SILENCE_MS + 200.0,
            SILENCE_M + 0.05,
            topic=topic,
            event=_NO_COMMAND,
        )
        for name, topic in (
            ("clock_ahead", CLOCK_AHEAD),
            ("clock_back", CLOCK_BACK),
        )
    ),
    Fault(
        "clock_stopped",
        "goes on by the stamps of measurements, or holds",
        None,
        0.5,
        topic=CLOCK_STOPPED,
    ),
    Fault(
        "gripper_silent",
        "hold when nothing has come for 1 s",
        GRIPPER_MS,
        GRIPPER_M,
        topic=GRIPPER_SILENT,
        event="has been silent",
    ),
    *(_action(kind) for kind in corruption.KINDS if kind != corruption.LOSSY),
    Fault("action_lossy", "goes on with 5 % lost, or holds", None, 0.5, topic=corruption.LOSSY),
    *(_exchange(kind) for kind in (MISSING, DAMAGED, FOREIGN)),
    _killed(RECORDER, "goes on", None, 0.5, ""),
    Fault("recorder_full", "goes on", None, 0.5, node=RECORDER, is_full=True, ends_graph=True),
    Fault("chunk_nan", "dropped; goes on", None, 0.5, intruder=corruption.NAN),
    Fault(
        "chunk_jump",
        f"its actions are refused; {_HOLD}",
        SILENCE_MS + 100.0,
        SILENCE_M,
        intruder=corruption.JUMP,
        event=_NO_COMMAND,
    ),
    Fault(
        "two_publishers",
        "hold at once",
        SILENCE_MS - 200.0,
        SILENCE_M,
        intruder="action",
        event="publishers on",
    ),
)


def find_faults(name: str | None) -> tuple[Fault, ...]:
    """All faults, or the one of that name.

    Raises:
        ConfigError: for an unknown name.
    """
    chosen = tuple(fault for fault in FAULTS if name in (None, fault.name))
    if not chosen:
        raise ConfigError(
            f"fault {name!r} is unknown; expected one of: {', '.join(f.name for f in FAULTS)}"
        )
    return chosen
