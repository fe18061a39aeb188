# SPDX-License-Identifier: Apache-2.0
"""Policy bundles on disk: `card.yaml` and `weights.safetensors`, checked whole on loading.

Nothing here unpickles: safetensors holds numbers only, and the card is safe YAML.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import safetensors
import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from resip_ros.core.errors import CheckpointMismatch, DataError
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task
from resip_ros.policy.bundle_folder import (
    CARD_FILE,
    WEIGHTS_FILE,
    replacing,
    write_failed,
)
from resip_ros.policy.card import (
    CARDS,
    BaseCard,
    Card,
    Golden,
    ResidualCard,
    StudentCard,
    Success,
    ValueCard,
    card_to_mapping,
    parse_card,
)
from resip_ros.policy.golden import golden_of_base, golden_of_residual
from resip_ros.policy.image_encoder import StudentNetwork
from resip_ros.policy.networks import build_residual_actor
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import PlanNetwork
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.runtime import (
    AssemblyPolicy,
    BasePolicy,
    ResidualPolicy,
    base_input_dim,
    residual_input_dim,
)
from resip_ros.policy.value import ChunkValue, ValuePolicy

_NETWORK = "network."
_NORMALIZER = "normalizer."
_PLAN_RANGE = "plan_range."
_KINDS = {card: kind for kind, card in CARDS.items()}
C = TypeVar("C", bound=Card)
D = TypeVar("D", ResidualCard, ValueCard)


def hash_bytes(payload: bytes) -> str:
    """Hex SHA-256 of a weights file."""
    return hashlib.sha256(payload).hexdigest()


def save_base(
    directory: Path,
    card: BaseCard,
    normalizer: Normalizer,
    network: PlanNetwork,
    plan_range: PlanRange | None = None,
) -> BaseCard:
    """Write a base bundle: weights as float16 (computed in float32), ranges as float32.

    Args:
        directory: Bundle to write or replace.
        card: What the policy is.
        normalizer: Of observations and actions.
        network: What makes the plans.
        plan_range: Needed if the card's plan_frame is `hand`.

    Returns:
        The card with its hashes filled in.
    """
    tensors = {_NETWORK + k: v.half() for k, v in network.state_dict().items()}
    for field in dataclasses.fields(normalizer):
        tensors[_NORMALIZER + field.name] = torch.from_numpy(getattr(normalizer, field.name))
    if plan_range is not None:
        tensors[_PLAN_RANGE + "low"] = torch.from_numpy(plan_range.low)
        tensors[_PLAN_RANGE + "high"] = torch.from_numpy(plan_range.high)
    golden = golden_of_base(card, normalizer, network, plan_range)
    card = dataclasses.replace(card, normalizer_hash=normalizer.hash, golden=golden)
    return save_bundle(directory, card, tensors)


def save_addition(directory: Path, card: D, normalizer: Normalizer, network: nn.Module) -> D:
    """Write what was trained on a base, a residual or a value; the network stays float32.

    Returns:
        The card with its hashes filled in.
    """
    tensors = {_NETWORK + k: v for k, v in network.state_dict().items()}
    card = dataclasses.replace(card, normalizer_hash=normalizer.hash)
    if isinstance(card, ResidualCard):
        card = dataclasses.replace(card, golden=golden_of_residual(card, normalizer, network))
    return save_bundle(directory, card, tensors)


def save_bundle(directory: Path, card: C, tensors: Mapping[str, Tensor]) -> C:
    """Write card and tensors; a reader sees the old bundle or the new one, never a mixture.

    Returns:
        The card with `weights_hash` filled in.

    Raises:
        DataError: if a tensor is not finite, or became so by its storage type.
    """
    data = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    bad = [key for key, value in data.items() if not torch.isfinite(value).all()]
    if bad:
        raise DataError(f"will not save {directory}: {bad[0]} is not finite; training diverged")
    payload = safetensors.torch.save(data)
    card = dataclasses.replace(card, weights_hash=hash_bytes(payload))
    with replacing(directory) as temporary:
        (temporary / WEIGHTS_FILE).write_bytes(payload)
        (temporary / CARD_FILE).write_text(_dump_card(card))
    return card


def record_success(directory: Path, success: Success) -> None:
    """Write a measured success into an existing bundle's card; the weights stay."""
    card = _read_card(directory)
    made = dataclasses.replace(card.provenance, success=success)
    _rewrite_card(directory, dataclasses.replace(card, provenance=made))


def record_golden(directory: Path, golden: Golden) -> None:
    """Write what a policy answers into an existing bundle's card; the weights stay."""
    _rewrite_card(directory, dataclasses.replace(_read_card(directory), golden=golden))


