# SPDX-License-Identifier: Apache-2.0
"""A SpaceMouse as an operator's device, through pyspacemouse (extra ``teleop``)."""

from __future__ import annotations

import contextlib
import importlib
import threading
import time
from typing import Any

import numpy as np

from resip_ros.core.errors import ConfigError
from resip_ros.core.teleop import Reading, apply_dead_zone
from resip_ros.nodes.teleop.device import DEAD_ZONE, DeviceLost, HandDevice, make_reading
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys


class SpaceMouseDevice(HandDevice):
    """A SpaceMouse. Moving the cap takes the lead; the right button gives it back."""

    help = "SpaceMouse: the cap moves and turns, left button gripper, right button gives back"

    def __init__(self, keys: TerminalKeys | None, source: Any = None) -> None:
        """Opens it.

        Args:
            keys: The terminal, for the session's keys.
            source: An open device of pyspacemouse; by default the first one found.

        Raises:
            ConfigError: the package or the device is missing.
        """
        super().__init__(keys)
        self._source = source if source is not None else open_spacemouse()
        self._axes, self._buttons = np.zeros(6), [0, 0]
        self._held, self._toggles = False, 0
        self._lost = ""
        self._closing = threading.Event()
        threading.Thread(target=self._listen, daemon=True, name="spacemouse").start()

    def _listen(self) -> None:
        try:
            while not self._closing.wait(0.004):
                state = self._source.read()
                self._update(state)
        except Exception as error:  # noqa: BLE001, whatever its driver raises: it is gone
            self._lost = str(error) or type(error).__name__

    def _update(self, state: Any) -> None:
        axes = [state.x, state.y, state.z, state.roll, state.pitch, state.yaw]
        axes = apply_dead_zone(np.array(axes), DEAD_ZONE)
        buttons = [*(int(b) for b in state.buttons), 0, 0][:2]
        with self._lock:
            if axes.any():
                self._held = True
                if not self._axes.any():
                    self._event_s = self._event_s or time.monotonic()
            self._toggles += bool(buttons[0] and not self._buttons[0])
            if buttons[1]:
                self._held = False
            self._axes, self._buttons = axes, buttons

    def read(self) -> Reading:
        """Cap and buttons.

        Raises:
            DeviceLost: it was unplugged.
        """
        if self._lost:
            raise DeviceLost(f"SpaceMouse is gone: {self._lost}; plug it in and start again")
        with self._lock:
            toggles, self._toggles = self._toggles, 0
            return make_reading(self._axes, toggles, self._held)

    def release(self) -> None:
        """Lets go, until the cap is moved."""
        with self._lock:
            self._held, self._toggles, self._event_s = False, 0, None

    def close(self) -> None:
        """Gives device and terminal back."""
        self._closing.set()
        with contextlib.suppress(Exception):
            self._source.close()
        super().close()


def open_spacemouse() -> Any:
    """The first SpaceMouse; its axes are x forward, y left, z up.

    Raises:
        ConfigError: the package or the device is missing.
    """
    try:
        library: Any = importlib.import_module("pyspacemouse")
        return library.open(axis_convention=library.AxisConvention.ROS)
    except ImportError as error:
        raise ConfigError(
            f"--device spacemouse needs pyspacemouse ({error}): pip install 'resip_ros[teleop]' "
            "and the system's libhidapi (apt-get install libhidapi-hidraw0)"
        ) from error
    except Exception as error:
        raise ConfigError(
            f"no SpaceMouse: {error}; plug one in, allow your user to read /dev/hidraw*, or use "
            "--device keyboard"
        ) from error
