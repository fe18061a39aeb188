# SPDX-License-Identifier: Apache-2.0
"""Engine of MuJoCo Warp: all simulations side by side on a GPU, in single precision.

Without a GPU it runs on Warp's CPU device, which is slow and there to try things out. The
first simulation of a machine compiles the kernels; Warp keeps them in its cache folder.

The model is the one that MuJoCo steps, with one change: no simulation is put to sleep. MuJoCo
lets parts that rest sleep to save time; here the state lives outside the engine and would have
to wake them. Letters: N simulations, b of them, K physics steps.
"""

from __future__ import annotations

import copy
import sys
from contextlib import redirect_stdout
from importlib import import_module
from types import ModuleType
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.geometry import Array

CONTACTS_PER_ENV = 128
"""Room for contacts, shared by all simulations; one_leg has at most 60 in an episode."""
ROWS_PER_ENV = 400
"""Room for constraint rows of each simulation; one_leg has at most 181 in an episode."""
_LIMIT = 1e10
"""Beyond this, MuJoCo too takes a coordinate for a simulation that blew up (mjMAXVAL)."""


class WarpEngine:
    """Engine (training.engine) that uploads the state, steps, and downloads it again."""

    def __init__(self, model: mujoco.MjModel, num_envs: int) -> None:
        """Make N simulations at the model's defaults, on the GPU if there is one.

        Raises:
            ConfigError: if MuJoCo Warp is not installed or cannot simulate the model.
        """
        own = copy.deepcopy(model)
        own.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        with redirect_stdout(sys.stderr):  # Warp reports there; programs write JSON to stdout
            self._mjw, self._wp = _import("mujoco_warp"), _import("warp")
            try:
                self._model = self._mjw.put_model(own)
            except (ValueError, NotImplementedError) as error:
                raise ConfigError(
                    f"engine 'warp' cannot simulate this model: {error} Use engine 'mujoco'"
                ) from None
            self._data = self._mjw.make_data(
                own, nworld=num_envs, nconmax=CONTACTS_PER_ENV, njmax=ROWS_PER_ENV
            )
        self._model.opt.warn_overflow = 0  # rollout raises instead
        bits = self._mjw.OverflowType
        self._solver_bits = int(bits.ITERATIONS | bits.LS_ITERATIONS)
        start = mujoco.MjData(own)
        self._default = {
            name: np.array(getattr(start, name))
            for name in ("qpos", "qvel", "ctrl", "qacc_warmstart", "mocap_pos")
        }
        host = {name: np.stack([value] * num_envs) for name, value in self._default.items()}
        self.qpos, self.qvel, self.ctrl = host["qpos"], host["qvel"], host["ctrl"]
        self.qacc_warmstart, self.mocap_pos = host["qacc_warmstart"], host["mocap_pos"]
        self._host = host
        self._graphs: dict[int, tuple[Any, Any, Any]] = {}
        self._stale = np.ones(num_envs, dtype=bool)

    def reset(self, ids: NDArray[np.int64]) -> None:
        """See Engine."""
        for name, value in self._default.items():
            self._host[name][ids] = value
        self._stale[ids] = True

    def forward(self, ids: NDArray[np.int64]) -> None:
        """See Engine; here every rollout uploads the state, so there is nothing to do."""

    def rollout(self, control: Array) -> Array:
        """See Engine.

        Raises:
            ResipError: if the contacts of some simulation did not fit into the room for them.
        """
        with redirect_stdout(sys.stderr):  # compiling is reported too
            graph, controls, forces = self._graph(control.shape[1])
        self._upload()
        controls.assign(control.swapaxes(0, 1).astype(np.float32))
        self._wp.capture_launch(graph)
        recorded = forces.numpy().swapaxes(0, 1).astype(np.float64)
        self._download()
        return self._restart_broken(recorded)

    def _graph(self, steps: int) -> tuple[Any, Any, Any]:
        """K steps as one graph, its controls (K, N, nu) and its constraint forces (K, N, nv).

        A step is some hundred kernels; as a graph the device runs through them by itself.
        """
        if steps not in self._graphs:
            wp, data = self._wp, self._data
            self._mjw.step(self._model, data)  # loads the kernels, before the recording
            controls = wp.zeros((steps, *data.ctrl.shape), dtype=float)
            forces = wp.zeros((steps, *data.qfrc_constraint.shape), dtype=float)
            with wp.ScopedCapture() as capture:
                for k in range(steps):
                    wp.copy(data.ctrl, controls[k])
                    self._mjw.step(self._model, data)
                    wp.copy(forces[k], data.qfrc_constraint)
            self._graphs[steps] = capture.graph, controls, forces
        return self._graphs[steps]

    def _upload(self) -> None:
        if self._stale.any():
            mask = self._wp.array(self._stale, dtype=bool)
            self._mjw.reset_data(self._model, self._data, reset=mask)
            self._stale[:] = False
        for name, value in self._host.items():
            getattr(self._data, name).assign(value.astype(np.float32))

    def _download(self) -> None:
        for name, value in self._host.items():
            value[:] = getattr(self._data, name).numpy()
        lost = self._data.overflow.numpy() & ~self._solver_bits
        if lost.any():
            raise ResipError(
                f"engine 'warp': contacts of simulation {int(np.argmax(lost != 0))} did not fit; "
                f"raise CONTACTS_PER_ENV ({CONTACTS_PER_ENV}) or ROWS_PER_ENV ({ROWS_PER_ENV})"
            )

    def _restart_broken(self, forces: Array) -> Array:
        """Put simulations that blew up at the defaults, as MuJoCo does; forces (N, K, nv)."""
        state = np.concatenate([self.qpos, self.qvel, self.qacc_warmstart], axis=1)
        sound = (np.abs(state) < _LIMIT).all(axis=1)  # false for NaN
        self.reset(np.flatnonzero(~sound))
        forces[~sound] = 0.0
        return forces


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ConfigError(
            f"engine 'warp' needs {name}, which is not installed: pip install resip_ros[gpu]"
        ) from None
