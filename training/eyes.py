# SPDX-License-Identifier: Apache-2.0
"""What a student sees of running simulations: drawn when it plans, as old as the cameras are.

Letters: N environments, b of them.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.errors import ConfigError
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.policy.image_encoder import Images
from resip_ros.sim.render import Renderer
from training.env import AssemblyEnv
from training.randomize import LOOKS
from training.render import Pictures, RandomRenderer

PLAIN = "plain"
"""The scene as the live graph's cameras draw it."""


class Eyes:
    """Draws environments for a `PolicyRollout`; belongs to one thread."""

    def __init__(self, env: AssemblyEnv, look: str, seed: int, delay: int = 0) -> None:
        """Open the graphics.

        Args:
            env: The simulations.
            look: `plain`, or a key of training.randomize.LOOKS.
            seed: Of the looks, with episode and step.
            delay: Age of the pictures, policy steps.

        Raises:
            ConfigError: for an unknown look.
            NoRenderingError: this machine cannot draw.
        """
        if look != PLAIN and look not in LOOKS:
            raise ConfigError(f"unknown look {look!r}; looks: {PLAIN}, {', '.join(LOOKS)}")
        self._env, self._seed = env, seed
        name = env.task.name
        self._plain = Renderer(name) if look == PLAIN else None
        self._random = RandomRenderer(name, LOOKS[look]) if look != PLAIN else None
        self._states: deque[NDArray[np.float64]] = deque(maxlen=delay + 1)
        self._all = np.arange(env.num_envs)
        self.episodes = np.zeros(env.num_envs, dtype=np.int64)
        """(N,) number of each environment's episode."""
        self.drawn = 0

    def remember(self) -> None:
        """Note the present scenes; call once a step, before the policy acts."""
        now = self._env.snapshot(self._all)
        states = np.concatenate([now.qpos, now.mocap_pos.reshape(len(now), -1)], axis=-1)
        self._states.append(states)
        # before its first step an episode has shown nothing else
        for old in self._states:
            old[self._env.t == 0] = states[self._env.t == 0]

    def __call__(self, ids: NDArray[np.int64]) -> Images:
        """Pictures (b, 240, 320, 3) of each camera, of environments ids (b,)."""
        frames = [self._draw(int(env)) for env in ids]
        self.drawn += len(frames)
        return {name: np.stack([frame[name] for frame in frames]) for name in POLICY_CAMERAS}

    def _draw(self, env: int) -> Pictures:
        state = self._states[0][env]
        if self._random is not None:
            key = self._seed, int(self.episodes[env]), int(self._env.t[env])
            return self._random.draw(state, key)
        assert self._plain is not None
        nq = self._plain.model.nq
        return self._plain.render_policy(state[:nq], state[nq:].reshape(-1, 3))

    def close(self) -> None:
        """Free the graphics memory."""
        renderer = self._plain or self._random
        assert renderer is not None
        renderer.close()