def _rewrite_card(directory: Path, card: Card) -> None:
    temporary = directory / f".{CARD_FILE}.{os.getpid()}"
    try:
        temporary.write_text(_dump_card(card))
        temporary.replace(directory / CARD_FILE)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise write_failed(directory, error) from error


def load_base(directory: Path, device: str = "cpu", *, images: bool = False) -> BasePolicy:
    """Load a base bundle; that of a student only where there are images to give it.

    Raises:
        CheckpointMismatch: with the reason, if anything about it is not as its card says or not
            as this version needs it.
    """
    card, tensors = _read_bundle(directory, BaseCard)
    if isinstance(card, StudentCard) and not images:
        raise CheckpointMismatch(
            f"{directory} is a student and needs pictures of {', '.join(card.images)}; here a "
            "policy sees the parts' poses: give the policy that taught it"
        )
    ranges = {}
    for field in dataclasses.fields(Normalizer):
        tensor = tensors.pop(_NORMALIZER + field.name, None)
        if tensor is None:
            raise CheckpointMismatch(f"bundle {directory}: weights lack the normaliser")
        ranges[field.name] = tensor.numpy().astype(np.float32)
    try:
        normalizer = Normalizer(**ranges)
    except DataError as error:
        raise CheckpointMismatch(f"bundle {directory}: normaliser: {error}") from error
    if normalizer.hash != card.normalizer_hash:
        raise CheckpointMismatch(
            f"bundle {directory}: normaliser hash {normalizer.hash[:12]}, card says "
            f"{card.normalizer_hash[:12]}; restore both files from the same training run"
        )
    tells = isinstance(card, StudentCard) and card.tells_poses
    seen = observation_names(get_task(card.task)) if tells else card.observation
    if (normalizer.obs_dim, normalizer.action_dim) != (len(seen), len(card.action)):
        raise CheckpointMismatch(
            f"bundle {directory}: normaliser is for {normalizer.obs_dim} observation and "
            f"{normalizer.action_dim} action dimensions, its card needs {len(seen)} and "
            f"{len(card.action)}"
        )
    try:
        plan_range = _pop_plan_range(tensors)
        input_dim = base_input_dim(get_task(card.task), normalizer, card.features)
        network = _build_network(card, input_dim)
        _load_weights(directory, network, tensors)
        return BasePolicy(card, normalizer, network, device, plan_range)
    except DataError as error:
        raise CheckpointMismatch(f"bundle {directory}: {error}") from error


def _build_network(card: BaseCard, input_dim: int) -> PlanNetwork:
    """The untrained network that a card describes, for inputs (B, input_dim)."""
    if isinstance(card, StudentCard):
        dims = len(card.action), input_dim, card.prediction_horizon
        told = get_task(card.task) if card.tells_poses else None
        return StudentNetwork(card.network, card.images, card.encoder, dims, told)
    return card.network.build(len(card.action), input_dim, card.prediction_horizon)


def _pop_plan_range(tensors: dict[str, Tensor]) -> PlanRange | None:
    low = tensors.pop(_PLAN_RANGE + "low", None)
    high = tensors.pop(_PLAN_RANGE + "high", None)
    if low is None or high is None:
        return None
    return PlanRange(low.float().numpy(), high.float().numpy())


def load_residual(directory: Path, base: BasePolicy, device: str = "cpu") -> ResidualPolicy:
    """Load a residual bundle for the base it was trained on.

    Raises:
        CheckpointMismatch: also if `base` is not that base.
    """
    card, tensors = _read_bundle(directory, ResidualCard)
    _check_base(directory, card, base)
    if card.chunk_steps not in (1, base.action_steps):
        raise CheckpointMismatch(
            f"residual {directory} corrects {card.chunk_steps} steps at once, the base executes "
            f"{base.action_steps}; retrain the residual on this base"
        )
    input_dim = residual_input_dim(base.task, base.normalizer, card.features, card.chunk_steps)
    actor = build_residual_actor(input_dim, card.chunk_steps * len(card.action), card.hidden)
    _load_weights(directory, actor, tensors)
    return ResidualPolicy(card, base.normalizer, actor, device)


def load_value(directory: Path, base: BasePolicy) -> ValuePolicy:
    """Load a value bundle for the base it was trained on.

    Raises:
        CheckpointMismatch: also if `base` is not that base.
    """
    card, tensors = _read_bundle(directory, ValueCard)
    _check_base(directory, card, base)
    width = base_input_dim(base.task, base.normalizer, base.card.features)
    input_dim = width + base.action_steps * len(card.action)
    value = ChunkValue(input_dim, card.hidden, float(len(base.task.pairs)))
    _load_weights(directory, value, tensors)
    return ValuePolicy(card, value)


