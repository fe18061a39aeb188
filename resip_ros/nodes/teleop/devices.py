# SPDX-License-Identifier: Apache-2.0
"""Opens the device that an operator asks for."""

from __future__ import annotations

import sys

from rclpy.node import Node

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.teleop.device import Device
from resip_ros.nodes.teleop.gamepad import GamepadDevice, JoyDevice
from resip_ros.nodes.teleop.keyboard import KeyboardDevice
from resip_ros.nodes.teleop.spacemouse import SpaceMouseDevice
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys

KEYBOARD, JOY, GAMEPAD, SPACEMOUSE = DEVICES = ("keyboard", "joy", "gamepad", "spacemouse")


def open_device(name: str, node: Node | None) -> Device:
    """The device that was asked for; session keys come from the terminal where there is one.

    Args:
        name: One of DEVICES.
        node: Subscribes to the joy topic; the other devices do without.

    Raises:
        ConfigError: it is unknown, or not there.
    """
    if name not in DEVICES or (name == JOY and node is None):
        raise ConfigError(f"device {name!r} is unknown; expected one of {', '.join(DEVICES)}")
    keys = TerminalKeys(sys.stdin.fileno()) if sys.stdin.isatty() else None
    if name == KEYBOARD:
        if keys is None:
            raise ConfigError("--device keyboard needs a terminal; start it from one")
        return KeyboardDevice(keys)
    if name == JOY and node is not None:
        return JoyDevice(node, keys)
    try:
        return GamepadDevice(keys) if name == GAMEPAD else SpaceMouseDevice(keys)
    except ConfigError:
        if keys is not None:
            keys.close()
        raise
