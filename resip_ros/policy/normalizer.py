# SPDX-License-Identifier: Apache-2.0
"""Per-dimension min-max scaling of observations and actions to [-1, 1].

Fitted once on the demonstrations and stored in the bundle; never recomputed, so what a policy
sees on the robot is scaled exactly as in training. Source: ResiP's min-max normalisation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.action import ACTION_DIM
from resip_ros.core.errors import DataError
from resip_ros.core.observation import PROPRIO_DIM

OBS_CLAMP = 3.0
"""Normalised observations are clamped to [-OBS_CLAMP, OBS_CLAMP]."""
MIN_RANGE = 1e-3
"""A dimension whose range (its own unit) is smaller counts as constant.

A body that never moves shows only its settling jitter, some 1e-5 m. Scaled to [-1, 1] that
jitter would be the loudest input there is, and differ on the robot.
"""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Normalizer:
    """Ranges of each observation and action dimension, raw units."""

    obs_min: Float32
    """(Do,) smallest value of each observation dimension."""
    obs_max: Float32
    """(Do,) largest value; above `obs_min` in every dimension."""
    action_min: Float32
    """(Da,) smallest value of each action dimension."""
    action_max: Float32
    """(Da,) largest value; above `action_min` in every dimension."""

    def __post_init__(self) -> None:
        """Refuse ranges that would scale to infinity or NaN."""
        for name, low, high in (
            ("observation", self.obs_min, self.obs_max),
            ("action", self.action_min, self.action_max),
        ):
            if low.ndim != 1 or low.shape != high.shape:
                raise DataError(
                    f"{name} range needs two vectors of one length, got {low.shape}, {high.shape}"
                )
            # `not (a > b)` also catches NaN.
            bad = np.flatnonzero(~(high > low) | ~np.isfinite(high - low))
            if bad.size:
                raise DataError(
                    f"{name} range is empty or not finite in dimensions {bad.tolist()}; "
                    "fit the normaliser on checked demonstrations"
                )

    @classmethod
    def fit(cls, obs: Float32, action: Float32) -> Normalizer:
        """Fit to demonstrations: obs (N, Do) and action (N, Da), raw SI."""
        return cls(*_fit_range(obs), *_fit_range(action))

    @property
    def obs_dim(self) -> int:
        """Do."""
        return len(self.obs_min)

    def first(self, count: int) -> Normalizer:
        """For an observation that ends after `count` dimensions."""
        return replace(self, obs_min=self.obs_min[:count], obs_max=self.obs_max[:count])

    @property
    def action_dim(self) -> int:
        """Da."""
        return len(self.action_min)

    @property
    def hash(self) -> str:
        """Hex SHA-256 of all ranges; equal hashes scale equally."""
        digest = hashlib.sha256()
        for array in (self.obs_min, self.obs_max, self.action_min, self.action_max):
            digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
            digest.update(b"|")
        return digest.hexdigest()

    def normalize_obs(self, obs: Float64 | Float32) -> Float32:
        """Scale raw observations (..., Do) to [-1, 1], clamped to +-OBS_CLAMP."""
        scaled = _scale(obs, self.obs_min, self.obs_max)
        return np.clip(scaled, -OBS_CLAMP, OBS_CLAMP).astype(np.float32)

    def normalize_action(self, action: Float64 | Float32) -> Float32:
        """Scale raw actions (..., Da) to [-1, 1]; values outside the range stay outside."""
        return _scale(action, self.action_min, self.action_max).astype(np.float32)

    def normalize_hand(self, obs: Float64 | Float32) -> Float32:
        """Normalised action (..., Da) that asks for the hands' present poses, grippers 0.

        For every arm, proprioception in the observation (..., Do) and the arm's block of the
        action begin with the 9 entries of a pose.
        """
        hand = np.zeros((*np.shape(obs)[:-1], self.action_dim), np.float32)
        for arm in range(self.action_dim // ACTION_DIM):
            seen = slice(arm * PROPRIO_DIM, arm * PROPRIO_DIM + 9)
            pose = slice(arm * ACTION_DIM, arm * ACTION_DIM + 9)
            low, high = self.action_min[pose], self.action_max[pose]
            hand[..., pose] = _scale(obs[..., seen], low, high)
        return hand

    def denormalize_action(self, action: Float64 | Float32) -> Float64:
        """Turn normalised actions (..., Da) into SI units."""
        low = self.action_min.astype(np.float64)
        half = 0.5 * (self.action_max.astype(np.float64) - low)
        return low + (np.asarray(action, dtype=np.float64) + 1.0) * half


def _scale(values: Float64 | Float32, low: Float32, high: Float32) -> Float64:
    start = low.astype(np.float64)
    half = 0.5 * (high.astype(np.float64) - start)
    return (np.asarray(values, dtype=np.float64) - start) / half - 1.0


def _fit_range(values: Float32) -> tuple[Float32, Float32]:
    """Smallest and largest value of each column, constants widened by 1 on both sides."""
    if values.ndim != 2 or len(values) == 0:
        raise DataError(f"cannot fit a normaliser to an array of shape {values.shape}")
    low = values.min(axis=0).astype(np.float32)
    high = values.max(axis=0).astype(np.float32)
    constant = high - low < MIN_RANGE
    return np.where(constant, low - 1, low), np.where(constant, high + 1, high)
