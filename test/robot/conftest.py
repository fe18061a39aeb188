# SPDX-License-Identifier: Apache-2.0
"""One simulated world a test module, on a loopback address of its own."""

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.arm_state import Phase
from resip_ros.robot.world import SimulatedWorld

_numbers = count(1)


def _new_address() -> str:
    pid = os.getpid()
    return (
        f"127.{10 + pid // 65536 % 200}.{pid // 256 % 256}.{(pid + 7 * next(_numbers)) % 254 + 1}"
    )


@pytest.fixture(scope="module")
def new_address() -> Callable[[], str]:
    """Gives loopback addresses that no other test process uses."""
    return _new_address


@pytest.fixture(scope="session")
def config() -> ControlConfig:
    """The shipped control numbers."""
    return load_control_config()


@pytest.fixture(scope="module")
def world() -> Iterator[SimulatedWorld]:
    """A running world."""
    with SimulatedWorld("one_leg", seed=1, addresses=[_new_address()]) as world:
        yield world


@pytest.fixture
def arm(world: SimulatedWorld) -> Iterator[FrankaArm]:
    """A connected arm that holds its joints; recovered and released afterwards."""
    arm = FrankaArm(world.config, world.hostname)
    arm.connect()
    arm.recover()
    arm.start_tracking()
    yield arm
    if arm.phase is Phase.FAULT:
        arm.recover()
    arm.close()
