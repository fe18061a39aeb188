# SPDX-License-Identifier: Apache-2.0
"""What scripted operators share: habits of a person, an unsteady hand, phases, free motions.

Angles in rad, lengths in m, base frame, one action every 0.1 s. D is the task's observation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resip_ros.core.action import encode_action
from resip_ros.core.geometry import Array, matrix_to_rotvec, rot6d_to_matrix, rotvec_to_matrix

Phase = Callable[[], tuple[Array, Array, str]]
"""Gives target position (3,), R (3, 3) of the hand and the name of the next phase."""


@dataclass(frozen=True)
class Habits:
    """How one operator works in one episode."""

    step_m: float
    """Largest free translation per step."""
    step_rad: float
    """Largest free rotation per step."""
    tremor_m: float
    """Standard deviation of the hand's unsteadiness."""
    tremor_rad: float
    """The same for the rotation."""
    grasp_along_m: float
    """Where along the leg it is picked."""
    lift_m: float
    """Height of the hand for the transport."""
    hover_m: float
    """Gap between tip and face before insertion."""
    regrasp_m: float
    """Height of the TCP above the leg's centre for screwing."""
    push_m: float
    """How far below the hand the target is while pushing; sets the force."""
    turn_rad: float
    """Rotation per step while screwing."""
    pause_chance: float
    """Chance to hesitate after a phase."""
    tremor_memory: float = 0.7
    """Share of the unsteadiness that persists to the next step."""

    @staticmethod
    def sample(rng: np.random.Generator) -> Habits:
        """Draw an operator's habits for an episode."""
        pace = rng.uniform(0.8, 1.1)
        return Habits(
            step_m=0.020 * pace,
            step_rad=0.20 * pace,
            tremor_m=rng.uniform(0.0003, 0.0009),
            tremor_rad=rng.uniform(0.002, 0.008),
            grasp_along_m=rng.uniform(0.008, 0.014),
            lift_m=rng.uniform(0.17, 0.20),
            hover_m=rng.uniform(0.010, 0.020),
            regrasp_m=rng.uniform(0.014, 0.018),
            push_m=rng.uniform(0.002, 0.0035),
            turn_rad=rng.uniform(0.15, 0.18),
            pause_chance=0.15,
        )


class ScriptedOperator:
    """Walks through named phases with a person's pace, pauses and tremor.

    A subclass fills ``_phases``, starting with "approach", and sees the parts in ``_see``.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.habits = Habits.sample(rng)
        self.phase = "approach"
        self._steps = 0
        self._pause = 0
        self._tremor = np.zeros(6)
        self._close = False
        self._phases: dict[str, Phase] = {}

    def act(self, obs: Array) -> Array:
        """Action (10,) for the state observation (D,), both SI."""
        self._see(obs)
        pos, rot, following = self._phases[self.phase]()
        self._steps += 1
        if self._pause > 0:
            self._pause -= 1
            pos, rot = self.pos, self.rot
        elif following != self.phase:
            self.phase, self._steps = following, 0
            if self._rng.random() < self.habits.pause_chance:
                self._pause = int(self._rng.integers(1, 4))
        return encode_action(*self._shake(pos, rot), np.array(1.0 if self._close else -1.0))

    def _see(self, obs: Array) -> None:
        """Take in the observation (D,); at least the hand."""
        self._see_hand(obs)

    def _see_hand(self, obs: Array) -> None:
        self.pos, self.rot, self.width = obs[:3], rot6d_to_matrix(obs[3:9]), obs[15]

    def _shake(self, pos: Array, rot: Array) -> tuple[Array, Array]:
        memory = self.habits.tremor_memory
        scale = np.repeat([self.habits.tremor_m, self.habits.tremor_rad], 3)
        fresh = self._rng.normal(size=6) * scale * np.sqrt(1 - memory**2)
        self._tremor = memory * self._tremor + fresh
        return pos + self._tremor[:3], rotvec_to_matrix(self._tremor[3:]) @ rot

    def _towards(self, pos: Array, rot: Array, slow: float = 1.0) -> tuple[Array, Array, bool]:
        """Next target on the way to a pose, and whether the hand is nearly there."""
        move, turn = pos - self.pos, matrix_to_rotvec(rot @ self.rot.T)
        distance, angle = np.linalg.norm(move), np.linalg.norm(turn)
        share = max(
            distance / (self.habits.step_m * slow), angle / (self.habits.step_rad * slow), 1.0
        )
        # ease in: an operator slows down near the goal
        share = max(share, 1.0 if share > 2.0 else 1.5)
        target = self.pos + move / share
        target_rot = rotvec_to_matrix(turn / share) @ self.rot
        return target, target_rot, bool(distance < 0.004 and angle < 0.05)


class PickingOperator(ScriptedOperator, ABC):
    """An operator that begins by taking a part into its hand; "lift" follows, of the subclass."""

    above_m = 0.05
    """How far before the grasp the approach ends."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._phases = {
            "approach": self._approach,
            "descend": self._descend,
            "grasp": self._grasp,
        }

    @abstractmethod
    def _grasp_pose(self, above: float) -> tuple[Array, Array]:
        """Position (3,) and R (3, 3) of the hand ``above`` m before it will close."""

    @abstractmethod
    def _holds(self) -> bool:
        """Whether the closing hand holds the part."""

    def _approach(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(self.above_m))
        return pos, rot, "descend" if there else "approach"

    def _descend(self) -> tuple[Array, Array, str]:
        pos, rot, there = self._towards(*self._grasp_pose(0.0), slow=0.6)
        return pos, rot, "grasp" if there else "descend"

    def _grasp(self) -> tuple[Array, Array, str]:
        self._close = True
        return self.pos, self.rot, "lift" if self._holds() else "grasp"
