# SPDX-License-Identifier: Apache-2.0
import socket
import threading
import time
from collections.abc import Callable

import franky
import pytest

from resip_ros.core.config import ControlConfig
from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.connection import (
    FaultKind,
    RobotUnavailable,
    classify_fault,
    connect_bounded,
)


def test_refused_connection_is_a_clear_error(
    config: ControlConfig, new_address: Callable[[], str]
) -> None:
    address = new_address()
    with pytest.raises(RobotUnavailable, match=f"arm at {address} refused.*FCI"):
        FrankaArm(config, address).connect()


def test_server_that_stays_silent_is_given_up(new_address: Callable[[], str]) -> None:
    address = new_address()
    with socket.create_server((address, 1337)):
        start = time.monotonic()
        with pytest.raises(RobotUnavailable, match="did not answer within 1 s.*other client"):
            connect_bounded(
                lambda: franky.Robot(address, realtime_config=franky.RealtimeConfig.Ignore),
                "arm",
                address,
                timeout_s=1.0,
            )
        assert time.monotonic() - start < 3.0


def test_connect_bounded_returns_what_was_made() -> None:
    assert connect_bounded(lambda: 42, "arm", "nowhere") == 42


def test_lost_connection_and_reflex_are_told_apart() -> None:
    assert classify_fault(franky.NetworkException("x")) is FaultKind.NETWORK
    assert classify_fault(RuntimeError("Net Exception")) is FaultKind.NETWORK
    assert classify_fault(franky.ControlException("x")) is FaultKind.REFLEX


def test_connection_that_comes_too_late_is_closed() -> None:
    """Even while somebody keeps the error, as its traceback keeps the function's variables."""
    closed = threading.Event()

    class Connection:
        def __del__(self) -> None:
            closed.set()

    def connect() -> Connection:
        time.sleep(0.3)
        return Connection()

    with pytest.raises(RobotUnavailable, match="did not answer") as kept:
        connect_bounded(connect, "arm", "nowhere", timeout_s=0.05)
    assert closed.wait(5.0)
    assert kept.traceback
