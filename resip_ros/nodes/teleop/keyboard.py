# SPDX-License-Identifier: Apache-2.0
"""The keyboard of a terminal as an operator's device."""

from __future__ import annotations

import time

import numpy as np

from resip_ros.core.teleop import Reading
from resip_ros.nodes.teleop.device import make_reading
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys

MOVES = {
    "w": (0, 1),
    "s": (0, -1),
    "a": (1, 1),
    "d": (1, -1),
    "r": (2, 1),
    "f": (2, -1),
    "u": (3, -1),
    "o": (3, 1),
    "i": (4, 1),
    "k": (4, -1),
    "j": (5, 1),
    "l": (5, -1),
}
"""Key to axis (x y z, then about x y z) and sign, base frame."""
GRIP, GIVE_BACK, FASTER, SLOWER = " ", "p", "+", "-"
KEY_HELD_S = 0.12
"""A terminal tells of no release; a held key repeats every 25 to 40 ms."""
KEY_SPEED = 0.3
SLOWEST = 0.03


class KeyboardDevice:
    """Keys of a terminal. Any motion key takes the lead; ``p`` gives it back."""

    help = (
        "keys: w/s x, a/d y, r/f z, u/o i/k j/l turn, space gripper, +/- speed, "
        "p gives back to the policy"
    )

    def __init__(self, keys: TerminalKeys) -> None:
        self._keys = keys
        self._pressed_s: dict[str, float] = {}
        self._held = False
        self._toggles = 0
        self._speed = KEY_SPEED
        self._event_s: float | None = None
        self._others: list[str] = []

    def read(self) -> Reading:
        """Sums the keys that are held."""
        self._take()
        axes = np.zeros(6)
        now_s = time.monotonic()
        for key, pressed_s in list(self._pressed_s.items()):
            axis, sign = MOVES[key]
            axes[axis] += sign * self._speed
            # once at least, however short the press was
            if now_s - pressed_s > KEY_HELD_S:
                del self._pressed_s[key]
        toggles, self._toggles = self._toggles, 0
        return make_reading(axes, toggles, self._held)

    def _take(self) -> None:
        for key, when_s in self._keys.take():
            if key in MOVES or key == GRIP:
                self._held = True
                self._event_s = self._event_s or when_s
            if key in MOVES:
                self._pressed_s[key] = when_s
            elif key == GRIP:
                self._toggles += 1
            elif key == GIVE_BACK:
                self._held = False
                self._pressed_s.clear()
            elif key in (FASTER, SLOWER):
                factor = 1.5 if key == FASTER else 1 / 1.5
                self._speed = float(np.clip(self._speed * factor, SLOWEST, 1.0))
            else:
                self._others.append(key)

    def event_s(self) -> float | None:
        """When the oldest key was pressed."""
        event_s, self._event_s = self._event_s, None
        return event_s

    def release(self) -> None:
        """Lets go."""
        self._held, self._toggles, self._event_s = False, 0, None
        self._pressed_s.clear()

    def commands(self) -> list[str]:
        """Keys that mean nothing to the arm."""
        self._take()
        others, self._others = self._others, []
        return others

    def close(self) -> None:
        """Gives the terminal back."""
        self._keys.close()
