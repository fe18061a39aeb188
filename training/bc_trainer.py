# SPDX-License-Identifier: Apache-2.0
"""State and steps of a behaviour cloning run; `training.bc` is the loop around it.

Shape letters: B batch, T prediction horizon, Do observation, Da action dimension.
"""

from __future__ import annotations

import copy
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resip_ros.core.action import action_names
from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task
from resip_ros.policy.bundle import save_base
from resip_ros.policy.card import BaseCard, Provenance
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import PlanNetwork
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.runtime import base_input
from training.bc_config import BcConfig
from training.dataset import ChunkWindows, Demonstrations, split_episodes
from training.distributed import ALONE, Group
from training.muon import build_optimizer
from training.presets import BcPreset, get_preset
from training.provenance import describe_command, describe_commit

_VALIDATION_SEED = 7
_EMA_MAX_DECAY = 0.9999


class BcTrainer:
    """State of one run; `train_step` is a pure function of it, so that a resume is bit-exact."""

    validation_windows = 1024

    def __init__(self, config: BcConfig, data: Demonstrations, group: Group = ALONE) -> None:
        """Build network, optimiser and windows; `group` are the processes that train together."""
        self.config = config
        self.group = group
        self.shards = config.shards or group.size
        self._own_shards = group.own_shards(self.shards)
        self.data = data
        self.preset = self._get_preset()
        if (config.action_horizon or 1) > self.preset.prediction_horizon:
            raise ConfigError(
                f"--action-horizon {config.action_horizon}: {config.network} plans only "
                f"{self.preset.prediction_horizon} steps"
            )
        self.total_steps = config.steps or self.preset.steps
        self.peak_rate = config.learning_rate or self.preset.learning_rate
        self.device = _choose_device(config.device, group)
        self.step = 0

        train_ids, val_ids = split_episodes(data.num_episodes, config.seed)
        self.normalizer = self._fit_normalizer(train_ids)
        horizon = self.preset.prediction_horizon
        self.train_rows, self.val_rows = data.rows(train_ids), data.rows(val_ids)
        train = ChunkWindows.cut(data, self.normalizer, train_ids, horizon)
        self.plan_range = None
        if self.preset.plan_frame == "hand":
            self.plan_range = self._fit_plan_range(train)
        self._check_inputs()
        self.train_inputs, self.train_plans = self._encode(train)
        self.val_windows = ChunkWindows.cut(data, self.normalizer, val_ids, horizon)
        self.val_inputs, self.val_plans = self._encode(self.val_windows)

        torch.manual_seed(config.seed)
        self.network = self._build_network(
            self.normalizer.action_dim, self.train_inputs.shape[1], horizon
        ).to(self.device)
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = build_optimizer(
            self.preset.optimizer,
            self._parameter_groups(),
            self.peak_rate,
            self.preset.weight_decay,
        )
        # It chooses the batches, alike in every process; each shard has random numbers of its own.
        self.generator = torch.Generator().manual_seed(config.seed)

    def _get_preset(self) -> BcPreset:
        return get_preset(self.config.network, self.config.preset)

    @property
    def obs_dim(self) -> int:
        """Do of what the policy sees, the first dimensions of `state_obs`."""
        return self.data.state_obs.shape[1]

    def _fit_normalizer(self, episodes: NDArray[np.int64]) -> Normalizer:
        """Ranges of what the policy sees and does in the training episodes."""
        return fit_normalizer(self.data, episodes, self.obs_dim)

    def _fit_plan_range(self, train: ChunkWindows) -> PlanRange:
        """Ranges of plans relative to the hand."""
        return PlanRange.fit(train.plans, self.normalizer.normalize_hand(train.obs))

    def _build_network(self, action_dim: int, input_dim: int, horizon: int) -> PlanNetwork:
        return self.preset.network.build(action_dim, input_dim, horizon)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained; a group may have `scale` and `warmup` of its learning rate."""
        return [{"params": list(self.network.parameters())}]

    @property
    def learning_rate(self) -> float:
        """Learning rate of the coming step."""
        return self._rate(self.preset.warmup_steps)

    def _rate(self, warmup_steps: int) -> float:
        """Linear warm-up, then cosine to zero."""
        warmup = min(warmup_steps, max(1, self.total_steps // 10))
        if self.step < warmup:
            return self.peak_rate * (self.step + 1) / warmup
        progress = (self.step - warmup) / max(1, self.total_steps - warmup)
        return self.peak_rate * 0.5 * (1 + math.cos(math.pi * progress))

    @property
    def ema_decay(self) -> float:
        """Decay of the weight average: spans 5 % of the run in the end, little at the start."""
        longest = min(_EMA_MAX_DECAY, 1 - 20 / max(self.total_steps, 40))
        return min(longest, (1 + self.step) / (10 + self.step))

    def train_step(self) -> Tensor:
        """Take one gradient step; returns the loss, detached."""
        for group in self.optimizer.param_groups:
            rate = self._rate(group.get("warmup", self.preset.warmup_steps))
            group["lr"] = group.get("scale", 1.0) * rate
        index = self._draw_batch()
        self.optimizer.zero_grad(set_to_none=True)
        losses = [self._shard_loss(index, shard) for shard in self._own_shards]
        self.group.sum_gradients(self.network.parameters())
        self.optimizer.step()
        weight = 1 - self.ema_decay
        with torch.no_grad():
            pairs = zip(self.ema.parameters(), self.network.parameters(), strict=True)
            for average, parameter in pairs:
                average.lerp_(parameter, weight)
        self.step += 1
        return self.group.sum(torch.stack(losses).sum().cpu())

    def _draw_batch(self) -> Tensor:
        """Windows (batch,) of the coming step."""
        size = self.config.batch
        return torch.randint(len(self.train_inputs), (size,), generator=self.generator)

    def _batch_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Mean loss of windows (b,); `generator` is that of the network's own noise."""
        inputs, plans = self.train_inputs[rows], self.train_plans[rows]
        return self.network.compute_loss(inputs, plans, generator, self.preset.sampler)

    def _val_input(self, rows: Tensor) -> Tensor:
        """What the averaged network is given for validation windows (b,)."""
        return self.val_inputs[rows]

    def _shard_loss(self, index: Tensor, shard: int) -> Tensor:
        """Add a shard's share of the batch to the gradients; returns its share of the loss."""
        rows = index[shard :: self.shards]
        # Dropout draws from torch's global generators, on any device.
        seeds = np.random.SeedSequence((self.config.seed, self.step, shard)).generate_state(2)
        torch.manual_seed(int(seeds[0]))
        generator = torch.Generator().manual_seed(int(seeds[1]))
        loss = self._batch_loss(rows, generator) * (len(rows) / len(index))
        loss.backward()
        return loss.detach()

    def _check_inputs(self) -> None:
        """Refuse data whose poses are none: features computed from them are not finite.

        Raises:
            DataError: naming the first such row.
        """
        if self.preset.features == "absolute":
            return
        task = get_task(self.config.task)
        with np.errstate(invalid="ignore", divide="ignore"):
            inputs = base_input(task, self.normalizer, self.data.state_obs, self.preset.features)
        rows = np.flatnonzero(~np.isfinite(inputs).all(axis=1))
        if rows.size:
            episode = int(np.searchsorted(self.data.episode_ends, rows[0], side="right"))
            names = ", ".join(map(str, self.config.data))
            raise DataError(
                f"relative poses are not finite in {rows.size} rows of {names}, first "
                f"in row {rows[0]} (episode {episode}): state_obs holds a rotation that is none; "
                "drop that episode and collect it again"
            )

    def _encode(self, windows: ChunkWindows) -> tuple[Tensor, Tensor]:
        """What the network is given (W, Di) and what it learns to predict (W, T, Da)."""
        inputs, plans = self._see(windows.obs[:, : self.obs_dim]), windows.plans
        if self.plan_range is not None:
            plans = self.plan_range.encode(plans, self.normalizer.normalize_hand(windows.obs))
        return torch.from_numpy(inputs).to(self.device), torch.from_numpy(plans).to(self.device)

    def _see(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is kept of raw observations (W, Do)."""
        task = get_task(self.config.task)
        return base_input(task, self.normalizer, obs, self.preset.features)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Measure the averaged weights on held-out episodes, with the same noise every time.

        Returns:
            `val_loss` (the network's own loss) and `plan_error_mm` (mean distance between planned
            and demonstrated position over the steps that get executed).
        """
        generator = torch.Generator().manual_seed(_VALIDATION_SEED)
        count = min(self.validation_windows, len(self.val_inputs))
        index = torch.linspace(0, len(self.val_inputs) - 1, count).long()
        losses, errors = [], []
        for part in index.split(256):
            inputs, plans = self._val_input(part), self.val_plans[part]
            loss = self.ema.compute_loss(inputs, plans, generator, self.preset.sampler)
            losses.append(loss.item())
            noise = torch.randn(plans.shape, generator=generator).to(self.device)
            plan = self.ema.compute_plan(inputs, noise, self.preset.sampler)
            errors.append(self._position_error_mm(plan.cpu().numpy(), part.numpy()))
        weights = [len(part) for part in index.split(256)]
        return {
            "val_loss": float(np.average(losses, weights=weights)),
            "plan_error_mm": float(np.average(errors, weights=weights)),
        }

    def _position_error_mm(self, plan: NDArray[np.float32], rows: NDArray[np.int64]) -> float:
        if self.plan_range is not None:
            hand = self.normalizer.normalize_hand(self.val_windows.obs[rows])
            plan = self.plan_range.decode(plan, hand)
        executed = slice(0, self.preset.action_horizon)
        denormalize = self.normalizer.denormalize_action
        demonstrated = self.val_windows.plans[rows]
        difference = denormalize(plan[:, executed]) - denormalize(demonstrated[:, executed])
        return float(np.linalg.norm(difference[..., :3], axis=-1).mean() * 1e3)

    def _identity(self) -> dict[str, Any]:
        """Collect what must be equal for a resume to continue the same run."""
        return {
            "data_hash": self.data.hash,
            "network": self.preset.network.architecture,
            **_flatten("preset", asdict(self.preset)),
            "total_steps": self.total_steps,
            "peak_rate": self.peak_rate,
            "batch": self.config.batch,
            "shards": self.shards,
            "seed": self.config.seed,
        }

    def save_checkpoint(self, path: Path) -> None:
        """Write all that a resume needs; the previous checkpoint lives until this one is whole.

        Raises:
            ResipError: if a weight is not finite, or the file cannot be written.
        """
        self._check_weights(path)
        state = {
            "identity": self._identity(),
            "step": self.step,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        temporary = path.with_suffix(".new")
        try:
            torch.save(state, temporary)
            temporary.replace(path)
        except (OSError, RuntimeError) as error:
            temporary.unlink(missing_ok=True)
            raise ResipError(
                f"cannot write checkpoint {path}: {error}; free space or choose another "
                "--run-dir; the previous checkpoint is unchanged"
            ) from error

    def _check_weights(self, path: Path) -> None:
        """Refuse to replace a good checkpoint by one that diverged."""
        for name, value in [*self.network.named_parameters(), *self.ema.named_parameters()]:
            if not torch.isfinite(value).all():
                raise ResipError(
                    f"weight {name} is not finite after step {self.step}: training diverged; "
                    f"start again with a lower --learning-rate. Last good: {name_last(path)}"
                )

    def load_checkpoint(self, path: Path) -> None:
        """Continue from a checkpoint of the same run.

        Raises:
            ConfigError: if there is none, or it is of a run with other settings.
        """
        if not path.is_file():
            raise ConfigError(f"nothing to resume: no {path}; start without --resume")
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:
            raise ConfigError(f"cannot read checkpoint {path}: {error}; start afresh") from error
        made_with = state.get("identity") if isinstance(state, dict) else None
        if not isinstance(made_with, dict):
            raise ConfigError(f"{path} is not a checkpoint of this program; start afresh")
        for key, value in self._identity().items():
            if key not in made_with:
                raise ConfigError(
                    f"{path} does not say its {key}: another version or another network wrote "
                    "it; resume with that, or start without --resume in another --run-dir"
                )
            if made_with[key] != value:
                before, now = (text if text != "" else "none" for text in (made_with[key], value))
                raise ConfigError(
                    f"{path} was made with {key} = {before}, this run has {now}; resume with "
                    "equal settings and data, or start without --resume"
                )
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step = state["step"]

    def write_bundle(self) -> BaseCard:
        """Write the averaged weights as a policy bundle."""
        return save_base(self.config.out, self._card(), self.normalizer, self.ema, self.plan_range)

    def _card(self) -> BaseCard:
        task = get_task(self.config.task)
        return BaseCard(
            task=task.name,
            rate_hz=task.rate_hz,
            observation=observation_names(task),
            action=action_names(task),
            prediction_horizon=self.preset.prediction_horizon,
            action_horizon=self.config.action_horizon or self.preset.action_horizon,
            network=self.preset.network,
            sampler=self.preset.sampler,
            features=self.preset.features,
            plan_frame=self.preset.plan_frame,
            provenance=Provenance(
                command=describe_command(),
                git_commit=describe_commit(),
                data_hash=self.data.hash,
                gradient_steps=self.step,
                env_steps=0,
                seed=self.config.seed,
            ),
        )


def _choose_device(name: str, group: Group) -> torch.device:
    """Device of this process; several processes of a machine do not share a GPU."""
    if name == "cuda" and group.size > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {name}: {reason}; give cpu or another torch") from error
    return device


def name_last(checkpoint: Path) -> str:
    """Name the checkpoint that a failed run leaves."""
    return str(checkpoint) if checkpoint.exists() else "none yet"


def _flatten(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """Nested settings as one level, `prefix.name`, so that a difference can be named."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}"
        flat |= _flatten(key, value) if isinstance(value, dict) else {key: value}
    return flat


def fit_normalizer(
    data: Demonstrations, episodes: NDArray[np.int64], obs_dim: int | None = None
) -> Normalizer:
    """Fit the normaliser to the training episodes, and the first `obs_dim` dimensions, or all."""
    rows = data.rows(episodes)
    return Normalizer.fit(data.state_obs[rows, :obs_dim], data.action[rows])
