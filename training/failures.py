# SPDX-License-Identifier: Apache-2.0
"""Why an episode must end badly: what would end it on the robot, and what no physics may show.

Letters: N environments, A arms, P parts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array, norm

FAILURES = ("unstable", "thrown", "reflex", "held")
"""Reasons, the one that counts first where there are several. unstable: the solver blew up, or an
arm is nowhere near its reference; thrown: a part is far away or faster than 2 m/s; reflex: an arm
felt more than its thresholds; held: for the command time-out no action was accepted, so that the
bridge would hold the arm and end the episode."""
_THROWN_SPEED = 2.0
_PARTS_LOW = np.array([0.0, -0.6, -0.02])
_PARTS_HIGH = np.array([0.9, 0.6, 0.6])
_OFF_REFERENCE_RAD = 0.5


def find_failures(
    unstable: NDArray[np.bool_],
    thrown: NDArray[np.bool_],
    reflex: NDArray[np.bool_],
    held: NDArray[np.bool_],
) -> NDArray[np.str_]:
    """Reason why each episode must end badly (N,), '' where it goes on; flags (N,)."""
    return np.select([unstable, thrown, reflex, held], FAILURES, "")


def is_unstable(qpos: Array, qvel: Array, q: Array, q_ref: Array) -> NDArray[np.bool_]:
    """Which environments are not finite or have an arm far off its reference (N,).

    Args:
        qpos: All positions (N, ...).
        qvel: All velocities (N, ...).
        q: Joints of the arms (N, A, 7), rad.
        q_ref: Their references, the same shape.
    """
    finite = np.isfinite(qpos).all(-1) & np.isfinite(qvel).all(-1)
    return ~finite | (np.abs(q - q_ref).max((-1, -2)) > _OFF_REFERENCE_RAD)


def is_thrown(positions: Array, velocities: Array) -> NDArray[np.bool_]:
    """Which environments have a part that flies or left the bench (N,).

    Args:
        positions: Parts (N, P, 3), m, task frame.
        velocities: The same, m/s.
    """
    outside = ((positions < _PARTS_LOW) | (positions > _PARTS_HIGH)).any((-1, -2))
    return np.asarray(outside | (norm(velocities) > _THROWN_SPEED).any(-1))


class CommandTimeout:
    """Notes when each environment last had an action that the gate accepted.

    As in the bridge (robot.reference), the time counts from the first accepted one on.
    """

    def __init__(self, limit_steps: int, num_envs: int) -> None:
        """Takes the limit (ControlConfig.command_timeout_steps)."""
        self.steps_since = np.full(num_envs, -1)
        """(N,) steps since the last accepted action; -1 before the first."""
        self._limit = limit_steps

    def step(self, refused: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Count one step whose actions were refused or not (N,); which ran out of time (N,)."""
        since = self.steps_since
        self.steps_since = np.where(refused, np.where(since < 0, since, since + 1), 0)
        return self.steps_since >= self._limit
