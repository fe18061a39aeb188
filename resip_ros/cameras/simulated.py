# SPDX-License-Identifier: Apache-2.0
"""The cameras of the simulated bench, drawn from the world's state."""

from __future__ import annotations

import logging
import threading

import numpy as np

from resip_ros.cameras.source import Calibration, Frame, PictureSource
from resip_ros.core.chunking import tick_of
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import Array
from resip_ros.sim.cameras import get_camera
from resip_ros.sim.render import Renderer

logger = logging.getLogger(__name__)

WAIT_S = 0.5
LONGEST_S = 2.0**31
"""A message's stamp holds no more seconds."""


class SimSource(PictureSource):
    """Draws the newest state of each period; states that come while it draws are skipped."""

    has_noise = False

    def __init__(self, task: str, cameras: tuple[str, ...], rate_hz: float) -> None:
        """Nothing is drawn yet.

        Args:
            task: Whose scene is drawn.
            cameras: Names of ``sim.cameras``.
            rate_hz: Pictures of each camera a second of simulation.

        Raises:
            ConfigError: for an unknown camera.
        """
        self.cameras = cameras
        self._lenses = {name: Calibration(get_camera(name).intrinsics) for name in cameras}
        self._task, self._rate_hz = task, rate_hz
        self._renderer: Renderer | None = None
        self._wake = threading.Condition()
        self._state: Array | None = None
        self._last_tick = -1

    def push(self, state: Array) -> None:
        """Takes the world's state, from any thread.

        Args:
            state: (1 + nq + 3 nmocap,): time s, joint positions, mocap positions.

        Raises:
            DataError: for values that are not finite, or a time that no message can tell.
        """
        if not state.size or not np.isfinite(state).all() or not 0.0 <= state[0] < LONGEST_S:
            raise DataError(
                f"state of the simulated bench is {state[:3].tolist()}...; expected its time in s "
                "from 0, then finite positions"
            )
        tick = tick_of(stamp_of(state), self._rate_hz)
        with self._wake:
            if tick == self._last_tick:
                return
            self._last_tick = tick
            self._state = state
            self._wake.notify()

    def open(self) -> None:
        """Build the scene and open the graphics; OpenGL belongs to this thread from now on.

        Raises:
            NoRenderingError: when this machine cannot draw.
        """
        self._renderer = Renderer(self._task)

    def read(self) -> list[Frame]:
        """Pictures of all cameras at one instant."""
        assert self._renderer is not None
        with self._wake:
            self._wake.wait_for(lambda: self._state is not None, timeout=WAIT_S)
            state, self._state = self._state, None
        if state is None:
            return []
        model = self._renderer.model
        split, size = 1 + model.nq, 1 + model.nq + 3 * model.nmocap
        if state.size != size:
            # the cameras go on with the next state
            logger.error(
                "state of the simulated bench has %d values; expected %d of task %s: do world and "
                "cameras run the same task?",
                state.size,
                size,
                self._task,
            )
            return []
        pictures = self._renderer.render(
            state[1:split], state[split:].reshape(-1, 3), self.cameras
        )
        stamp_ns = stamp_of(state)
        return [Frame(name, stamp_ns, picture, stamp_ns) for name, picture in pictures.items()]

    def close(self) -> None:
        """Free the graphics."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def calibration(self, camera: str) -> Calibration | None:
        """A pinhole without distortion."""
        return self._lenses[camera]


def stamp_of(state: Array) -> int:
    """Time of a state, ns: a whole number of the simulator's ticks of 1 ms."""
    return int(np.rint(state[0] * 1000)) * 1_000_000
