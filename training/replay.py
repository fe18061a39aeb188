# SPDX-License-Identifier: Apache-2.0
"""Replay of residual transitions from envs that finish their episodes at different times.

Every env writes its own ring of slots, so the next input of a step is simply the next slot of the
same ring. Only a truncated episode needs one slot more: its last input, from which the return is
bootstrapped; the slot after a termination is never read as a next state, for its discount is 0.

Shape letters: N envs, S slots per env, D residual input dimension, A action dimension, B batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resip_ros.core.errors import ConfigError, DataError

RUNNING, TERMINATED, TRUNCATED, BOUNDARY = 0, 1, 2, 3
"""Kinds of slots: a step inside an episode, its last step, or a bare input after truncation."""


@dataclass(frozen=True)
class TransitionBatch:
    """n-step transitions, float32."""

    inputs: np.ndarray
    """(B, D) residual input."""
    actions: np.ndarray
    """(B, A) unscaled residual that was applied."""
    returns: np.ndarray
    """(B,) discounted sum of at most n rewards, stopping at the episode's end."""
    next_inputs: np.ndarray
    """(B, D) input after the last summed reward."""
    discounts: np.ndarray
    """(B,) factor of the value at `next_inputs`: gamma^k, 0 after a termination."""


class Replay:
    """Ring buffers of N envs with n-step sampling and a share from successful episodes."""

    def __init__(self, capacity: int, num_envs: int, input_dim: int, action_dim: int) -> None:
        """Reserve memory (touched only as it fills).

        Args:
            capacity: steps in all, split evenly among the envs.
            num_envs: N.
            input_dim: D.
            action_dim: A.
        """
        slots = capacity // num_envs
        if slots < 16:
            raise ConfigError(
                f"replay capacity {capacity} gives {slots} steps for each of {num_envs} envs; "
                f"need at least 16: raise it to {16 * num_envs} or more"
            )
        self.slots = slots
        self.inputs = np.zeros((num_envs, slots, input_dim), np.float32)
        self.actions = np.zeros((num_envs, slots, action_dim), np.float32)
        self.rewards = np.zeros((num_envs, slots), np.float32)
        self.kinds = np.zeros((num_envs, slots), np.uint8)
        self.written = np.zeros(num_envs, np.int64)
        """Slots ever written per env; position p lies in slot p % S."""
        self.episode_start = np.zeros(num_envs, np.int64)
        self.successes = np.zeros((0, 3), np.int64)
        """(K, 3) env, first position and length of the successful episodes still stored."""

    def __len__(self) -> int:
        """Slots in use."""
        return int(np.minimum(self.written, self.slots).sum())

    @property
    def oldest(self) -> np.ndarray:
        """(N,) first position of each env that is still stored."""
        return np.maximum(self.written - self.slots, 0)

    def add(
        self,
        inputs: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        bootstrap: np.ndarray,
        success: np.ndarray,
    ) -> None:
        """Store one step of every env.

        Args:
            inputs: (N, D) input the action was chosen from.
            actions: (N, A) unscaled residual.
            rewards: (N,).
            terminated: (N,) bool, no value follows.
            truncated: (N,) bool, the value at `bootstrap` follows.
            bootstrap: (N, D) input after the step and before any reset.
            success: (N,) bool, the episode that ended here succeeded.
        """
        envs = np.arange(len(self.written))
        slot = self.written % self.slots
        self.inputs[envs, slot] = inputs
        self.actions[envs, slot] = actions
        self.rewards[envs, slot] = rewards
        self.kinds[envs, slot] = np.where(
            terminated, TERMINATED, np.where(truncated, TRUNCATED, RUNNING)
        )
        self.written += 1
        cut = np.nonzero(truncated & ~terminated)[0]
        self._append_boundary(cut, bootstrap[cut])
        ended = terminated | truncated
        self._remember_successes(np.nonzero(ended & success)[0])
        self.episode_start[ended] = self.written[ended]

    def cut(self, inputs: np.ndarray) -> None:
        """Close running episodes with a bootstrap at the current `inputs` (N, D).

        A checkpoint does this, because the envs start anew when the run is resumed. An episode
        that goes on instead only has its n-step sums shortened here.
        """
        last = (self.written - 1) % self.slots
        envs = np.arange(len(self.written))
        open_ = np.nonzero((self.written > 0) & (self.kinds[envs, last] == RUNNING))[0]
        self.kinds[open_, last[open_]] = TRUNCATED
        self._append_boundary(open_, inputs[open_])

    def seal(self, n_step: int) -> None:
        """After the last `add`: let the newest steps be drawn too, although none follow them.

        Needs `n_step` free slots behind each env's last episode, which has to have ended.
        """
        self.written += n_step

    def start_episodes(self) -> None:
        """Forget running episodes: every env starts a new one (after a resume)."""
        self.episode_start[:] = self.written

    def sample(
        self,
        batch_size: int,
        n_step: int,
        gamma: float,
        success_fraction: float,
        rng: np.random.Generator,
    ) -> TransitionBatch:
        """Draw n-step transitions: a share from successful episodes, the rest uniformly."""
        envs, positions = self._draw(batch_size, n_step, success_fraction, rng)
        returns = np.zeros(batch_size, np.float32)
        discounts = np.ones(batch_size, np.float32)
        length = np.zeros(batch_size, np.int64)
        alive = np.ones(batch_size, bool)
        terminated = np.zeros(batch_size, bool)
        for step in range(n_step):
            slot = (positions + step) % self.slots
            kind = self.kinds[envs, slot]
            returns += np.where(alive, discounts * self.rewards[envs, slot], 0)
            length += alive
            discounts = np.where(alive, discounts * np.float32(gamma), discounts)
            terminated |= alive & (kind == TERMINATED)
            alive &= kind == RUNNING
        first = positions % self.slots
        after = (positions + length) % self.slots
        return TransitionBatch(
            inputs=self.inputs[envs, first],
            actions=self.actions[envs, first],
            returns=returns,
            next_inputs=self.inputs[envs, after],
            discounts=np.where(terminated, np.float32(0), discounts),
        )

    def save(self, path: Path) -> None:
        """Write what is stored as an uncompressed .npz."""
        used = int(min(self.written.max(), self.slots))
        with path.open("wb") as file:
            np.savez(
                file,
                inputs=self.inputs[:, :used],
                actions=self.actions[:, :used],
                rewards=self.rewards[:, :used],
                kinds=self.kinds[:, :used],
                written=self.written,
                successes=self.successes,
            )

    def load(self, path: Path) -> None:
        """Read what `save` wrote into a replay of the same sizes; episodes start anew."""
        with np.load(path, allow_pickle=False) as data:
            used = data["inputs"].shape[1]
            expected = (len(self.written), self.inputs.shape[2], self.actions.shape[2])
            found = (len(data["written"]), data["inputs"].shape[2], data["actions"].shape[2])
            if found != expected or used != min(data["written"].max(), self.slots):
                raise DataError(
                    f"replay {path}: holds envs, input and action sizes {found} in {used} slots; "
                    f"this run has {expected} in {self.slots}: resume with the settings it was "
                    "made with"
                )
            for name in ("inputs", "actions", "rewards", "kinds"):
                getattr(self, name)[:, :used] = data[name]
            self.written[:] = data["written"]
            self.successes = data["successes"]
        self.start_episodes()

    def _append_boundary(self, envs: np.ndarray, inputs: np.ndarray) -> None:
        slot = self.written[envs] % self.slots
        self.inputs[envs, slot] = inputs
        self.kinds[envs, slot] = BOUNDARY
        self.written[envs] += 1

    def _remember_successes(self, envs: np.ndarray) -> None:
        if not len(envs):
            return
        start = self.episode_start[envs]
        rows = np.stack([envs, start, self.written[envs] - start], axis=1)
        rows = np.concatenate([self.successes, rows])
        # An episode whose beginning was overwritten goes as a whole.
        self.successes = rows[rows[:, 1] >= self.oldest[rows[:, 0]]]

    def _draw(
        self, count: int, n_step: int, success_fraction: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(count,) envs and positions whose next n slots are all written."""
        first, end = self.oldest, self.written - n_step
        usable = np.nonzero(end > first)[0]
        if not len(usable):
            raise DataError(
                f"replay: no env holds more than {n_step} steps; add some before sampling"
            )
        envs = np.empty(count, np.int64)
        positions = np.empty(count, np.int64)
        missing = np.arange(count)
        wanted = round(count * success_fraction)
        if wanted and len(self.successes):
            ends = np.cumsum(self.successes[:, 2])
            flat = rng.integers(ends[-1], size=wanted)
            row = np.searchsorted(ends, flat, side="right")
            envs[:wanted] = self.successes[row, 0]
            positions[:wanted] = self.successes[row, 1] + flat - ends[row] + self.successes[row, 2]
            missing = np.concatenate(
                [self._unusable(envs, positions, first, end, missing[:wanted]), missing[wanted:]]
            )
        while len(missing):
            envs[missing] = usable[rng.integers(len(usable), size=len(missing))]
            chosen = envs[missing]
            positions[missing] = rng.integers(first[chosen], end[chosen])
            missing = self._unusable(envs, positions, first, end, missing)
        return envs, positions

    def _unusable(
        self,
        envs: np.ndarray,
        positions: np.ndarray,
        first: np.ndarray,
        end: np.ndarray,
        which: np.ndarray,
    ) -> np.ndarray:
        """Those of the draws `which` that are overwritten, too recent or no step at all."""
        env, position = envs[which], positions[which]
        bad = (position < first[env]) | (position >= end[env])
        bad |= self.kinds[env, position % self.slots] == BOUNDARY
        return which[bad]
