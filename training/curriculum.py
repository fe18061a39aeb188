# SPDX-License-Identifier: Apache-2.0
"""Episode starts for training: simulator states kept along earlier episodes.

A sparse reward at the end of 300-700 steps is learned far faster when a share of the episodes
starts near the hard parts. States come from two kinds of episodes, half of the pool each: along
successes, uniform over time, and some time before failures. Each stored state counts how
episodes from it ended; states whose outcome is least certain (success near 50 %) are drawn most,
and those that never lead anywhere are dropped.

A restored state keeps its step counter, so that the time limit stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from resip_ros.core.errors import ConfigError


class Snapshot(Protocol):
    """Simulator states of some envs: `training.env.Snapshot`, a dataclass of arrays (b, ...)."""

    def __getitem__(self, index: Any) -> Snapshot:
        """States of some of the envs."""
        ...

    @staticmethod
    def concatenate(parts: list[Any]) -> Any:
        """One snapshot of all the parts' envs."""
        ...


class SnapshotSource(Protocol):
    """What the curriculum needs of an environment."""

    num_envs: int
    episode_steps: int
    t: np.ndarray

    def snapshot(self, ids: np.ndarray) -> Snapshot:
        """States of the given envs, in their order."""
        ...


@dataclass(frozen=True)
class CurriculumConfig:
    """Settings of the training starts."""

    start_probability: float = 0.5
    """Share of training episodes that start from a stored state, in [0, 1]; 0 turns it off."""
    snapshot_every: int = 15
    """Steps between the states recorded along an episode, at least 1."""
    pool_size: int = 256
    """States kept per kind of source episode."""
    per_success: int = 4
    """States kept of one successful episode."""
    per_failure: int = 2
    """States kept of one failed episode."""
    failure_window: int = 150
    """A failure's states come from this many steps before its end."""
    failure_margin: int = 5
    """... but no later than this many steps before it."""
    min_remaining: int = 150
    """States with fewer steps left before the time limit are not kept."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.start_probability <= 1:
            raise ConfigError(
                f"start_probability must lie in [0, 1], got {self.start_probability}"
            )
        if self.snapshot_every < 1 or self.pool_size < 1:
            raise ConfigError("snapshot_every and pool_size must be at least 1")


@dataclass
class StoredState:
    """A start and how episodes from it ended."""

    snapshot: Snapshot
    """Of one env."""
    t: int
    """Its step counter."""
    successes: int
    failures: int

    @property
    def weight(self) -> float:
        """Variance p (1 - p) of the success rate's posterior mean under a uniform prior."""
        tried = self.successes + self.failures + 2
        return (self.successes + 1) * (self.failures + 1) / tried**2

    @property
    def hopeless(self) -> bool:
        """No success in four tries or more."""
        return self.successes == 0 and self.failures >= 4


@dataclass
class _Recording:
    """States along the running episode of one env."""

    states: list[tuple[int, Snapshot]] = field(default_factory=list)
    origin: StoredState | None = None


class Curriculum:
    """Records states along episodes and chooses the starts of the next ones."""

    def __init__(self, config: CurriculumConfig, env: SnapshotSource, seed: int) -> None:
        self.config = config
        self.choosing = True
        """Whether `choose` gives stored states; recording goes on either way."""
        self._env = env
        self._rng = np.random.default_rng(seed)
        self._running = [_Recording() for _ in range(env.num_envs)]
        # The envs' recordings are spread over time, so that no step takes all snapshots at once.
        self._phase = np.arange(env.num_envs) % config.snapshot_every
        self._clock = 0
        self.pools: dict[bool, list[StoredState]] = {True: [], False: []}
        """Stored states by whether their source episode succeeded."""

    def __len__(self) -> int:
        """Number of stored states."""
        return sum(len(pool) for pool in self.pools.values())

    def record(self, ids: np.ndarray) -> None:
        """Keep the states of those of the running envs `ids` whose turn it is."""
        if self.config.start_probability == 0:
            return
        self._clock += 1
        due = ids[(self._clock + self._phase[ids]) % self.config.snapshot_every == 0]
        if not len(due):
            return
        snapshots = self._env.snapshot(due)
        for row, env in enumerate(due):
            # An index array copies: a kept state must not hold on to its neighbours' memory.
            state = snapshots[np.array([row])]
            self._running[env].states.append((int(self._env.t[env]), state))

    def end_episode(self, env: int, success: bool) -> None:
        """Credit the start of the episode that ended and store some of its states."""
        run, self._running[env] = self._running[env], _Recording()
        if run.origin is not None:
            run.origin.successes += success
            run.origin.failures += not success
        end = int(self._env.t[env])
        latest = self._env.episode_steps - self.config.min_remaining
        states = [(t, snapshot) for t, snapshot in run.states if t <= latest]
        count = self.config.per_success
        if not success:
            first, last = end - self.config.failure_window, end - self.config.failure_margin
            states = [(t, snapshot) for t, snapshot in states if first <= t <= last]
            count = self.config.per_failure
        chosen = self._rng.permutation(len(states))[:count]
        for index in chosen:
            t, snapshot = states[index]
            self._store(success, StoredState(snapshot, t, int(success), int(not success)))

    def choose(self, env: int) -> Snapshot | None:
        """Start of the next episode of an env: a stored state, or None for a fresh start."""
        if not self.choosing or self._rng.random() >= self.config.start_probability:
            return None
        pools = [pool for pool in self.pools.values() if pool]
        if not pools:
            return None
        pool = pools[self._rng.integers(len(pools))]
        weights = np.array([state.weight for state in pool])
        state = pool[self._rng.choice(len(pool), p=weights / weights.sum())]
        self._running[env].origin = state
        return state.snapshot

    def state(self) -> dict[str, Any]:
        """Random state and stored states; what runs at the moment is not part of it."""
        pools = []
        for source, pool in self.pools.items():
            if pool:
                joined = type(pool[0].snapshot).concatenate([s.snapshot for s in pool])
                counts = np.array([(s.t, s.successes, s.failures) for s in pool])
                pools.append([source, vars(joined), counts])
        return {"rng": self._rng.bit_generator.state, "pools": pools}

    def load_state(self, state: dict[str, Any], snapshot_type: type[Any]) -> None:
        """Continue from `state`, whose arrays may have become tensors; episodes start anew."""
        self._rng.bit_generator.state = state["rng"]
        self._running = [_Recording() for _ in self._running]
        for source, arrays, counts in state["pools"]:
            joined = snapshot_type(**{name: np.asarray(a) for name, a in arrays.items()})
            self.pools[source] = [
                StoredState(joined[np.array([row])], *(int(value) for value in line))
                for row, line in enumerate(np.asarray(counts))
            ]

    def _store(self, success: bool, state: StoredState) -> None:
        pool = self.pools[success]
        pool[:] = [stored for stored in pool if not stored.hopeless]
        if len(pool) >= self.config.pool_size:
            pool.pop(0)
        pool.append(state)
