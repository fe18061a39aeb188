# SPDX-License-Identifier: Apache-2.0
"""What differs in cloning when the policy sees pictures; the loop and all else are `training.bc`.

Synthetic pictures (training.render) and real ones (training.convert_bags) are mixed in every batch
(training.mixing). With a pose head (`policy.image_encoder`) the plan network is one that sees the
state, behind eyes that learn to tell it. Letters: B batch, W windows, P what the head tells.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from resip_ros.core.errors import ConfigError
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.observation import (
    observation_names,
    part_feature_names,
    proprioception_names,
)
from resip_ros.core.tasks import get_task
from resip_ros.policy.card import BaseCard, StudentCard
from resip_ros.policy.image_encoder import CameraEncoder, StudentNetwork, prepare_images
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.resnet import load_weights, read_weights
from resip_ros.policy.runtime import base_input
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
from training.student_start import load_start


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
    check_share(config.real_share)
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
    """Trains encoders and plan network together."""

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
        self.config = config
        self.preset = self._get_preset()
        self._start = load_start(config, self.preset, self.pose_dim)
        super().__init__(config, join_demonstrations(parts), group)
        self._known = torch.from_numpy(self.train_rows < self._first_real)
        self._poses = self._tell_poses()
        self._augment = {name: Augment(name, self.size) for name in POLICY_CAMERAS}
        is_real = torch.from_numpy(self.train_rows >= self._first_real)
        self._is_real = None
        if is_real.any() and not is_real.all():
            self._is_real = is_real
            self.real_share = config.real_share or balanced_share(
                int(is_real.sum()), int((~is_real).sum())
            )

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

    @property
    def pose_dim(self) -> int:
        """P: what a policy that sees the state is given beside proprioception."""
        if not self.student.pose_weight:
            return 0
        task = get_task(self.config.task)
        return len(observation_names(task)) - self.obs_dim + len(part_feature_names(task))

    def _fit_normalizer(self, episodes: NDArray[np.int64]) -> Normalizer:
        return self._start.normalizer or super()._fit_normalizer(episodes)

    def _fit_plan_range(self, train: ChunkWindows) -> PlanRange:
        return self._start.plan_range or super()._fit_plan_range(train)

    def _build_network(self, action_dim: int, input_dim: int, horizon: int) -> StudentNetwork:
        dims = action_dim, input_dim, horizon
        encoder = self.student.encoder
        network = StudentNetwork(self.preset.network, POLICY_CAMERAS, encoder, dims, self.pose_dim)
        if self.config.encoder_weights is not None:
            load_encoders(network, self.config.encoder_weights)
        self._start.load_into(network)
        return network

    def _tell_poses(self) -> Tensor | None:
        """What the head is to tell in the training steps (W, P), zero where it is not known.

        That is what a state policy's network is given: normalised poses, part features.
        """
        if not self.pose_dim:
            return None
        told = np.zeros((len(self.train_rows), self.pose_dim), dtype=np.float32)
        known = self._known.numpy()
        if known.any():
            obs = self.data.state_obs[self.train_rows[known]]
            if self._start.state_policy is None:
                normalizer = Normalizer.fit(obs, self.data.action[self.train_rows[known]])
            else:
                normalizer = self._start.state_policy.normalizer
            whole = base_input(get_task(self.config.task), normalizer, obs, True)
            told[known] = whole[:, self.obs_dim :]
        return torch.from_numpy(told).to(self.device)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        encoders = {"params": list(self.network.encoders.parameters())}
        encoders |= {
            "scale": self.student.encoder_rate_scale,
            "warmup": self.student.encoder_warmup_steps,
        }
        others = list(self.network.plan.parameters())
        if self.network.pose_head is not None:
            others += list(self.network.pose_head.parameters())
        return [{"params": others}, encoders]

    def _draw_batch(self) -> Tensor:
        if self._is_real is None:
            return super()._draw_batch()
        return draw_mixed(self._is_real, self.config.batch, self.real_share, self.generator)

    def _batch_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        pictures = self._images(self.train_rows[rows.numpy()])
        images = {n: self._augment[n](p).to(self.device) for n, p in pictures.items()}
        inputs = self.network.encode(self.train_inputs[rows], images)
        loss = torch.zeros((), device=self.device)
        if self._poses is not None:
            poses, known = self._poses[rows], self._known[rows].to(self.device)
            told = inputs[:, self.obs_dim :]
            # over all steps, known or not: shards and processes add their shares up
            error = functional.mse_loss(told[known], poses[known], reduction="sum")
            loss = self.student.pose_weight / told.numel() * error
            drawn = torch.rand(len(rows), generator=generator).to(self.device)
            truth = known & (drawn >= self.told_share)
            inputs = torch.cat(
                [inputs[:, : self.obs_dim], torch.where(truth[:, None], poses, told)], dim=-1
            )
        plans = self.train_plans[rows]
        return loss + self.network.compute_loss(inputs, plans, generator, self.preset.sampler)

    @property
    def told_share(self) -> float:
        """Share of steps whose plan is made from what the head tells; the others have the truth.

        From none to all in the first half of the run: a new head knows nothing.
        """
        if self._start.student is not None:
            return 1.0
        return min(1.0, 2.0 * self.step / self.total_steps)

    def _val_input(self, rows: Tensor) -> Tensor:
        pictures = self._images(self.val_rows[rows.numpy()])
        images = {n: prepare_images(n, p, self.size).to(self.device) for n, p in pictures.items()}
        return self.ema.encode(self.val_inputs[rows], images)

    def _identity(self) -> dict[str, Any]:
        return super()._identity() | {
            "observation": "images",
            "real_steps": len(self.data.action) - self._first_real,
            "real_share": self.config.real_share,
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
                "pose_dim": self.pose_dim,
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