def _check_base(directory: Path, card: ResidualCard | ValueCard, base: BasePolicy) -> None:
    """Refuse what was trained on another base."""
    if card.task != base.card.task:
        raise CheckpointMismatch(
            f"{card.kind} {directory} is for task {card.task}, the base for {base.card.task}"
        )
    if card.base_hash != base.card.weights_hash:
        raise CheckpointMismatch(
            f"{card.kind} {directory} was trained on base {card.base_hash[:12]}, this base is "
            f"{base.card.weights_hash[:12]}; restore that base or retrain on this one"
        )
    if card.normalizer_hash != base.card.normalizer_hash:
        raise CheckpointMismatch(
            f"{card.kind} {directory} expects normaliser {card.normalizer_hash[:12]}, the base "
            f"has {base.card.normalizer_hash[:12]}; retrain it on this base"
        )


def load_policy(directory: Path, device: str = "cpu", *, images: bool = False) -> AssemblyPolicy:
    """Load a policy folder (`base/`, perhaps `residual/` or `value/`) or a single base bundle.

    Args:
        directory: Policy folder, or bundle of a base or a student.
        device: Torch device.
        images: Whether the caller has pictures to give; without them a student is refused.

    Raises:
        CheckpointMismatch: if there is neither, or one of the bundles is refused.
    """
    directory = Path(directory)
    if (directory / CARD_FILE).is_file():
        card = _read_card(directory)
        if not isinstance(card, BaseCard):
            raise CheckpointMismatch(
                f"{directory} is a {card.kind} and needs its base; give the policy folder that "
                f"holds base/ and {card.kind}/"
            )
        return AssemblyPolicy(load_base(directory, device, images=images))
    if not (directory / "base").is_dir():
        found = ", ".join(sorted(p.name for p in directory.glob("*"))) or "nothing"
        raise CheckpointMismatch(
            f"no policy in {directory}: expected base/ or {CARD_FILE}, found {found}; "
            "train one with `python -m training.bc` or name another directory"
        )
    base = load_base(directory / "base", device, images=images)
    residual, value = directory / "residual", directory / "value"
    return AssemblyPolicy(
        base,
        load_residual(residual, base, device) if residual.is_dir() else None,
        load_value(value, base) if value.is_dir() else None,
    )


def _dump_card(card: Card) -> str:
    return yaml.safe_dump(card_to_mapping(card), sort_keys=False, width=99)


def _read_card(directory: Path) -> Card:
    path = directory / CARD_FILE
    try:
        mapping = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        base = directory / "base"
        hint = f"a bundle is {CARD_FILE} + {WEIGHTS_FILE}"
        if (base / CARD_FILE).is_file():
            hint = f"it is a policy folder: give {base}"
        elif not directory.is_dir():
            hint = "there is no such folder"
        raise CheckpointMismatch(f"bundle {directory} has no {CARD_FILE}; {hint}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointMismatch(f"cannot read {path}: {error}") from error
    try:
        return parse_card(mapping)
    except CheckpointMismatch as error:
        raise CheckpointMismatch(f"bundle {directory}: {error}") from error


def _read_bundle(directory: Path, cls: type[C]) -> tuple[C, dict[str, Tensor]]:
    directory = Path(directory)
    card = _read_card(directory)
    if not isinstance(card, cls):
        raise CheckpointMismatch(
            f"bundle {directory} is a {card.kind}, a {_KINDS[cls]} was expected; check the path"
        )
    path = directory / WEIGHTS_FILE
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise CheckpointMismatch(
            f"bundle {directory} has no readable {WEIGHTS_FILE} ({error.strerror}); copy it again"
        ) from error
    if hash_bytes(payload) != card.weights_hash:
        raise CheckpointMismatch(
            f"{path} ({len(payload)} bytes) is not the file its card was written for: truncated, "
            "changed or from another bundle; copy the whole bundle again"
        )
    try:
        return card, safetensors.torch.load(payload)
    except safetensors.SafetensorError as error:
        raise CheckpointMismatch(f"{path} is not a safetensors file: {error}") from error


def _load_weights(directory: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the stored tensors into `network` (float32), refusing any difference in names."""
    state = {key.removeprefix(_NETWORK): value.float() for key, value in tensors.items()}
    bad = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if bad:
        raise CheckpointMismatch(f"bundle {directory}: weights {bad[0]} are not finite")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointMismatch(
            f"bundle {directory}: weights do not fit the network its card describes: {reason}"
        ) from error
