# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from resip_ros.nodes.teleop import keyboard
from resip_ros.nodes.teleop.keyboard import KEY_HELD_S, KEY_SPEED, KeyboardDevice


class Keys:
    """Typed keys, without a terminal."""

    def __init__(self):
        self.typed = []

    def press(self, text, when_s=None):
        self.typed += [(key, time.monotonic() if when_s is None else when_s) for key in text]

    def take(self):
        typed, self.typed = self.typed, []
        return typed

    def close(self):
        self.typed = None


@pytest.fixture
def device():
    return KeyboardDevice(Keys())


def test_a_key_moves_once_at_least_and_stops_when_it_is_not_repeated(device):
    device._keys.press("w", time.monotonic() - 2 * KEY_HELD_S)
    assert device.read().linear == (KEY_SPEED, 0.0, 0.0)
    still = device.read()
    assert (still.linear, still.angular, still.held) == ((0, 0, 0), (0, 0, 0), True)


def test_keys_add_up_and_every_axis_has_two(device):
    device._keys.press("wdo")
    reading = device.read()
    assert reading.linear == (KEY_SPEED, -KEY_SPEED, 0.0)
    assert reading.angular == (KEY_SPEED, 0.0, 0.0)
    assert sorted(keyboard.MOVES.values()) == sorted((a, s) for a in range(6) for s in (-1, 1))


def test_any_motion_takes_the_lead_and_p_gives_it_back(device):
    assert not device.read().held
    device._keys.press("+")
    assert not device.read().held
    device._keys.press(" ")
    reading = device.read()
    assert (reading.held, reading.toggles) == (True, 1)
    device._keys.press("wp")
    reading = device.read()
    assert (reading.held, reading.linear) == (False, (0, 0, 0))


def test_speed_has_bounds(device):
    device._keys.press("+" * 20 + "w")
    assert device.read().linear[0] == 1.0
    device._keys.press("-" * 40 + "w")
    assert device.read().linear[0] == pytest.approx(keyboard.SLOWEST)


def test_other_keys_are_the_sessions_and_presses_are_timed(device):
    assert device.event_s() is None
    device._keys.press("w", 11.0)
    device._keys.press("\nxd")
    device.read()
    assert device.commands() == ["\n", "x"]
    assert device.commands() == []
    assert device.event_s() == 11.0
    assert device.event_s() is None
