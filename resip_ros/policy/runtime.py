# SPDX-License-Identifier: Apache-2.0
"""Policies as the environment and the nodes run them: numpy in, numpy out.

Shape letters: B batch, D observation dimension, T prediction horizon, A action dimension.
Normalised means scaled to [-1, 1] by the base's normaliser. Threads are the caller's choice
(`torch.set_num_threads`).
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from resip_ros.core.errors import DataError
from resip_ros.core.observation import (
    build_part_features,
    build_relative_features,
    part_feature_names,
    relative_feature_names,
)
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.policy.card import BaseCard, ResidualCard, StudentCard
from resip_ros.policy.image_encoder import (
    Images,
    StudentNetwork,
    check_images,
    prepare_images,
)
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import PlanNetwork
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.told_poses import read_told
from resip_ros.policy.value import ValuePolicy

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def base_input_dim(task: TaskSpec, normalizer: Normalizer, features: str) -> int:
    """Size of `base_input`."""
    names = () if features == "absolute" else part_feature_names(task, features == "precise")
    return normalizer.obs_dim + len(names)


def base_input(
    task: TaskSpec, normalizer: Normalizer, obs: Float64 | Float32, features: str
) -> Float32:
    """Build what the base's network sees; the one definition, in training and on the robot.

    Args:
        task: says which bodies the part features compare.
        normalizer: the base's.
        obs: (B, D) raw observation, SI, base frame.
        features: one of `core.observation.FEATURES`: which of `build_part_features` to append.

    Returns:
        (B, `base_input_dim`): clamped normalised observation, features.
    """
    normalized = normalizer.normalize_obs(obs)
    if features == "absolute":
        return normalized
    relative = build_part_features(task, np.asarray(obs, np.float64), features == "precise")
    return np.concatenate([normalized, relative.astype(np.float32)], axis=-1)


def residual_input_dim(
    task: TaskSpec, normalizer: Normalizer, features: str, chunk_steps: int = 1
) -> int:
    """Size of `residual_input`."""
    names = () if features == "absolute" else relative_feature_names(task, features == "precise")
    return normalizer.obs_dim + chunk_steps * normalizer.action_dim + len(names)


def residual_input(
    task: TaskSpec,
    normalizer: Normalizer,
    obs: Float64 | Float32,
    base_action_norm: Float32,
    features: str,
) -> Float32:
    """Build the residual network's input; the one definition, in training and on the robot.

    Args:
        task: says which bodies the relative features compare.
        normalizer: the base's.
        obs: (B, D) raw observation, SI, base frame.
        base_action_norm: (B, A) the base's action of this step, normalised; or (B, K, A) those
            of a whole chunk, for a residual that corrects it at once.
        features: one of `core.observation.FEATURES`: which of `build_relative_features` to
            append; they compare the first action.

    Returns:
        (B, `residual_input_dim`): clamped normalised observation, base actions, features.
    """
    actions = np.asarray(base_action_norm, dtype=np.float32)
    # Not reshape(B, -1): that has no answer where every episode ended and B is 0.
    flat = actions.reshape(len(actions), int(np.prod(actions.shape[1:])))
    parts = [normalizer.normalize_obs(obs), flat]
    if features != "absolute":
        base_action = normalizer.denormalize_action(flat[:, : normalizer.action_dim])
        precise = features == "precise"
        relative = build_relative_features(task, obs.astype(np.float64), base_action, precise)
        parts.append(relative.astype(np.float32))
    return np.concatenate(parts, axis=-1)


class BasePolicy:
    """Base policy: one observation in, one chunk of normalised actions out."""

    def __init__(
        self,
        card: BaseCard,
        normalizer: Normalizer,
        network: PlanNetwork,
        device: str = "cpu",
        plan_range: PlanRange | None = None,
    ) -> None:
        """Take over a trained network; it is frozen from here on.

        Raises:
            DataError: if the plan range is not what the card's plan_frame needs.
        """
        _check_plan_range(card, plan_range)
        self.plan_range = plan_range
        self.card = card
        self.task = get_task(card.task)
        self.normalizer = normalizer
        self.horizon = card.prediction_horizon
        self.action_steps = card.action_horizon
        self._device = torch.device(device)
        self._network = network.to(self._device).eval().requires_grad_(False)
        self._generator = torch.Generator()
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Seed the noise of the plans that follow."""
        self._generator.manual_seed(seed)

    @property
    def obs_dim(self) -> int:
        """D of `predict_chunk`; a student's is smaller than that of the state it may tell."""
        return len(self.card.observation)

    @property
    def tells_poses(self) -> bool:
        """Whether it is a student that plans from the poses it tells."""
        return isinstance(self.card, StudentCard) and self.card.tells_poses

    @property
    def images(self) -> tuple[str, ...]:
        """Cameras that the policy needs; none for one that sees the state."""
        return self.card.images if isinstance(self.card, StudentCard) else ()

    def predict_chunk(
        self,
        obs: Float64 | Float32,
        generator: torch.Generator | None = None,
        images: Images | None = None,
    ) -> Float32:
        """Plan from the present observation; a denoiser starts from fresh noise.

        Nothing is carried over from the previous plan: equal observation and equal state of the
        generator give an equal plan.

        Args:
            obs: (B, D) raw observation, SI, base frame; proprioception alone for a student.
            generator: CPU generator of the noise; the policy's own if None.
            images: Camera to (B, 240, 320, 3) uint8 RGB, of a student's cameras.

        Returns:
            (B, T, A) normalised actions; the first is for this step.

        Raises:
            DataError: an input is missing, not finite, or of a wrong shape.
        """
        obs = _check_input("observation", obs, self.obs_dim)
        noise = torch.randn(
            (len(obs), self.horizon, self.normalizer.action_dim),
            generator=generator or self._generator,
        ).to(self._device)
        with torch.inference_mode():
            if not isinstance(self.card, StudentCard):
                condition = torch.from_numpy(self.build_input(obs)).to(self._device)
            elif self.tells_poses:
                state = self.tell_state(obs, images)
                condition = torch.from_numpy(self.build_input(state)).to(self._device)
            else:
                condition = self._eyes.encode(*self._see(obs, images))
            chunk = self._network.compute_plan(condition, noise, self.card.sampler)
        return self.decode_plan(chunk.cpu().numpy(), obs)

    def tell_state(self, proprio: Float64 | Float32, images: Images | None) -> Float64:
        """The state observation (B, D), SI, that a student makes of what it sees.

        Args:
            proprio: (B, Dp) raw proprioception.
            images: Of its cameras, as in `predict_chunk`.

        Raises:
            DataError: a picture is missing or of a wrong shape, or the policy tells no poses.
        """
        if not self.tells_poses:
            raise DataError("this policy tells no poses; give a student with tells_poses")
        with torch.inference_mode():
            told = self._eyes.tell(*self._see(proprio, images)).cpu().numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            state = read_told(self.task, np.asarray(proprio, dtype=np.float64), told)
        if not np.isfinite(state).all():
            raise DataError("the pictures tell a pose that is none; look at what the cameras see")
        return state

    @property
    def _eyes(self) -> StudentNetwork:
        assert isinstance(self._network, StudentNetwork)
        return self._network

    def _see(
        self, obs: Float64 | Float32, images: Images | None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """What a student's encoders are given: normalised proprioception, prepared pictures."""
        check_images(self.images, images, len(obs))
        assert isinstance(self.card, StudentCard)
        assert images is not None
        size = self.card.encoder.size
        prepared = {n: prepare_images(n, images[n], size).to(self._device) for n in self.images}
        proprio = self.normalizer.first(self.obs_dim).normalize_obs(obs)
        return torch.from_numpy(proprio).to(self._device), prepared

    def build_input(self, obs: Float64 | Float32) -> Float32:
        """What the network sees (B, `base_input_dim`) for raw observations (B, D)."""
        return base_input(self.task, self.normalizer, obs, self.card.features)

    def decode_plan(self, plan: Float32, obs: Float64 | Float32) -> Float32:
        """Normalised actions (B, T, A) of the network's plan (B, T, A) at raw observations."""
        if self.plan_range is None:
            return plan
        return self.plan_range.decode(plan, self.normalizer.normalize_hand(obs))

    def encode_plan(self, plan: Float32, obs: Float64 | Float32) -> Float32:
        """Invert `decode_plan`: what the network learns to predict."""
        if self.plan_range is None:
            return plan
        return self.plan_range.encode(plan, self.normalizer.normalize_hand(obs))

    def copy_network(self) -> PlanNetwork:
        """A copy of the network that may be trained."""
        return deepcopy(self._network).requires_grad_(True)


class ResidualPolicy:
    """Correction of the base's action, every step, from the newest observation."""

    def __init__(
        self,
        card: ResidualCard,
        normalizer: Normalizer,
        actor: torch.nn.Module,
        device: str = "cpu",
    ) -> None:
        """Take over a trained actor; it is frozen from here on."""
        self.card = card
        self.task = get_task(card.task)
        self.normalizer = normalizer
        self._device = torch.device(device)
        self._actor = actor.to(self._device).eval().requires_grad_(False)

    def correct(self, obs: Float64 | Float32, base_action_norm: Float32) -> Float32:
        """Compute the correction.

        Args:
            obs: (B, D) raw observation, SI, base frame.
            base_action_norm: (B, A) the base's action of this step, normalised; (B, K, A) those
                of the executed chunk, if the card says that K steps are corrected at once.

        Returns:
            What is to be added to `base_action_norm`, of its shape; scaled by alpha, bounded if
            the card says.
        """
        obs = _check_input("observation", obs, self.normalizer.obs_dim)
        shape = np.shape(base_action_norm)
        flat = np.reshape(base_action_norm, (len(obs), -1))
        steps = self.card.chunk_steps
        base = _check_input("base action", flat, steps * self.normalizer.action_dim)
        seen = residual_input(self.task, self.normalizer, obs, base, self.card.features)
        with torch.inference_mode():
            output = self._actor(torch.from_numpy(seen).to(self._device))
            if self.card.bound == "tanh":
                output = output.tanh()
            return (self.card.alpha * output).cpu().numpy().reshape(shape)


@dataclass(frozen=True)
class AssemblyPolicy:
    """A policy folder: the base and what was trained on it, if anything."""

    base: BasePolicy
    residual: ResidualPolicy | None = None
    value: ValuePolicy | None = None
    """Chooses among sampled chunks (IDQL)."""

    @property
    def task(self) -> TaskSpec:
        """The task both were trained for."""
        return self.base.task

    @property
    def normalizer(self) -> Normalizer:
        """The base's normaliser, which the residual shares."""
        return self.base.normalizer

    @property
    def decides_per_chunk(self) -> bool:
        """Whether something beside the base acts when a chunk is planned, and only then."""
        corrects_chunks = self.residual is not None and self.residual.card.chunk_steps > 1
        return self.value is not None or corrects_chunks

    def plan(
        self,
        obs: Float64 | Float32,
        generator: torch.Generator | None = None,
        images: Images | None = None,
    ) -> Float32:
        """Chunks (B, K, A), normalised, to be executed from observations (B, D) on."""
        if self.value is not None:
            chunk = self.value.choose(self.base, obs, generator)
        else:
            chunk = self.base.predict_chunk(obs, generator, images)[:, : self.base.action_steps]
        if self.residual is not None and self.residual.card.chunk_steps > 1:
            chunk = chunk + self.residual.correct(obs, chunk)
        return chunk

    def correct(self, obs: Float64 | Float32, base_action_norm: Float32) -> Float32:
        """Correction (B, A) of a step, normalised; exactly zero without a residual of steps."""
        if self.residual is None or self.residual.card.chunk_steps > 1:
            return np.zeros(np.shape(base_action_norm), dtype=np.float32)
        return self.residual.correct(obs, base_action_norm)

    def compute_action(self, base_action_norm: Float32, correction: Float32) -> Float64:
        """Net action (B, A) in SI units: base plus correction, de-normalised once."""
        return self.normalizer.denormalize_action(base_action_norm + correction)


def _check_plan_range(card: BaseCard, plan_range: PlanRange | None) -> None:
    if (plan_range is not None) != (card.plan_frame == "hand"):
        what = "no plan range" if plan_range is None else "a plan range"
        raise DataError(
            f"plan_frame is {card.plan_frame}, but there is {what}; use a bundle as it was saved"
        )
    expected = (card.prediction_horizon, len(card.action))
    if plan_range is not None and plan_range.low.shape != expected:
        raise DataError(f"plan range is {plan_range.low.shape}, expected {expected}")


def _check_input(name: str, values: NDArray[np.floating], dim: int) -> NDArray[np.floating]:
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != dim:
        raise DataError(f"{name} has shape {values.shape}, the policy expects (B, {dim})")
    if not np.isfinite(values).all():
        columns = sorted(set(np.nonzero(~np.isfinite(values))[1].tolist()))
        raise DataError(
            f"{name} is not finite in dimensions {columns}; check the stream it is built from"
        )
    return values
