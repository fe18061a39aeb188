# SPDX-License-Identifier: Apache-2.0
"""Poses of a part over time: wrong ones left out, the others averaged, nothing made up."""

from __future__ import annotations

from collections import deque

import numpy as np

from resip_ros.cameras.tag_layout import Pose, TagLayout
from resip_ros.cameras.tags import angle
from resip_ros.core.chunking import NS_PER_S

CONFIRM = 3
"""So many sightings at another place that agree make it the part's place."""


class PoseFilter:
    """The newest sightings of one part; a part that is not seen gives nothing."""

    def __init__(self, layout: TagLayout) -> None:
        """Takes the numbers of the filter."""
        self._jump_m = layout.max_jump_m
        self._jump_rad = np.radians(layout.max_jump_deg)
        self._memory_ns = round(layout.memory_s * NS_PER_S)
        self._kept: deque[tuple[int, Pose]] = deque(maxlen=layout.window)
        self._odd: deque[tuple[int, Pose]] = deque(maxlen=CONFIRM)
        self.refused = 0
        """Sightings left out since the start."""

    def add(self, stamp_ns: int, candidates: tuple[Pose, ...]) -> Pose | None:
        """Takes a sighting.

        Args:
            stamp_ns: When the picture was taken, ns.
            candidates: T_base_part; of several the one that fits what was seen before is taken.

        Returns:
            The pose to go on with; None while the sighting is doubtful.
        """
        for seen in (self._kept, self._odd):
            # a clock that went back begins anew as well
            while seen and not 0 <= stamp_ns - seen[0][0] <= self._memory_ns:
                seen.popleft()
        if self._kept:
            before = self._average()
            fits = [pose for pose in candidates if self._is_near(pose, before)]
            if fits:
                self._odd.clear()
                self._kept.append((stamp_ns, min(fits, key=lambda p: angle(p.rot, before.rot))))
                return self._average()
        return self._doubt(stamp_ns, candidates)

    def _doubt(self, stamp_ns: int, candidates: tuple[Pose, ...]) -> Pose | None:
        """A first sighting, or one at another place: believed when others agree."""
        self.refused += 1
        if len(candidates) != 1:
            # which of two it is must be known from another picture
            return None
        if self._odd and not self._is_near(candidates[0], self._odd[-1][1]):
            self._odd.clear()
        self._odd.append((stamp_ns, candidates[0]))
        if len(self._odd) < CONFIRM:
            return None
        self._kept.clear()
        self._kept.extend(self._odd)
        self._odd.clear()
        return self._average()

    def _is_near(self, a: Pose, b: Pose) -> bool:
        is_near = np.linalg.norm(a.position - b.position) <= self._jump_m
        return bool(is_near and angle(a.rot, b.rot) <= self._jump_rad)

    def _average(self) -> Pose:
        """Median position, and the rotation nearest to all (chordal mean)."""
        poses = [pose for _, pose in self._kept]
        position = np.median([pose.position for pose in poses], axis=0)
        u, _, vt = np.linalg.svd(np.sum([pose.rot for pose in poses], axis=0))
        rot = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        return Pose(position, rot)
