# SPDX-License-Identifier: Apache-2.0
"""Who leads the arm, step by step: the policy, or an operator who has taken over from it.

The operator leads from the first action with the dead-man held, at most one action a policy step.
After the release the hand stays where the operator left it until a chunk that was predicted from
there begins; then the policy leads again. Silence is no release: nobody leads, and the bridge
stops the arm.
"""

from __future__ import annotations

from enum import Enum

from resip_ros.core.chunking import tick_of
from resip_ros.core.geometry import Array


class Leader(Enum):
    """Who leads."""

    POLICY = "policy"
    OPERATOR = "operator"
    NOBODY = "nobody"
    """The operator has let go, and no chunk from after that has come."""


class TakeOver:
    """State of one episode. Stamps are of observations, ns of the ROS clock."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self.reset()

    def reset(self) -> None:
        """A new episode: the policy leads."""
        self.leader = Leader.POLICY
        self._released_ns = 0
        self._policy_tick = self._operator_tick = -1
        self._hold: Array | None = None

    def operator(self, stamp_ns: int, action: Array, held: bool) -> Array | None:
        """Takes what the operator's node sent; returns the action (10,) to publish, if any."""
        if held:
            self.leader, self._hold = Leader.OPERATOR, action
        elif self.leader is Leader.OPERATOR:
            self.leader, self._released_ns = Leader.NOBODY, stamp_ns
        return None if self.leader is Leader.POLICY else self._once(stamp_ns, self.leader)

    def chunk(self, stamp_ns: int) -> None:
        """Takes notice of a new chunk; one from after the release gives the lead back."""
        if self.leader is Leader.NOBODY and stamp_ns >= self._released_ns:
            self.leader = Leader.POLICY

    def step(self, stamp_ns: int) -> Array | None:
        """A policy step has begun; returns the action (10,) that holds the hand, if any.

        While the operator leads, only the operator's node keeps the arm going.
        """
        return self._once(stamp_ns, Leader.NOBODY)

    def policy_acts(self, stamp_ns: int) -> bool:
        """Whether the policy may act on an observation; notes that it does."""
        tick = tick_of(stamp_ns, self._rate_hz)
        if self.leader is not Leader.POLICY or tick <= self._operator_tick:
            return False
        self._policy_tick = tick
        return True

    def _once(self, stamp_ns: int, leader: Leader) -> Array | None:
        """The operator's last action, if that one leads and the step has no action yet."""
        tick = tick_of(stamp_ns, self._rate_hz)
        if self.leader is not leader or tick <= max(self._policy_tick, self._operator_tick):
            return None
        self._operator_tick = tick
        return self._hold
