# SPDX-License-Identifier: Apache-2.0
"""What the simulated bench looked like in the last half minute, so that it can go back there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array

PERIOD_S = 0.1
KEPT_S = 30.0


@dataclass(frozen=True)
class Moment:
    """State of bench and arms; they go back to it at rest."""

    sim_time_s: float
    qpos: Array
    """(nq,) MuJoCo order."""
    mocap_pos: Array
    """(nmocap, 3) m."""
    control: Array
    """(nu,) actuator targets."""
    hands: tuple[tuple[float, float], ...]
    """Each hand's goal and present target of one finger, m."""


class History:
    """Moments, oldest first."""

    def __init__(self) -> None:
        self._moments: deque[Moment] = deque(maxlen=round(KEPT_S / PERIOD_S))

    def add(self, moment: Moment) -> None:
        """Remembers a moment, and forgets one from long ago."""
        self._moments.append(moment)

    def clear(self) -> None:
        """Forgets everything: the bench was made anew."""
        self._moments.clear()

    def go_back(self, to_s: float) -> Moment:
        """The last moment up to a time; what came after it is forgotten.

        Args:
            to_s: Simulated time, s.

        Raises:
            ConfigError: there is none.
        """
        moments = [m for m in self._moments if m.sim_time_s <= to_s]
        if not moments:
            known = [f"{m.sim_time_s:.1f} s" for m in self._moments]
            raise ConfigError(
                f"the bench at {to_s:.1f} s is not remembered; it is from "
                f"{known[0] if known else 'nowhere'} on: undo less, or place the parts anew"
            )
        self._moments = deque(moments, maxlen=self._moments.maxlen)
        return moments[-1]
