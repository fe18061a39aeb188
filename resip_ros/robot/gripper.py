# SPDX-License-Identifier: Apache-2.0
"""The gripper through franky: one worker thread, one command in flight, width kept fresh.

Commands block for the whole motion, and a second command during a first one can strand it, so
a worker runs them one by one and a poller reads the width meanwhile.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from dataclasses import dataclass
from enum import Enum

import franky

from resip_ros.core.config import ControlConfig
from resip_ros.robot.connection import RobotUnavailable, connect_bounded

logger = logging.getLogger(__name__)

_COMMAND_TIMEOUT_S = 2.0
"""So long after the fingers moved last the connection is taken for dead. A full stroke takes below
1 s; a simulation on a busy machine takes longer, and its only connection must not be given up."""
MAX_AGE_S = 1.0
"""A gripper that is silent for longer is not led any more; the robot's own connection ends after
as long."""
_MOVED_M = 0.0002
_POLL_S = 0.02
_RETRY_S = 1.0
"""Between two attempts to connect to a gripper that does not answer."""
_EPSILON_M = 0.1
"""Wider than the stroke: whatever the fingers meet counts as grasped."""


class GripperGoal(Enum):
    """What the fingers are told to do."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"
    """Nothing commanded yet, or the last command failed."""


@dataclass(frozen=True)
class GripperState:
    """One reading of the gripper."""

    width_m: float
    age_s: float
    """Time since the reading, s, monotonic clock."""
    goal: GripperGoal
    """Last goal handed to the gripper."""
    is_moving: bool
    failures: int
    """Commands that failed or timed out so far."""


