# SPDX-License-Identifier: Apache-2.0
"""Opens the device that an operator asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rclpy.node import Node

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.teleop.device import Device
from resip_ros.nodes.teleop.gamepad import GamepadDevice, JoyDevice
from resip_ros.nodes.teleop.keyboard import KeyboardDevice
from resip_ros.nodes.teleop.spacemouse import SpaceMouseDevice
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys

KEYBOARD, JOY, GAMEPAD, SPACEMOUSE = DEVICES = ("keyboard", "joy", "gamepad", "spacemouse")


def open_device(name: str, node: Node) -> Device:
    """The device that was asked for; session keys come from the terminal where there is one.

    Raises:
        ConfigError: it is unknown, or not there.
    """
    keys = TerminalKeys(sys.stdin.fileno()) if sys.stdin.isatty() else None
    if name == KEYBOARD:
        if keys is None:
            raise ConfigError("--device keyboard needs a terminal; start it from one")
        return KeyboardDevice(keys)
    makers: dict[str, Callable[[], Device]] = {
        JOY: lambda: JoyDevice(node, keys),
        GAMEPAD: lambda: GamepadDevice(keys),
        SPACEMOUSE: lambda: SpaceMouseDevice(keys),
    }
    if name not in makers:
        raise ConfigError(f"device {name!r} is unknown; expected one of {', '.join(DEVICES)}")
    return makers[name]()
