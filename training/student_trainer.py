# SPDX-License-Identifier: Apache-2.0
"""Cloning from pictures: encoders and a plan network, or eyes for a policy that sees the state.

Eyes (`--state-policy`) learn to tell the parts' poses where they are known; where they are not, in
real demonstrations, they learn through the plans that the policy makes of what they tell. Pictures
of both kinds are mixed in every batch (training.mixing). Letters: B batch, W windows, P what the
pose head tells, Dp proprioception, Di the plan network's input.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resip_ros.core.errors import ConfigError
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.observation import (
    proprioception_names,
)
from resip_ros.core.tasks import get_task
from resip_ros.policy.card import BaseCard, StudentCard
from resip_ros.policy.image_encoder import CameraEncoder, StudentNetwork, prepare_images
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.resnet import load_weights, read_weights
from resip_ros.policy.runtime import base_input_dim
from resip_ros.policy.told_poses import position_errors
from training.augment import Augment
from training.bc_config import BcConfig
from training.bc_trainer import BcTrainer
from training.dataset import (
    ChunkWindows,
    Demonstrations,
    join_demonstrations,
    read_demonstrations,
)
from training.distributed import ALONE, Group
from training.image_dataset import ImageBatches, ImageReader
from training.mixing import balanced_share, check_share, draw_mixed
from training.presets import BcPreset, StudentPreset, student_preset
from training.student_start import StudentStart, load_start
from training.told_input import make_told_input
from training.told_poses import ToldPoses


def refuse_student_settings(config: BcConfig) -> None:
    """Refuse settings that mean nothing to a policy that sees the state.

    Raises:
        ConfigError: naming the first.
    """
    for name in ("real", "real_share", "encoder_weights", "state_policy", "start_from"):
        if getattr(config, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} needs --observation images")


def make_student_trainer(config: BcConfig, group: Group) -> StudentTrainer:
    """Read the datasets, look at their pictures, and build the trainer.

    Raises:
        ResipError: for data or weights that cannot be trained on, before the first step.
    """
    check_share(config.real_share, config.batch)
    if config.real_share is not None and not (config.real and config.data):
        raise ConfigError("--real-share needs --real beside --data: what is to be mixed")
    paths = [*config.data, *([config.real] if config.real else [])]
    parts = [read_demonstrations(path, config.task) for path in paths]
    readers = [
        ImageReader(path, POLICY_CAMERAS, len(part.action))
        for path, part in zip(paths, parts, strict=True)
    ]
    for reader in readers:
        reader.check()
    real = len(parts[-1].action) if config.real else 0
    return StudentTrainer(config, parts, readers, group, real)


class StudentTrainer(BcTrainer):
    """Trains encoders and plan network together, or eyes for a plan network that stays."""

    validation_windows = 128
    network: StudentNetwork
    ema: StudentNetwork

    def __init__(
        self,
        config: BcConfig,
        parts: list[Demonstrations],
        readers: list[ImageReader],
        group: Group = ALONE,
        real: int = 0,
    ) -> None:
        """Take over datasets with their pictures, of which the last `real` steps are real."""
        lengths = [len(part.action) for part in parts]
        self._images = ImageBatches(readers, lengths, config.threads)
        self._first_real = sum(lengths) - real
        super().__init__(config, join_demonstrations(parts), group)
        self._augment = {name: Augment(name, self.size) for name in POLICY_CAMERAS}
        is_real = torch.from_numpy(self.train_rows >= self._first_real)
        self._is_real = None
        if is_real.any() and not is_real.all():
            self._is_real = is_real
            self.real_share = config.real_share or balanced_share(
                int(is_real.sum()), int((~is_real).sum())
            )
            check_share(self.real_share, config.batch)

    def _get_preset(self) -> BcPreset:
        pretrained = self.config.encoder_weights is not None
        return student_preset(self.config.network, self.config.preset, pretrained=pretrained)

    @property
    def student(self) -> StudentPreset:
        """Sizes and rates of the encoders."""
        assert self.preset.student is not None
        return self.preset.student

    @property
    def size(self) -> int:
        """S, pixels of a side that the encoders see."""
        return self.student.encoder.size

    @property
    def obs_dim(self) -> int:
        """Proprioception."""
        return len(proprioception_names(get_task(self.config.task)))

    @functools.cached_property
    def _start(self) -> StudentStart:
        """What the run begins from."""
        return load_start(self.config, self.preset)

    @property
    def tells_poses(self) -> bool:
        """Whether a policy that sees the state plans, and only its eyes are learned."""
        return self._start.planner is not None

    @functools.cached_property
    def _told(self) -> ToldPoses:
        """What is to be told in the training steps."""
        known = self.train_rows < self._first_real
        obs = self.data.state_obs[self.train_rows]
        return ToldPoses.of(get_task(self.config.task), obs, known)

    def _fit_normalizer(self, episodes: NDArray[np.int64]) -> Normalizer:
        return self._start.normalizer or super()._fit_normalizer(episodes)

    def _fit_plan_range(self, train: ChunkWindows) -> PlanRange:
        return self._start.plan_range or super()._fit_plan_range(train)

    def _check_inputs(self) -> None:
        if self.tells_poses:
            self._told.check(", ".join(map(str, self.config.data)))

    def _see(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised proprioception (W, Dp)."""
        return self.normalizer.first(self.obs_dim).normalize_obs(obs)

    def _build_network(self, action_dim: int, input_dim: int, horizon: int) -> StudentNetwork:
        task = get_task(self.config.task) if self.tells_poses else None
        if task is not None:
            features = self._card_of_planner.features
            input_dim = base_input_dim(task, self.normalizer, features)
        dims = action_dim, input_dim, horizon
        encoder = self.student.encoder
        network = StudentNetwork(self.preset.network, POLICY_CAMERAS, encoder, dims, task)
        if task is not None:
            network.told_mean.copy_(self._told.mean())
            network.plan.requires_grad_(False)
        if self.config.encoder_weights is not None:
            load_encoders(network, self.config.encoder_weights)
        self._start.load_into(network)
        return network

    @property
    def _card_of_planner(self) -> BaseCard:
        assert self._start.planner is not None
        return self._start.planner.card

    def _parameter_groups(self) -> list[dict[str, Any]]:
        encoders = {"params": list(self.network.encoders.parameters())}
        encoders |= {
            "scale": self.student.encoder_rate_scale,
            "warmup": self.student.encoder_warmup_steps,
        }
        head = self.network.plan if self.network.pose_head is None else self.network.pose_head
        return [{"params": list(head.parameters())}, encoders]

    def _draw_batch(self) -> Tensor:
        if self._is_real is None:
            return super()._draw_batch()
        return draw_mixed(self._is_real, self.config.batch, self.real_share, self.generator)

    def _batch_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        pictures = self._images(self.train_rows[rows.numpy()])
        images = {n: self._augment[n](p).to(self.device) for n, p in pictures.items()}
        seen, plans = self.train_inputs[rows], self.train_plans[rows]
        if not self.tells_poses:
            inputs = self.network.encode(seen, images)
            return self.network.compute_loss(inputs, plans, generator, self.preset.sampler)
        told = self.network.tell(seen, images)
        loss = self._told.loss(told, rows)
        real = ~self._told.known[rows]
        if real.any():
            # nobody knows these poses; they are to be such that the plan is the demonstrated one
            inputs = self._plan_input(told[real], self.train_rows[rows[real].numpy()])
            plan_loss = self.network.compute_loss(
                inputs, plans[real], generator, self.preset.sampler
            )
            loss = loss + plan_loss * real.float().mean()
        return loss

    def _plan_input(self, told: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """What the plan network is given (b, Di) for told poses (b, P) of steps `rows` (b,)."""
        assert self._start.planner is not None
        proprio = self.data.state_obs[rows, : self.obs_dim].astype(np.float64)
        build = self._start.planner.build_input
        return make_told_input(get_task(self.config.task), build, proprio, told)

    def validate(self) -> dict[str, float]:
        """As of every policy; of eyes also `pose_error_mm`.

        Which is how far from the true position what a hand is to hold (with several arms: each
        body) is told to be, on average over held-out steps in which it is known.
        """
        self._pose_errors: list[NDArray[np.float64]] = []
        found = super().validate()
        errors = np.concatenate(self._pose_errors or [np.zeros((0, 1))])
        return found | ({"pose_error_mm": float(errors.mean() * 1e3)} if errors.size else {})

    def _val_input(self, rows: Tensor) -> Tensor:
        steps = self.val_rows[rows.numpy()]
        pictures = self._images(steps)
        images = {n: prepare_images(n, p, self.size).to(self.device) for n, p in pictures.items()}
        if not self.tells_poses:
            return self.ema.encode(self.val_inputs[rows], images)
        told = self.ema.tell(self.val_inputs[rows], images)
        known = steps < self._first_real
        task = get_task(self.config.task)
        obs = self.data.state_obs[steps[known]].astype(np.float64)
        self._pose_errors.append(position_errors(task, told.cpu().numpy()[known], obs))
        return self._plan_input(told, steps)

    def _identity(self) -> dict[str, Any]:
        return super()._identity() | {
            "observation": "images",
            "real_steps": len(self.data.action) - self._first_real,
            "real_share": self.config.real_share,
            "pictures": self._images.fingerprint,
            **self._start.identity,
        }

    def _card(self) -> BaseCard:
        card = super()._card()
        values = {f.name: getattr(card, f.name) for f in dataclasses.fields(card)}
        task = get_task(self.config.task)
        return StudentCard(
            **values
            | {
                "observation": proprioception_names(task),
                "kind": "student",
                "images": POLICY_CAMERAS,
                "encoder": self.student.encoder,
                "tells_poses": self.tells_poses,
                "features": self._card_of_planner.features if self.tells_poses else "absolute",
            }
        )


def load_encoders(network: StudentNetwork, path: Path) -> None:
    """Give every camera's encoder the same pretrained weights.

    Raises:
        ConfigError: they are not those of a ResNet-18.
    """
    weights = read_weights(path)
    for encoder in network.encoders.values():
        assert isinstance(encoder, CameraEncoder)
        load_weights(encoder.net, weights, str(path))
