# SPDX-License-Identifier: Apache-2.0
"""With a stand-in for the device: there is none on the machines that run the tests."""

import sys
import threading
from types import SimpleNamespace

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.teleop.device import DeviceLost
from resip_ros.nodes.teleop.spacemouse import SpaceMouseDevice, open_spacemouse


class Cap:
    """Gives the state that a test has set."""

    def __init__(self):
        self.lock = threading.Lock()
        self.closed = False
        self.error = None
        self.move()

    def move(self, x=0.0, yaw=0.0, buttons=(0, 0)):
        with self.lock:
            self.state = SimpleNamespace(
                x=x, y=0.0, z=0.0, roll=0.0, pitch=0.0, yaw=yaw, buttons=list(buttons)
            )

    def read(self):
        with self.lock:
            if self.error:
                raise self.error
            return self.state

    def close(self):
        self.closed = True


@pytest.fixture
def cap():
    return Cap()


@pytest.fixture
def device(cap):
    device = SpaceMouseDevice(None, cap)
    yield device
    device.close()
    assert cap.closed


def test_moving_the_cap_takes_the_lead_until_the_right_button(cap, device, wait_for):
    cap.move(x=0.05)
    assert not device.read().held
    cap.move(x=1.0, yaw=-1.0)
    wait_for(lambda: device.read().held)
    reading = device.read()
    assert (reading.linear, reading.angular) == ((1.0, 0, 0), (0, 0, -1.0))
    assert device.event_s() is not None
    cap.move()
    wait_for(lambda: device.read().linear == (0, 0, 0))
    assert device.read().held, "a hand at rest holds the arm where it is"
    cap.move(buttons=(0, 1))
    wait_for(lambda: not device.read().held)


def test_the_left_button_is_the_gripper(cap, device, wait_for):
    cap.move(buttons=(1, 0))
    wait_for(lambda: device._buttons == [1, 0])
    cap.move()
    wait_for(lambda: device._buttons == [0, 0])
    assert device.read().toggles == 1
    assert device.read().toggles == 0


@pytest.mark.parametrize("x", [float("nan"), float("inf")])
def test_a_cap_that_reads_nonsense_or_is_gone_is_lost(cap, device, x, wait_for):
    cap.move(x=x)
    wait_for(lambda: device._lost)
    with pytest.raises(DeviceLost, match="start again"):
        device.read()


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspacemouse", None)
    with pytest.raises(ConfigError, match="pip install"):
        open_spacemouse()
