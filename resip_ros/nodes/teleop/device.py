# SPDX-License-Identifier: Apache-2.0
"""What every operator's device gives.

A device that is gone raises ``DeviceLost``: its node then sends nothing, and the bridge stops the
arm.
"""

from __future__ import annotations

import threading
from typing import Protocol

from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.teleop import Reading
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys

SAVE, DISCARD, QUIT, UNDO = "\n", "x", "q", "z"
"""Keys of the session: a gamepad has the first two."""
DEAD_ZONE = 0.08


class DeviceLost(ResipError):
    """The operator's device does not answer any more."""


class Device(Protocol):
    """An operator's device."""

    help: str
    """How to use it, for the terminal."""

    def read(self) -> Reading:
        """What is held now.

        Raises:
            DeviceLost: it does not answer.
        """
        ...

    def event_s(self) -> float | None:
        """Monotonic time of the oldest press since the last call, s; None without one."""
        ...

    def release(self) -> None:
        """Forgets what was pressed so far: a new episode begins."""
        ...

    def commands(self) -> list[str]:
        """Keys of the session (``SAVE``, ``DISCARD``, ...) since the last call."""
        ...

    def close(self) -> None:
        """Gives the device back."""
        ...


class HandDevice:
    """What devices have in common that are held beside the terminal, which gives session keys."""

    def __init__(self, keys: TerminalKeys | None) -> None:
        self._keys = keys
        self._lock = threading.Lock()
        self._event_s: float | None = None

    def event_s(self) -> float | None:
        """When it was moved first since the last call, monotonic, s; None if it was not."""
        with self._lock:
            event_s, self._event_s = self._event_s, None
        return event_s

    def commands(self) -> list[str]:
        """The terminal's keys."""
        return [key for key, _ in self._keys.take()] if self._keys is not None else []

    def close(self) -> None:
        """Gives the terminal back."""
        if self._keys is not None:
            self._keys.close()


def make_reading(axes: Array, toggles: int, held: bool) -> Reading:
    """Six shares, as plain numbers."""
    x, y, z, about_x, about_y, about_z = (float(v) for v in axes)
    return Reading((x, y, z), (about_x, about_y, about_z), toggles, held)
