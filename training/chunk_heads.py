# SPDX-License-Identifier: Apache-2.0
"""What the chunk-level learners see before a chunk, and what their answer means.

Shape letters: b envs, D input dimension, K executed steps of a chunk, A action dimension,
F = K A, T prediction horizon.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from resip_ros.core.errors import ConfigError
from resip_ros.policy.runtime import BasePolicy, residual_input
from resip_ros.policy.value import choose_chunk, value_input


class ResidualChunk:
    """ResiP-C: one correction of all steps of the frozen base's chunk (ResiP §III-D4)."""

    def __init__(self, base: BasePolicy, alpha: float, features: str) -> None:
        self.normalizer, self.steps = base.normalizer, base.action_steps
        self._base = base
        self._alpha = np.float32(alpha)
        self._features = features

    def plan(self, obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Chunks (b, K, A) of the base."""
        return self._base.predict_chunk(obs, generator)[:, : self.steps]

    def build_input(self, obs: np.ndarray, plan: np.ndarray) -> np.ndarray:
        """Observation and the whole chunk (b, D)."""
        return residual_input(self._base.task, self.normalizer, obs, plan, self._features)

    def decode(self, obs: np.ndarray, plan: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Corrected chunks (b, K, A) for unscaled corrections (b, F)."""
        del obs
        return plan + self._alpha * answer.reshape(plan.shape)


class DirectChunk:
    """PPO-C: the learner is the chunked policy itself."""

    def __init__(self, base: BasePolicy) -> None:
        """Take over the deterministic policy that is to be tuned.

        Raises:
            ConfigError: for one that samples: its likelihood is not known.
        """
        if base.card.sampler is not None:
            raise ConfigError(
                f"PPO-C tunes a policy that regresses a chunk; {base.card.network.architecture} "
                "samples one: clone a base with `training.bc --network mlp_c`"
            )
        self.normalizer, self.steps = base.normalizer, base.action_steps
        self._base = base

    def plan(self, obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """Nothing is planned beside the learner: zeros (b, K, A)."""
        return np.zeros((len(obs), self.steps, self.normalizer.action_dim), np.float32)

    def build_input(self, obs: np.ndarray, plan: np.ndarray) -> np.ndarray:
        """What the policy's network sees (b, D)."""
        return self._base.build_input(obs)

    def decode(self, obs: np.ndarray, plan: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Chunks (b, K, A) for the network's scaled plans (b, F)."""
        whole = np.zeros((len(obs), self._base.horizon, self.normalizer.action_dim), np.float32)
        whole[:, : self.steps] = answer.reshape(plan.shape)
        return self._base.decode_plan(whole, obs)[:, : self.steps]


class SampledChunk:
    """IDQL: chunks are sampled from the frozen base; a value may choose among several."""

    def __init__(self, base: BasePolicy, samples: int = 1) -> None:
        """Take over the base; of several samples, the value of `choose_with` chooses one."""
        self.normalizer, self.steps = base.normalizer, base.action_steps
        self._base = base
        self._samples = samples
        self._value: nn.Module | None = None

    def choose_with(self, value: nn.Module) -> None:
        """Set the value: inputs (b, D) to values (b,)."""
        self._value = value

    def plan(self, obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """A sampled chunk (b, K, A), or the most valuable of several."""
        if self._value is None:
            return self._base.predict_chunk(obs, generator)[:, : self.steps]
        return choose_chunk(self._base, self._value, self._samples, obs, generator)

    def build_input(self, obs: np.ndarray, plan: np.ndarray) -> np.ndarray:
        """What the value sees (b, D)."""
        return value_input(self._base, obs, plan)

    def decode(self, obs: np.ndarray, plan: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """The chunks (b, K, A) that were answered (b, F), normalised actions."""
        del obs
        return answer.reshape(plan.shape)


class PlanActor(nn.Module):
    """A chunked policy's network as PPO's actor: its scaled plan, cut to the executed steps."""

    def __init__(self, base: BasePolicy) -> None:
        super().__init__()
        self.network = base.copy_network()
        self._steps = base.action_steps

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (b, D) to means (b, F)."""
        plan = self.network.compute_plan(inputs, torch.zeros(1, 1, 1), None)
        return plan[:, : self._steps].flatten(1)
