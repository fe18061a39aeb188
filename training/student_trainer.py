# SPDX-License-Identifier: Apache-2.0
"""What differs in cloning when the policy sees pictures; the loop and all else are `training.bc`.

Synthetic pictures (training.render) and real ones (training.convert_bags) are mixed in every batch
(training.mixing). Letters: B batch, W windows, F features.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from resip_ros.core.errors import ConfigError
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.observation import (
    build_part_features,
    part_feature_names,
    proprioception_names,
)
from resip_ros.core.tasks import get_task
from resip_ros.policy.card import BaseCard, StudentCard
from resip_ros.policy.image_encoder import CameraEncoder, StudentNetwork, prepare_images
from resip_ros.policy.resnet import load_weights, read_weights
from training.augment import Augment
from training.bc_config import BcConfig
from training.bc_trainer import BcTrainer
from training.dataset import Demonstrations, join_demonstrations, read_demonstrations
from training.distributed import ALONE, Group
from training.image_dataset import ImageBatches, ImageReader
from training.mixing import balanced_share, check_share, draw_mixed
from training.presets import BcPreset, StudentPreset, student_preset


def refuse_student_settings(config: BcConfig) -> None:
    """Refuse settings that mean nothing to a policy that sees the state.

    Raises:
        ConfigError: naming the first.
    """
    for name in ("real", "real_share", "encoder_weights"):
        if getattr(config, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} needs --observation images")


def make_student_trainer(config: BcConfig, group: Group) -> StudentTrainer:
    """Read the datasets, look at their pictures, and build the trainer.

    Raises:
        ResipError: for data or weights that cannot be trained on, before the first step.
    """
    check_share(config.real_share)
    if config.real_share is not None and config.real is None:
        raise ConfigError("--real-share needs --real: the real demonstrations")
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
        self._pose_head: nn.Linear | None = None
        super().__init__(config, join_demonstrations(parts), group)
        self._augment = {name: Augment(name, self.size) for name in POLICY_CAMERAS}
        is_real = torch.from_numpy(self.train_rows >= self._first_real)
        self._is_real = is_real if is_real.any() and not is_real.all() else None
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

    def _build_network(self, action_dim: int, input_dim: int, horizon: int) -> StudentNetwork:
        dims = action_dim, input_dim, horizon
        network = StudentNetwork(self.preset.network, POLICY_CAMERAS, self.student.encoder, dims)
        weights = self.config.encoder_weights
        if weights is not None:
            load_encoders(network, weights)
        if self.student.pose_weight:
            count = len(part_feature_names(get_task(self.config.task)))
            features = len(POLICY_CAMERAS) * self.student.encoder.features
            self._pose_head = nn.Linear(features + input_dim, count).to(self.device)
        return network

    def _parameter_groups(self) -> list[dict[str, Any]]:
        encoders = {"params": list(self.network.encoders.parameters())}
        encoders |= {
            "scale": self.student.encoder_rate_scale,
            "warmup": self.student.encoder_warmup_steps,
        }
        others = list(self.network.plan.parameters())
        others += [] if self._pose_head is None else list(self._pose_head.parameters())
        return [{"params": others}, encoders]

    def _draw_batch(self) -> Tensor:
        if self._is_real is None:
            return super()._draw_batch()
        return draw_mixed(self._is_real, self.config.batch, self.real_share, self.generator)

    def _batch_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        pictures = self._images(self.train_rows[rows.numpy()])
        images = {n: self._augment[n](p).to(self.device) for n, p in pictures.items()}
        inputs = self.network.encode(self.train_inputs[rows], images)
        plans = self.train_plans[rows]
        loss = self.network.compute_loss(inputs, plans, generator, self.preset.sampler)
        return loss + self._pose_loss(inputs, self.train_rows[rows.numpy()])

    def _pose_loss(self, inputs: Tensor, rows: NDArray[np.int64]) -> Tensor | float:
        """Weighted error of the parts' relative poses, told from inputs (B, Di) of steps (B,).

        A shard without a known pose gives a gradient of zero, not none: processes add theirs up.
        """
        if self._pose_head is None:
            return 0.0
        known = np.flatnonzero(rows < self._first_real)
        task = get_task(self.config.task)
        state = self.data.state_obs[rows[known]].astype(np.float64)
        target = build_part_features(task, state)
        told = self._pose_head(inputs[known])
        wanted = torch.from_numpy(target.astype(np.float32)).to(self.device)
        count = len(rows) * wanted.shape[1]
        return (
            self.student.pose_weight / count * functional.mse_loss(told, wanted, reduction="sum")
        )

    def _val_input(self, rows: Tensor) -> Tensor:
        pictures = self._images(self.val_rows[rows.numpy()])
        images = {n: prepare_images(n, p, self.size).to(self.device) for n, p in pictures.items()}
        return self.ema.encode(self.val_inputs[rows], images)

    def _identity(self) -> dict[str, Any]:
        return super()._identity() | {
            "observation": "images",
            "real_steps": len(self.data.action) - self._first_real,
            "real_share": self.config.real_share,
        }

    def _extra_state(self) -> dict[str, Any]:
        return {} if self._pose_head is None else {"pose_head": self._pose_head.state_dict()}

    def _load_extra_state(self, state: dict[str, Any]) -> None:
        if self._pose_head is not None:
            self._pose_head.load_state_dict(state["pose_head"])

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
