# SPDX-License-Identifier: Apache-2.0
"""The last gate before the arm: what of a command may be followed, and what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from resip_ros.core.arms import Arm, to_base_frames
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.config import ControlConfig
from resip_ros.core.control import CommandPath
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import Array
from resip_ros.core.interpolation import Segment
from resip_ros.core.kinematics import forward
from resip_ros.core.limits import check_action
from resip_ros.core.reference_check import check_segment


class CommandGate:
    """Turns an action into a reference or refuses it; a refused one changes nothing but a count.

    Checks the action's age and order, its target, and the reference that it leads to.
    """

    def __init__(self, config: ControlConfig, arms: tuple[Arm, ...] = (Arm(),)) -> None:
        """Takes the limits, and the arms that an action is for: one refused refuses all."""
        self._config, self._arms = config, arms
        self._path = CommandPath(config, len(arms))
        self._last_stamp_ns = -1
        self.refused: Counter[str] = Counter()

    def reset(self) -> None:
        """Forgets the last episode."""
        self._last_stamp_ns = -1
        self.refused.clear()

    def plan(
        self, stamp_ns: int, action: Array, now_ns: int, q: Array, start: tuple[Array, Array]
    ) -> Segment:
        """Reference of the next step for an action that may be followed.

        Args:
            stamp_ns: Observation that the action answers, ns of the ROS clock.
            action: (10 A,) SI, task frame.
            now_ns: Present ROS time, ns.
            q: Measured joints (A, 7), rad; (7,) of a single arm.
            start: Where the references go on: q (A, 7) rad and dq (A, 7) rad/s.

        Returns:
            References (A, 7), each arm's in its own joints.

        Raises:
            UnsafeCommand: with the reason; it is counted.
        """
        try:
            self._check_time(stamp_ns, now_ns)
            q = q.reshape(-1, 7)
            pos, rot = forward(q)
            actions = to_base_frames(self._arms, action)
            self._each_arm(lambda i: check_action(self._config, actions[i], pos[i], rot[i]))
            self._path.reset(slice(None), *start)
            segment = self._path.step(actions, q, (pos, rot))
            self._each_arm(
                lambda i: check_segment(
                    self._config, segment.of_arm(i), (pos[i : i + 1], rot[i : i + 1])
                )
            )
        except UnsafeCommand:
            self.refused["commands"] += 1
            raise
        return segment

    def _each_arm(self, check: Callable[[int], None]) -> None:
        """Runs a check for each arm; where there are several, says which refused."""
        for i, arm in enumerate(self._arms):
            try:
                check(i)
            except UnsafeCommand as error:
                raise UnsafeCommand(
                    f"{arm.name} arm: {error}" if arm.name else str(error)
                ) from error

    def accept(self, stamp_ns: int) -> None:
        """Notes that the arm follows the action of this observation; older ones are refused."""
        self._last_stamp_ns = stamp_ns

    def _check_time(self, stamp_ns: int, now_ns: int) -> None:
        age_s = (now_ns - stamp_ns) / NS_PER_S
        if age_s > self._config.max_command_age_s:
            raise UnsafeCommand(
                f"action answers an observation {age_s:.3f} s old; "
                f"limit {self._config.max_command_age_s} s; see which node is slow"
            )
        if -age_s > self._config.max_command_future_s:
            raise UnsafeCommand(
                f"action is stamped {-age_s:.3f} s in the future; "
                f"limit {self._config.max_command_future_s} s; check that all nodes use one clock"
            )
        if stamp_ns <= self._last_stamp_ns:
            raise UnsafeCommand(
                f"action of {stamp_ns} ns is not newer than the last one of "
                f"{self._last_stamp_ns} ns; is there a second publisher?"
            )
