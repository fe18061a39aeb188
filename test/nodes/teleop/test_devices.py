# SPDX-License-Identifier: Apache-2.0
import os
import pty
import sys
import termios

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.teleop import command, devices
from resip_ros.nodes.teleop.devices import open_device


class Input:
    """Stands for standard input."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd

    def isatty(self):
        return os.isatty(self.fd)


def test_the_keyboard_wants_a_terminal(monkeypatch):
    out, into = os.pipe()
    monkeypatch.setattr(sys, "stdin", Input(out))
    with pytest.raises(ConfigError, match="needs a terminal"):
        open_device("keyboard", None)
    with pytest.raises(ConfigError, match="'joystick' is unknown; expected one of keyboard, joy"):
        open_device("joystick", None)
    os.close(out)
    os.close(into)


def test_the_keyboard_gives_the_terminal_back(monkeypatch):
    ours, theirs = pty.openpty()
    monkeypatch.setattr(sys, "stdin", Input(theirs))
    device = open_device("keyboard", None)
    assert "space gripper" in device.help
    device.close()
    os.close(ours)
    os.close(theirs)


def test_a_device_that_is_not_there_leaves_the_terminal_as_it_was(monkeypatch):
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    monkeypatch.setattr(sys, "stdin", Input(theirs))
    monkeypatch.setattr(devices, "GamepadDevice", missing)
    monkeypatch.setattr(devices, "SpaceMouseDevice", missing)
    for name in ("gamepad", "spacemouse"):
        with pytest.raises(ConfigError, match="not there"):
            open_device(name, None)
        assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def missing(keys):
    raise ConfigError("it is not there")


def test_the_command_line_offers_every_device():
    assert command.DEVICES == devices.DEVICES
