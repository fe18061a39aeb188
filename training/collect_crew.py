# SPDX-License-Identifier: Apache-2.0
"""Who acts when episodes are collected: operators, a policy, or a teacher with its student.

Letters: N simulations, b of them, D observation, A action dimension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from resip_ros.core.errors import ConfigError
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.runtime import AssemblyPolicy
from training.demonstrators.registry import Demonstrator, make_demonstrator
from training.env import AssemblyEnv
from training.eyes import PLAIN, Eyes
from training.rollout import PolicyRollout

TURN_STEPS = 8
"""Steps of a turn: those that the paper's policies execute of a plan."""


class Crew(Protocol):
    """Who acts in the simulations."""

    def start(self, slot: int, number: int) -> None:
        """Begin attempt `number` in simulation `slot`."""
        ...

    def act(self, obs: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions for simulations slots (b,), SI.

        Args:
            obs: Observations (N, D) of all.
            slots: Those that run.

        Returns:
            What is done and what is kept, each (b, A).
        """
        ...

    def gave_up(self, slot: int) -> bool:
        """Whether there is no way to go on."""
        ...

    def place(self, slot: int) -> str:
        """Where an attempt that failed had come to, for the table of failures."""
        ...

    def close(self) -> None:
        """Free what was opened to act, such as graphics memory."""
        ...


class Operators:
    """A scripted operator for each attempt."""

    def __init__(self, task: str, seed: int) -> None:
        self._task, self._seed = task, seed
        self._operators: dict[int, Demonstrator] = {}

    def start(self, slot: int, number: int) -> None:
        """Operator `number` of the seed."""
        rng = np.random.default_rng((self._seed, number, 7))
        self._operators[slot] = make_demonstrator(self._task, rng)

    def act(self, obs: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Crew; one operator at a time."""
        action = np.array([self._operators[int(slot)].act(obs[slot]) for slot in slots])
        return action, action

    def gave_up(self, slot: int) -> bool:
        """Whether the operator sees no way to go on."""
        return self._operators[slot].gave_up

    def place(self, slot: int) -> str:
        """The operator's phase."""
        return f" in {self._operators[slot].phase}"

    def close(self) -> None:
        """Nothing was opened."""


class PolicyCrew:
    """One policy in all simulations; it never gives up."""

    def __init__(self, folder: Path, env: AssemblyEnv, seed: int, look: str = PLAIN) -> None:
        """Load the policy; one that sees pictures gets them in a look.

        Raises:
            ResipError: it is for another task, or nothing can be drawn for it.
        """
        policy = _load(folder, env.task.name)
        self._eyes = Eyes(env, look, seed) if policy.base.images else None
        self._rollout = PolicyRollout(policy, env.num_envs, seed, look=self._eyes)

    @property
    def sees_pictures(self) -> bool:
        """Whether a look means anything to it."""
        return self._eyes is not None

    def start(self, slot: int, number: int) -> None:
        """Plan anew."""
        if self._eyes is not None:
            self._eyes.episodes[slot] = number
        self.replan(slot)

    def replan(self, slot: int) -> None:
        """Forget what was planned."""
        self._rollout.restart(np.array([slot]))

    def act(self, obs: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Crew."""
        if self._eyes is not None:
            self._eyes.remember()
        action = self._rollout.act(obs[slots], slots)
        return action, action

    def close(self) -> None:
        """Close its eyes."""
        if self._eyes is not None:
            self._eyes.close()

    def gave_up(self, slot: int) -> bool:
        """Never."""
        return False

    def place(self, slot: int) -> str:
        """A policy has no phases."""
        return ""


class TeachingCrew:
    """Teacher and student take turns; the teacher's answer to every state is kept.

    So the student is shown what to do where it goes (DAgger, arXiv 1011.0686; ResiP §III-D2).
    """

    def __init__(
        self, teacher: PolicyCrew, student: PolicyCrew, teacher_share: float, seed: int
    ) -> None:
        """Who has a turn is drawn for each simulation, the teacher with probability given."""
        self._teacher, self._student, self._share = teacher, student, teacher_share
        self._seed = seed
        self._draws: dict[int, np.random.Generator] = {}
        self._age: dict[int, int] = {}
        self._leads: dict[int, bool] = {}

    def start(self, slot: int, number: int) -> None:
        """Both plan anew; the turns are those of attempt `number`."""
        self._teacher.start(slot, number)
        self._student.start(slot, number)
        self._draws[slot] = np.random.default_rng((self._seed, number, 11))
        self._age[slot] = 0

    def act(self, obs: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Crew."""
        for slot in map(int, slots):
            if self._age[slot] % TURN_STEPS == 0:
                self._leads[slot] = bool(self._draws[slot].random() >= self._share)
                if self._leads[slot]:
                    self._student.replan(slot)
            self._age[slot] += 1
        answer, _ = self._teacher.act(obs, slots)
        action = answer.copy()
        rows = np.flatnonzero([self._leads[int(slot)] for slot in slots])
        if len(rows):
            action[rows], _ = self._student.act(obs, slots[rows])
        return action, answer

    def close(self) -> None:
        """Close both."""
        self._teacher.close()
        self._student.close()

    def gave_up(self, slot: int) -> bool:
        """Never."""
        return False

    def place(self, slot: int) -> str:
        """A policy has no phases."""
        return ""


def name_policy(folder: Path, task: str) -> str:
    """A policy by its weights.

    Raises:
        ResipError: it cannot be loaded, or is for another task.
    """
    policy = _load(folder, task)
    hashes = [policy.base.card.weights_hash]
    if policy.residual is not None:
        hashes.append(policy.residual.card.weights_hash)
    return "policy " + " + ".join(text[:12] for text in hashes)


def _load(folder: Path, task: str) -> AssemblyPolicy:
    policy = load_policy(folder, images=True)
    if policy.task.name != task:
        raise ConfigError(f"{folder} is a policy for {policy.task.name}, expected {task}")
    return policy
