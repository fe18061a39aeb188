# SPDX-License-Identifier: Apache-2.0
"""Gamepads, through ROS's `joy` topic or through the kernel.

Both speak in the order of ROS's `game_controller_node`; left and up are positive.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Joy

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.core.teleop import Reading, apply_dead_zone
from resip_ros.nodes.teleop.device import (
    DEAD_ZONE,
    DISCARD,
    SAVE,
    DeviceLost,
    HandDevice,
    make_reading,
)
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys

JOY_TOPIC = "joy"
JOY_SILENCE_S = 0.3
"""The joy node repeats what is held 20 times a second."""
BUTTON_A, BUTTON_BACK, BUTTON_START, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 4, 6, 9, 10
PAD_BUTTONS = 11
KERNEL_EVENT = struct.Struct("IhBB")
"""linux/joystick.h: time ms, value, type, number."""
KERNEL_BUTTONS = {
    0: BUTTON_A,
    4: LEFT_SHOULDER,
    5: RIGHT_SHOULDER,
    6: BUTTON_BACK,
    7: BUTTON_START,
}
KERNEL_AXES = {0: 0, 1: 1, 3: 2, 4: 3}
"""Of the kernel's xpad driver, to left x, left y, right x, right y."""


class PadDevice(HandDevice):
    """What gamepads have in common; dead-man is the right shoulder."""

    help = (
        "gamepad: hold the right shoulder to lead; left stick x y, right stick z and yaw, left "
        "shoulder + left stick turns, A gripper, Start saves, Back discards"
    )

    def __init__(self, keys: TerminalKeys | None) -> None:
        super().__init__(keys)
        self._axes, self._buttons = np.zeros(4), [0] * PAD_BUTTONS
        self._toggles = 0
        self._commands: deque[str] = deque()

    def _update(self, axes: Array, buttons: Sequence[int]) -> None:
        """New state; called from any thread."""
        with self._lock:
            for number, command in ((BUTTON_START, SAVE), (BUTTON_BACK, DISCARD)):
                if buttons[number] and not self._buttons[number]:
                    self._commands.append(command)
            self._toggles += bool(buttons[BUTTON_A] and not self._buttons[BUTTON_A])
            if self._event_s is None and (axes != self._axes).any():
                self._event_s = time.monotonic()
            self._axes, self._buttons = axes, list(buttons)

    def read(self) -> Reading:
        """Sticks and shoulders."""
        with self._lock:
            left_x, left_y, right_x, right_y = apply_dead_zone(self._axes, DEAD_ZONE)
            turns = bool(self._buttons[LEFT_SHOULDER])
            moves = [0.0, 0.0, right_y, -left_x, left_y, right_x]
            if not turns:
                moves = [left_y, left_x, right_y, 0.0, 0.0, right_x]
            held = bool(self._buttons[RIGHT_SHOULDER])
            toggles, self._toggles = self._toggles, 0
        return make_reading(np.array(moves), toggles, held)

    def release(self) -> None:
        """Forgets presses; what is held is held."""
        with self._lock:
            self._toggles, self._event_s = 0, None

    def commands(self) -> list[str]:
        """Start, Back and the terminal's keys."""
        keys = super().commands()
        with self._lock:
            keys += self._commands
            self._commands.clear()
        return keys


class JoyDevice(PadDevice):
    """A gamepad through ROS's joy package."""

    def __init__(self, node: Node, keys: TerminalKeys | None) -> None:
        super().__init__(keys)
        self._heard_s = 0.0
        node.create_subscription(Joy, JOY_TOPIC, self._on_joy, 5)

    def _on_joy(self, message: Joy) -> None:
        if len(message.axes) < 4 or len(message.buttons) < PAD_BUTTONS:
            return  # stays silent, which read() reports
        self._heard_s = time.monotonic()
        self._update(np.array(message.axes[:4], dtype=np.float64), message.buttons)

    def read(self) -> Reading:
        """Sticks and shoulders.

        Raises:
            DeviceLost: the topic is silent.
        """
        if time.monotonic() - self._heard_s > JOY_SILENCE_S:
            raise DeviceLost(
                f"topic joy brought nothing with 4 axes and {PAD_BUTTONS} buttons for "
                f"{JOY_SILENCE_S} s; start: ros2 run joy game_controller_node --ros-args "
                "-r __ns:=/fr3"
            )
        return super().read()


class GamepadDevice(PadDevice):
    """A gamepad through the kernel, as an Xbox pad is seen by it; needs no ROS package."""

    def __init__(self, keys: TerminalKeys | None, path: Path = Path("/dev/input/js0")) -> None:
        """Opens it.

        Raises:
            ConfigError: there is none, or it may not be read.
        """
        super().__init__(keys)
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise ConfigError(
                f"gamepad {path}: {error.strerror}; plug one in, or use --device joy or keyboard"
            ) from error
        self._lost = ""
        threading.Thread(target=self._listen, daemon=True, name="gamepad").start()

    def _listen(self) -> None:
        axes, buttons = np.zeros(4), [0] * PAD_BUTTONS
        try:
            while len(data := self._file.read(KERNEL_EVENT.size)) == KERNEL_EVENT.size:
                _, value, kind, number = KERNEL_EVENT.unpack(data)
                if kind & 1 and number in KERNEL_BUTTONS:
                    buttons[KERNEL_BUTTONS[number]] = value
                elif kind & 2 and number in KERNEL_AXES:
                    axes = axes.copy()
                    axes[KERNEL_AXES[number]] = -value / 32767
                self._update(axes, buttons)
            self._lost = "it was unplugged"
        except (OSError, ValueError) as error:
            self._lost = str(error)

    def read(self) -> Reading:
        """Sticks and shoulders.

        Raises:
            DeviceLost: it was unplugged.
        """
        if self._lost:
            raise DeviceLost(f"gamepad is gone: {self._lost}; plug it in and start again")
        return super().read()