class GripperWorker:
    """Owns the gripper's connection and two threads; all methods return at once."""

    def __init__(self, config: ControlConfig, address: str, hysteresis: float = 0.2) -> None:
        self.config = config
        self.address = address
        self._hysteresis = hysteresis
        self._gripper: franky.Gripper | None = None
        self._wanted = GripperGoal.UNKNOWN
        self._sent = GripperGoal.UNKNOWN
        self._is_moving = False
        self._failures = 0
        self._failure = ""
        self._width_m = float("nan")
        self._read_at = float("-inf")
        self._wake = threading.Event()
        self._running = False
        self._threads: list[threading.Thread] = []

    def connect(self) -> None:
        """Connect, read the width once and start the threads.

        Raises:
            RobotUnavailable: when the gripper does not answer within a few seconds.
        """
        self._gripper = self._open_connection()
        try:
            self._read_width(self._gripper)
        except franky.NetworkException as error:
            raise RobotUnavailable(f"gripper at {self.address} was lost: {error}") from error
        self._running = True
        for target in (self._work, self._poll):
            thread = threading.Thread(target=target, daemon=True, name=f"gripper{target.__name__}")
            thread.start()
            self._threads.append(thread)

    def command(self, gripper: float) -> None:
        """Take the action's gripper value: close above 0, open below, with hysteresis.

        Args:
            gripper: +1 close .. -1 open; within the hysteresis of 0 the last goal stays.
        """
        if gripper > self._hysteresis:
            self.request(GripperGoal.CLOSED)
        elif gripper < -self._hysteresis:
            self.request(GripperGoal.OPEN)

    def request(self, goal: GripperGoal) -> None:
        """Ask for a goal; taken up when the command in flight has ended."""
        self._wanted = goal
        if goal is not self._sent:
            self._wake.set()

    def state(self) -> GripperState:
        """Newest reading; look at ``age_s`` before trusting it."""
        return GripperState(
            width_m=self._width_m,
            age_s=time.monotonic() - self._read_at,
            goal=self._sent,
            is_moving=self._is_moving,
            failures=self._failures,
        )

    def problem(self) -> str:
        """What is wrong with it now, or went wrong since ``forgive``; empty: nothing."""
        age_s = self.state().age_s
        if age_s > MAX_AGE_S:
            return (
                f"the gripper at {self.address} has been silent for {age_s:.1f} s, expected its "
                f"state within {MAX_AGE_S:g} s; see its power and connection"
            )
        return self._failure

    def forgive(self) -> None:
        """Forgets a failed command: a person has looked and goes on."""
        self._failure = ""

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Block until the wanted goal was sent and its motion ended; False on time-out."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not self._is_moving and self._wanted is self._sent:
                return True
            time.sleep(0.005)
        return False

    def close(self) -> None:
        """End the threads. The fingers stay as they are, so a held part is not dropped."""
        self._running = False
        self._wake.set()
        for thread in self._threads:
            thread.join(_COMMAND_TIMEOUT_S + 0.5)
        self._threads.clear()
        self._gripper = None

    def _open_connection(self) -> franky.Gripper:
        return connect_bounded(lambda: franky.Gripper(self.address), "gripper", self.address)

    def _read_width(self, gripper: franky.Gripper) -> None:
        self._width_m = float(gripper.state.width)
        self._read_at = time.monotonic()

    def _poll(self) -> None:
        while self._running:
            gripper = self._gripper
            try:
                if gripper is not None:
                    self._read_width(gripper)
            except Exception as error:  # noqa: BLE001, the reading's age tells the reader
                logger.debug("gripper width: %s", error)
            if self.state().age_s > MAX_AGE_S:
                # a connection of libfranka's that has timed out once stays dead
                self._wake.set()
            time.sleep(_POLL_S)

    def _work(self) -> None:
        while self._running:
            self._wake.wait()
            self._wake.clear()
            if self._running and self.state().age_s > MAX_AGE_S:
                self._reconnect()
            # read once: the caller may change its mind at any time
            while self._running and (goal := self._wanted) is not self._sent:
                self._is_moving = True
                self._sent = goal
                try:
                    self._execute(goal)
                except Exception as error:  # noqa: BLE001, any failure means reconnect
                    self._failures += 1
                    self._failure = f"the gripper failed to become {goal.value}: {error}"
                    logger.error("gripper %s failed: %s", goal.value, error)
                    self._reconnect(is_stranded=True)
                    break
                finally:
                    self._is_moving = False

    def _execute(self, goal: GripperGoal) -> None:
        """One command to its end.

        Raises:
            RobotUnavailable: not connected, or no end within the time-out.
        """
        if self._gripper is None:
            self._gripper = self._open_connection()
        config = self.config
        if goal is GripperGoal.OPEN:
            future = self._gripper.move_async(config.gripper_max_width_m, config.gripper_speed_m_s)
        else:
            future = self._gripper.grasp_async(
                0.0,
                config.gripper_speed_m_s,
                config.gripper_force_n,
                _EPSILON_M,
                _EPSILON_M,
            )
        moved_s, width_m = time.monotonic(), self._width_m
        while not future.wait(_POLL_S):
            if abs(self._width_m - width_m) > _MOVED_M:
                moved_s, width_m = time.monotonic(), self._width_m
            if time.monotonic() - moved_s > _COMMAND_TIMEOUT_S:
                raise RobotUnavailable(f"no end of the motion within {_COMMAND_TIMEOUT_S} s")
        future.get()

    def _reconnect(self, is_stranded: bool = False) -> None:
        """Fresh connection after a failure; the same goal is not tried again by itself.

        Args:
            is_stranded: Whether a command is still in flight on the old one.
        """
        old, self._gripper = self._gripper, None
        had_one = old is not None
        if had_one and is_stranded:
            # its destructor would wait for the stranded command, a minute or for ever: one
            # reference too many, and nobody destroys it, not even the end of the process
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(old))
        del old
        try:
            gripper = self._open_connection()
            self._read_width(gripper)
        except (RobotUnavailable, franky.NetworkException, RuntimeError) as error:
            if had_one:
                logger.error("%s; trying again every %g s", error, _RETRY_S)
            time.sleep(_RETRY_S)
            return
        self._gripper = gripper
        logger.info("connected to the gripper at %s again", self.address)
