# SPDX-License-Identifier: Apache-2.0
"""Arm, gripper and the process that watches ours: connected together, brought to rest in order."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ResipError, UnsafeCommand
from resip_ros.robot.arm import FrankaArm
from resip_ros.robot.arm_state import Phase
from resip_ros.robot.connection import RobotUnavailable
from resip_ros.robot.gripper import GripperGoal, GripperWorker
from resip_ros.robot.supervisor import Supervisor

logger = logging.getLogger(__name__)
HOME_TIMEOUT_S = 30.0
_OPEN_TIMEOUT_S = 5.0
_RETRY_S = 0.3


class RobotLink:
    """A connected robot that nobody leads yet."""

    def __init__(self, config: ControlConfig, address: str, patience_s: float = 0.0) -> None:
        """Connects.

        Args:
            config: Control numbers.
            address: Of the robot's FCI.
            patience_s: How long a robot that does not answer may still be starting.

        Raises:
            RobotUnavailable: when it does not answer.
        """
        self.supervisor = Supervisor(config.supervisor_timeout_s)
        self.arm = FrankaArm(config, address, self.supervisor)
        self.gripper = GripperWorker(config, address)
        self._homing: threading.Thread | None = None
        self._lock = threading.Lock()
        self._may_home = False
        deadline = time.monotonic() + patience_s
        try:
            for connect in (self.arm.connect, self.gripper.connect):
                _connect(connect, deadline)
        except BaseException:
            self.close()
            raise

    @property
    def is_homing(self) -> bool:
        """Whether a homing is under way, also while it only opens the gripper."""
        return self._homing is not None and self._homing.is_alive()

    def home(self, on_end: Callable[[str], None]) -> None:
        """Opens the gripper and moves to the home joints, in a thread; ``hold`` ends it.

        Args:
            on_end: Takes why it did not get there; empty when it did.

        Raises:
            ResipError: when the robot is not ready to move.
        """
        self.require_no_homing()
        if self.arm.phase is Phase.IDLE:
            self.arm.start_tracking()
        if self.arm.phase is Phase.FOLLOWING:
            self.arm.hold()

        def run() -> None:
            try:
                self.gripper.request(GripperGoal.OPEN)
                self.gripper.wait_until_idle(_OPEN_TIMEOUT_S)
                self._begin_to_move()
                self.arm.wait_until_homed(HOME_TIMEOUT_S)
            except ResipError as error:
                on_end(str(error))
            else:
                on_end("")

        self._may_home = True
        self._homing = threading.Thread(target=run, daemon=True, name="homing")
        self._homing.start()

    def _begin_to_move(self) -> None:
        with self._lock:
            if not self._may_home:
                raise UnsafeCommand("homing was stopped before the arm moved")
            self.arm.home()

    def require_no_homing(self) -> None:
        """For what would come between a homing and its end.

        Raises:
            UnsafeCommand: while a homing is under way.
        """
        if self.is_homing:
            raise UnsafeCommand("the arm is homing; wait for event homed, or call ~/stop first")

    def hold(self) -> None:
        """Decelerates and rests; a robot that was lost is at rest already."""
        with self._lock:
            # the arm may not have begun to move
            self._may_home = False
            with contextlib.suppress(RobotUnavailable):
                self.arm.hold()

    def release(self) -> None:
        """Decelerates, waits for a homing to end, and gives control back to the robot."""
        self.hold()
        if self._homing is not None:
            self._homing.join(HOME_TIMEOUT_S)
        self.arm.stop()

    def close(self) -> None:
        """Ends everything; the stop is the last command, and the supervisor watches to the end."""
        self.gripper.close()
        self.arm.close()
        self.supervisor.close()
        gap_ms = 1e3 * self.supervisor.longest_gap_s
        logger.info("longest gap between signs of life: %.0f ms", gap_ms)


def _connect(connect: Callable[[], None], deadline: float) -> None:
    """Connects, and tries again until the deadline, s on the monotonic clock."""
    while True:
        try:
            return connect()
        except RobotUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
