# SPDX-License-Identifier: Apache-2.0
import os

import numpy as np
import pytest
from rclpy.node import Node
from sensor_msgs.msg import Joy

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.teleop import gamepad
from resip_ros.nodes.teleop.device import DISCARD, SAVE, DeviceLost
from resip_ros.nodes.teleop.gamepad import KERNEL_EVENT, GamepadDevice, JoyDevice


@pytest.fixture
def pad(tmp_path):
    """The kernel's device as a named pipe: our end, and the device."""
    path = tmp_path / "js0"
    os.mkfifo(path)
    keep = os.open(path, os.O_RDWR)
    device = GamepadDevice(None, path)
    into = os.open(path, os.O_WRONLY)
    os.close(keep)
    return into, device


def send(into, kind, number, value):
    os.write(into, KERNEL_EVENT.pack(0, value, kind, number))


def test_sticks_move_while_the_right_shoulder_is_held(pad, wait_for):
    into, device = pad
    send(into, 0x82, 0, 0)  # the state at opening comes as events of its own kind
    send(into, 2, 1, -32767)
    send(into, 2, 4, 32767)
    send(into, 1, 5, 1)
    wait_for(lambda: device.read().held)
    reading = device.read()
    np.testing.assert_allclose(reading.linear, [1, 0, -1])
    assert reading.angular == (0, 0, 0)
    assert device.event_s() is not None
    send(into, 1, 4, 1)
    wait_for(lambda: device.read().angular[1] == 1.0)
    send(into, 1, 5, 0)
    wait_for(lambda: not device.read().held)


def test_buttons_count_once_a_press(pad, wait_for):
    into, device = pad
    for value in (1, 1, 0, 1):
        send(into, 1, 0, value)
    send(into, 1, 7, 1)
    send(into, 1, 6, 1)
    found = []
    wait_for(lambda: len(found.extend(device.commands()) or found) == 2)
    assert found == [SAVE, DISCARD]
    assert device.read().toggles == 2
    assert device.read().toggles == 0


def test_an_unplugged_pad_is_lost(pad, wait_for):
    into, device = pad
    send(into, 1, 5, 1)
    wait_for(lambda: device.read().held)
    os.close(into)

    def is_lost():
        try:
            device.read()
        except DeviceLost as error:
            return "unplugged" in str(error)
        return False

    wait_for(is_lost)


def test_no_pad(tmp_path):
    with pytest.raises(ConfigError, match="plug one in"):
        GamepadDevice(None, tmp_path / "js7")


@pytest.mark.ros
def test_the_joy_topic(graph, monkeypatch):
    node = graph.add(Node("listener"))
    device = JoyDevice(node, None)
    with pytest.raises(DeviceLost, match="game_controller_node"):
        device.read()
    publisher = node.create_publisher(Joy, "joy", 5)
    graph.spin_until(lambda: publisher.get_subscription_count())
    publisher.publish(Joy(axes=[0.0], buttons=[1]))
    graph.spin_briefly()
    with pytest.raises(DeviceLost):
        device.read()
    monkeypatch.setattr(gamepad, "JOY_SILENCE_S", 60.0)
    buttons = [0] * 11
    buttons[10] = 1
    publisher.publish(Joy(axes=[0.5, 0.0, 0.0, 1.0, 0.0, 0.0], buttons=buttons))
    graph.spin_until(lambda: device._heard_s and device.read().held)
    reading = device.read()
    assert reading.linear[2] == 1.0
    assert 0.4 < reading.linear[1] < 0.5
    monkeypatch.setattr(gamepad, "JOY_SILENCE_S", 0.0)
    with pytest.raises(DeviceLost):
        device.read()
