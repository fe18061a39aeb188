# SPDX-License-Identifier: Apache-2.0
"""The arms of a task led together: what ends one ends all, because they may hold one thing.

One process leads them, so that no message has to cross before the others hold. A task with one
arm is a group of one. Letters: A arms, in the task's order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ResipError, UnsafeCommand
from resip_ros.core.geometry import Array
from resip_ros.core.interpolation import Segment
from resip_ros.robot.arm_state import ArmState, Phase
from resip_ros.robot.connection import RobotUnavailable
from resip_ros.robot.link import RobotLink

# what a group of arms in different phases is said to be: the first that any of them is in
_LEAST_LED = (Phase.FAULT, Phase.IDLE, Phase.HOMING, Phase.HOLDING, Phase.FOLLOWING)


class RobotGroup:
    """Connected robots that nobody leads yet."""

    def __init__(
        self,
        config: ControlConfig,
        addresses: Sequence[str],
        patience_s: float = 0.0,
        connect: Callable[[ControlConfig, str, float], RobotLink] = RobotLink,
    ) -> None:
        """Connects.

        Args:
            config: Control numbers.
            addresses: Of each robot's FCI.
            patience_s: How long a robot that does not answer may still be starting.
            connect: Makes the connection of one.

        Raises:
            RobotUnavailable: when one does not answer.
        """
        self.links: list[RobotLink] = []
        self._broken_off = ""
        try:
            for address in addresses:
                self.links.append(connect(config, address, patience_s))
        except BaseException:
            self.close()
            raise

    @property
    def phase(self) -> Phase:
        """The arms' phase; where they differ, that of the arm that is led the least."""
        phases = {link.arm.phase for link in self.links}
        return next(phase for phase in _LEAST_LED if phase in phases)

    @property
    def fault(self) -> str:
        """What faults the arms have; empty: none."""
        found = [(link.arm.address, link.arm.fault) for link in self.links]
        told = [(address, fault.message) for address, fault in found if fault is not None]
        if len(self.links) == 1:
            return "".join(message for _, message in told)
        return "; ".join(f"arm at {address}: {message}" for address, message in told)

    @property
    def ended(self) -> str:
        """Why the arms stopped following by themselves; empty: they did not."""
        if any(link.arm.timed_out for link in self.links):
            return "no command in time"
        return self._broken_off

    def states(self) -> list[ArmState]:
        """The newest state of each arm.

        Raises:
            RobotUnavailable: one was lost.
        """
        return [link.arm.state() for link in self.links]

    def enable(self) -> None:
        """Takes control where it is not taken, then accepts segments; all arms or none.

        Raises:
            RobotUnavailable: an arm or a gripper does not answer.
        """
        self._broken_off = ""
        for link in self.links:
            link.gripper.forgive()
        if problem := self._gripper_problem():
            raise RobotUnavailable(problem)
        try:
            for link in self.links:
                if link.arm.phase is Phase.IDLE:
                    link.arm.start_tracking()
            for link in self.links:
                link.arm.enable()
        except BaseException:
            self.hold()
            raise

    def reference(self) -> tuple[Array, Array]:
        """Where the next segment begins: q (A, 7) rad and dq (A, 7) rad/s."""
        q, dq = zip(*(link.arm.reference() for link in self.links), strict=True)
        return np.stack(q), np.stack(dq)

    def follow(self, segment: Segment, grippers: Array) -> None:
        """Appends a segment (A, 7) to the references, and moves the grippers (A,).

        Raises:
            UnsafeCommand: one arm does not follow; then none takes the segment, and if some have
                taken theirs, all hold. Or a gripper failed or is silent; then all hold.
        """
        if problem := self._gripper_problem():
            # what it holds, nobody knows
            self._broken_off = problem
            self.hold()
            raise UnsafeCommand(problem)
        # those first that will refuse
        order = sorted(
            range(len(self.links)), key=lambda i: self.links[i].arm.phase is Phase.FOLLOWING
        )
        try:
            for i in order:
                self.links[i].arm.follow(segment.of_arm(i))
        except UnsafeCommand as error:
            if len(self.links) > 1 and self.phase is Phase.FOLLOWING:
                self._broken_off = f"one arm refused its part: {error}"
                self.hold()
            raise
        for link, gripper in zip(self.links, grippers, strict=True):
            link.gripper.command(float(gripper))

    def _gripper_problem(self) -> str:
        return next((text for link in self.links if (text := link.gripper.problem())), "")

    def home(self, on_end: Callable[[str], None]) -> None:
        """Opens the grippers and moves to the home joints, in threads; ``hold`` ends it.

        Args:
            on_end: Called once, with why an arm did not get there; empty when all did.

        Raises:
            ResipError: when a robot is not ready to move.
        """
        waiting = len(self.links)
        reasons: list[str] = []
        lock = threading.Lock()

        def one_ended(reason: str) -> None:
            nonlocal waiting
            with lock:
                waiting -= 1
                reasons.extend([reason] if reason else [])
                is_last = waiting == 0
            if reason:
                self.hold()
            if is_last:
                on_end("; ".join(reasons))

        self.require_no_homing()
        try:
            for link in self.links:
                link.home(one_ended)
        except ResipError:
            # those that move already hold, and are waited for by nobody
            waiting = -1
            self.hold()
            raise

    def require_no_homing(self) -> None:
        """For what would come between a homing and its end.

        Raises:
            UnsafeCommand: while a homing is under way.
        """
        for link in self.links:
            link.require_no_homing()

    def recover(self) -> None:
        """Clears the faults; ends in IDLE or HOLDING and never moves.

        Raises:
            RobotUnavailable: when a robot cannot be reached or stays in error.
        """
        for link in self.links:
            link.arm.recover()

    def hold(self) -> None:
        """Decelerates and rests; a robot that was lost is at rest already."""
        for link in self.links:
            link.hold()

    def hold_others(self) -> None:
        """Decelerates and rests every arm that has no fault."""
        for link in self.links:
            if link.arm.phase is not Phase.FAULT:
                link.hold()

    def release(self) -> None:
        """Decelerates, waits for a homing to end, and gives control back to the robots."""
        self.hold()
        for link in self.links:
            link.release()

    def close(self) -> None:
        """Ends everything; the stops are the last commands."""
        for link in self.links[1:]:
            link.hold()  # the first one does so by itself, and its end takes time
        for link in self.links:
            link.close()
