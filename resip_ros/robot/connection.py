# SPDX-License-Identifier: Apache-2.0
"""Connecting to the robot in bounded time, with errors that say what to do.

libfranka waits up to a minute for a robot that does not answer and for ever for one that
accepts the connection and then stays silent (for example because another client holds it).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TypeVar

import franky

from resip_ros.core.errors import ResipError

T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0


class RobotUnavailable(ResipError):
    """The robot or its gripper cannot be reached, or does not accept what was asked."""


class FaultKind(Enum):
    """Why the arm left control; each needs its own recovery."""

    REFLEX = "reflex"
    """The robot stopped itself or was stopped: recover_from_errors on the same connection."""
    NETWORK = "network"
    """The robot was lost: only a new connection helps."""


def classify_fault(error: BaseException) -> FaultKind:
    """Tell a lost connection from a reflex by franky's exception type."""
    lost = (franky.NetworkException, franky.ProtocolException, RuntimeError)
    return FaultKind.NETWORK if isinstance(error, lost) else FaultKind.REFLEX


def realtime_config() -> franky.RealtimeConfig:
    """Real-time scheduling where the kernel offers it; without it libfranka would refuse."""
    flag = Path("/sys/kernel/realtime")
    has_realtime = flag.exists() and flag.read_text().strip() == "1"
    return franky.RealtimeConfig.Enforce if has_realtime else franky.RealtimeConfig.Ignore


def connect_bounded(
    make: Callable[[], T], what: str, address: str, timeout_s: float = CONNECT_TIMEOUT_S
) -> T:
    """Call ``make`` in a thread of its own and wait no longer than ``timeout_s``.

    Args:
        make: Opens the connection; must release the GIL while it waits, as franky does.
        what: "arm" or "gripper", for the message.
        address: Host name or IP address, for the message.
        timeout_s: Longest wait, s.

    Raises:
        RobotUnavailable: refused, unknown host, incompatible server, or no answer in time.
    """
    done: list[T] = []
    failed: list[Exception] = []
    is_abandoned = threading.Event()

    def attempt() -> None:
        try:
            made = make()
            # a connection that comes too late would shut out the next attempt
            if not is_abandoned.is_set():
                done.append(made)
        except Exception as error:  # noqa: BLE001, handed to the caller
            failed.append(error)

    # daemon: a connection attempt that never returns must not keep the process alive
    thread = threading.Thread(target=attempt, daemon=True, name=f"connect-{what}")
    thread.start()
    thread.join(timeout_s)
    if done:
        return done[0]
    is_abandoned.set()
    if not failed:
        raise RobotUnavailable(
            f"{what} at {address} did not answer within {timeout_s:.0f} s; check the address, "
            "the cable, that FCI is activated in Desk, and that no other client is connected"
        )
    error = failed[0]
    if isinstance(error, franky.IncompatibleVersionException):
        raise RobotUnavailable(
            f"{what} at {address} speaks another protocol version than this libfranka: {error}; "
            "install the franky-control build that matches the robot's system image"
        ) from error
    reason = str(error).strip().rstrip(".")
    raise RobotUnavailable(
        f"{what} at {address} refused the connection: {reason}; check the address, "
        "that the robot is on, and that FCI is activated in Desk"
    ) from error
