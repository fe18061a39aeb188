# SPDX-License-Identifier: Apache-2.0
"""The command path that training and the robot share: action to smooth joint reference.

action -> workspace -> leash to the measured pose -> differential IK -> joint limits and speed
-> one cubic segment per policy step. The joint law behind it, in simulation and on the arm:
tau = K (q_ref - q) + D (dq_ref - dq), with gravity compensated. B arms or environments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.action import decode_action
from resip_ros.core.config import ControlConfig
from resip_ros.core.diffik import solve_joint_target
from resip_ros.core.geometry import Array
from resip_ros.core.interpolation import Segment
from resip_ros.core.kinematics import forward
from resip_ros.core.limits import clip_to_workspace, leash, stoppable_speed


class CommandPath:
    """Turns actions into joint references; remembers where the reference is."""

    def __init__(self, config: ControlConfig, num_arms: int) -> None:
        self.config = config
        self.q_ref = np.tile(np.asarray(config.home_joints), (num_arms, 1))
        """(B, 7) rad: end of the last segment, where the next one starts."""
        self.dq_ref = np.zeros_like(self.q_ref)
        """(B, 7) rad/s at that point."""
        self._posture = np.asarray(config.home_joints)

    def reset(
        self, ids: NDArray[np.integer[Any]] | slice, q: Array, dq: Array | float = 0.0
    ) -> None:
        """Start from reference q (b, 7) rad moving at dq (b, 7) rad/s."""
        self.q_ref[ids] = q
        self.dq_ref[ids] = dq

    def step(
        self, action: Array, q_measured: Array, measured: tuple[Array, Array] | None = None
    ) -> Segment:
        """Reference for the next policy step.

        Args:
            action: (B, 10) SI; the caller has checked it (``limits.check_action``).
            q_measured: (B, 7) rad.
            measured: The TCP's position (B, 3) m and R (B, 3, 3) at these joints, from a caller
                that has computed them.
        """
        config = self.config
        pos, rot, _ = decode_action(action)
        at, at_rot = measured or forward(q_measured)
        pos, rot = leash(config, clip_to_workspace(config, pos), rot, at, at_rot)
        target = solve_joint_target(
            self.q_ref,
            pos,
            rot,
            posture=self._posture,
            damping=config.ik_damping,
            posture_gain=config.ik_posture_gain,
            iterations=config.ik_iterations,
        )
        change = config.max_joint_acceleration * config.step_s
        speed = (target - self.q_ref) / config.step_s
        speed = np.clip(speed, self.dq_ref - change, self.dq_ref + change)
        speed = np.clip(speed, -config.max_joint_speed, config.max_joint_speed)
        speed = np.clip(speed, *stoppable_speed(config, self.q_ref))
        target = self.q_ref + speed * config.step_s
        # end at the mean speed of this step: a steady motion stays steady across steps
        speed = (target - self.q_ref) / config.step_s
        segment = Segment(self.q_ref, self.dq_ref, target, speed, config.step_s)
        # copies: reset writes into them, and the segment is still being followed then
        self.q_ref, self.dq_ref = target.copy(), speed.copy()
        return segment
