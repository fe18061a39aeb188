# SPDX-License-Identifier: Apache-2.0
"""What steps the env's simulations: one compiled model, MuJoCo's CPU threads or MuJoCo Warp.

Letters: N simulations, b of them, K physics steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import mujoco
import numpy as np
from mujoco.batch import Batch
from numpy.typing import NDArray

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array

ENGINES = ("mujoco", "warp")


class Engine(Protocol):
    """N simulations of a model.

    The arrays are the state: the caller reads them and writes into them at any time, and the
    next rollout starts from what they hold. SI; free joints as MuJoCo orders them (position,
    quaternion wxyz; linear velocity in the world, angular in the body).
    """

    qpos: Array
    """(N, nq)."""
    qvel: Array
    """(N, nv)."""
    ctrl: Array
    """(N, nu)."""
    qacc_warmstart: Array
    """(N, nv) acceleration from which the solver starts."""
    mocap_pos: Array
    """(N, nmocap, 3), m."""

    def reset(self, ids: NDArray[np.int64]) -> None:
        """Put simulations ids (b,) at the model's defaults; then write their state."""
        ...

    def forward(self, ids: NDArray[np.int64]) -> None:
        """Take over the state that was written after a reset of simulations ids (b,)."""
        ...

    def rollout(self, control: Array) -> Array:
        """Advance every simulation by K steps; one that blows up ends at the model's defaults.

        Args:
            control: Controls (N, K, nu), one for each step.

        Returns:
            Constraint forces (N, K, nv) of every step, N and N m.
        """
        ...


MakeEngine = Callable[[mujoco.MjModel, int, int], Engine]
"""Makes an engine of a model, a number of simulations and a number of CPU threads."""


class MujocoEngine:
    """Engine on CPU threads, double precision; the same state and controls give the same bits."""

    def __init__(self, model: mujoco.MjModel, num_envs: int, num_threads: int) -> None:
        """Make N simulations at the model's defaults."""
        self._batch = Batch(model, num_envs, nthread=num_threads, persistent=True)
        self.qpos, self.qvel = self._batch.bind("qpos"), self._batch.bind("qvel")
        self.ctrl, self.mocap_pos = self._batch.bind("ctrl"), self._batch.bind("mocap_pos")
        self.qacc_warmstart = self._batch.bind("qacc_warmstart")

    def reset(self, ids: NDArray[np.int64]) -> None:
        """See Engine."""
        self._batch.reset(ids=ids, stage=mujoco.mjtStage.mjSTAGE_NONE)

    def forward(self, ids: NDArray[np.int64]) -> None:
        """See Engine."""
        self._batch.forward(ids=ids)

    def rollout(self, control: Array) -> Array:
        """See Engine."""
        record = self._batch.rollout(
            control.shape[1],
            control,
            control_spec=mujoco.mjtState.mjSTATE_CTRL,
            record=("qfrc_constraint",),
        )
        return record["qfrc_constraint"]


class DelayedEngine(MujocoEngine):
    """MuJoCo's threads; controls reach each simulation's actuators some physics steps late."""

    def __init__(self, model: mujoco.MjModel, delays_s: Array, num_threads: int) -> None:
        """Make a simulation for each delay (N,), s, which is rounded to whole physics steps."""
        super().__init__(model, len(delays_s), num_threads)
        delays = np.round(np.asarray(delays_s) / model.opt.timestep).astype(np.int64)
        self._longest = int(delays.max())
        self._starts = self._longest - delays
        self._pending = np.zeros((len(delays), self._longest, model.nu))

    def forward(self, ids: NDArray[np.int64]) -> None:
        """Take over written states: what is under way is the control that was written."""
        super().forward(ids)
        self._pending[ids] = self.ctrl[ids][:, None]

    def rollout(self, control: Array) -> Array:
        """Advance with the controls (N, K, nu) of before, the newest kept for later."""
        line = np.concatenate([self._pending, control], axis=1)
        self._pending = line[:, line.shape[1] - self._longest :].copy()
        steps = self._starts[:, None] + np.arange(control.shape[1])
        return super().rollout(np.take_along_axis(line, steps[..., None], axis=1))


def delayed_engine(longest_s: float) -> MakeEngine:
    """What makes simulations whose delays are spread evenly from 0 to the longest, s.

    The nodes need 10 to 50 ms from an observation to the reference (docs/reliability.md).
    """

    def make(model: mujoco.MjModel, num_envs: int, num_threads: int) -> MujocoEngine:
        return DelayedEngine(model, np.linspace(0.0, longest_s, num_envs), num_threads)

    return make


def make_engine(
    name: str | MakeEngine, model: mujoco.MjModel, num_envs: int, num_threads: int
) -> Engine:
    """Make N simulations of a model on an engine of ENGINES, or on one of the caller's own.

    Args:
        name: "mujoco" or "warp", or what makes the engine.
        model: Compiled model.
        num_envs: N.
        num_threads: CPU threads of "mujoco".

    Raises:
        ConfigError: for an unknown engine, one that is not installed, or one that cannot
            simulate this model.
    """
    if callable(name):
        return name(model, num_envs, num_threads)
    if name == "mujoco":
        return MujocoEngine(model, num_envs, num_threads)
    if name == "warp":
        from training.warp_engine import WarpEngine

        return WarpEngine(model, num_envs)
    raise ConfigError(f"engine: got {name!r}, expected one of: {', '.join(ENGINES)}")
