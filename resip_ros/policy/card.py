# SPDX-License-Identifier: Apache-2.0
"""The card of a policy bundle: what the weights are, for which task, and how they were made."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from resip_ros.core.action import action_names
from resip_ros.core.errors import CheckpointMismatch, ConfigError
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.observation import FEATURES, observation_names, proprioception_names
from resip_ros.core.tasks import get_task
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.networks import ARCHITECTURES
from resip_ros.policy.plan_network import NetworkSpec
from resip_ros.policy.sampler import SamplerSpec

SCHEMA_VERSION = 1
BOUNDS = ("tanh", "none")
PLAN_FRAMES = ("base", "hand")


@dataclass(frozen=True)
class Success:
    """Measured success of the policy folder that this bundle completes."""

    episodes: int
    successes: int
    ci95: tuple[float, float]
    """Wilson 95 % interval of the success rate."""
    randomness: str
    """Spread of the initial states, `low` or `med`."""


@dataclass(frozen=True)
class Provenance:
    """How a bundle was made."""

    command: str
    git_commit: str
    data_hash: str
    """Hash of the demonstrations."""
    gradient_steps: int
    env_steps: int
    """Environment steps taken to train it, 0 for behaviour cloning."""
    seed: int
    success: Success | None = None


@dataclass(frozen=True)
class Golden:
    """What a policy answered when it was saved; loading it asks again (`policy.golden`)."""

    observation: tuple[float, ...]
    """Raw, SI."""
    output: tuple[float, ...]
    """Normalised action or correction."""


@dataclass(frozen=True)
class BaseCard:
    """Card of a base policy."""

    task: str
    rate_hz: float
    observation: tuple[str, ...]
    """Names of the observation's dimensions, in order."""
    action: tuple[str, ...]
    """Names of the action's dimensions, in order."""
    prediction_horizon: int
    action_horizon: int
    """Steps of a plan that are executed before the next plan."""
    network: NetworkSpec
    """Architecture and sizes; on disk with the key `architecture`."""
    sampler: SamplerSpec | None
    """None for a network that does not denoise."""
    provenance: Provenance
    features: str = "absolute"
    """Of `core.observation.FEATURES`: which of `build_part_features` are part of the input."""
    plan_frame: str = "base"
    """What the network predicts: `base`, normalised actions as in the paper, or `hand`, their
    difference from the hand's present pose (see `PlanRange`)."""
    observation_horizon: int = 1
    normalizer_hash: str = ""
    """Filled in when the bundle is saved."""
    weights_hash: str = ""
    """SHA-256 of `weights.safetensors`, filled in when the bundle is saved."""
    golden: Golden | None = None
    """None for bundles of before and for policies that see pictures."""
    kind: str = field(default="base")
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse values this package cannot run."""
        _check_common(self)
        if self.plan_frame not in PLAN_FRAMES:
            raise ConfigError(
                f"plan_frame must be one of {', '.join(PLAN_FRAMES)}, got {self.plan_frame!r}"
            )
        if self.observation_horizon != 1:
            raise ConfigError(f"observation_horizon must be 1, got {self.observation_horizon}")
        if not 1 <= self.action_horizon <= self.prediction_horizon:
            raise ConfigError(
                f"action_horizon must be 1 to {self.prediction_horizon} (prediction_horizon), "
                f"got {self.action_horizon}"
            )
        if self.network.denoises != (self.sampler is not None):
            needed = "needs a sampler" if self.network.denoises else "has no use for a sampler"
            raise ConfigError(f"{self.network.architecture} {needed}, got {self.sampler}")
        try:
            self.network.check_horizon(self.prediction_horizon)
        except ValueError as error:
            raise ConfigError(str(error)) from error


@dataclass(frozen=True)
class StudentCard(BaseCard):
    """Card of a policy that plans from proprioception and pictures; it needs no part poses."""

    images: tuple[str, ...] = field(kw_only=True)
    """Cameras, each of `core.images.IMAGE_SHAPE`."""
    encoder: EncoderSpec = field(kw_only=True)
    tells_poses: bool = field(default=False, kw_only=True)
    """Whether the plan network is that of a policy that sees the state, and is given the poses
    that the encoders' features tell; else it is given the features."""
    kind: str = field(default="student")

    def __post_init__(self) -> None:
        """Refuse values this package cannot run."""
        super().__post_init__()
        # the features stand in the cameras' order
        if self.images != tuple(n for n in POLICY_CAMERAS if n in self.images) or not self.images:
            raise ConfigError(
                f"images is {', '.join(self.images) or 'empty'}; expected of "
                f"{', '.join(POLICY_CAMERAS)} one or more, each once and in this order"
            )
        if self.features != "absolute" and not self.tells_poses:
            raise ConfigError(
                f"features {self.features!r} need poses, which this student does not tell"
            )


@dataclass(frozen=True, kw_only=True)
class AdditionCard:
    """What the cards of everything that was trained on a base have in common."""

    task: str
    rate_hz: float
    observation: tuple[str, ...]
    action: tuple[str, ...]
    base_hash: str
    """`weights_hash` of the base; only valid together with it."""
    hidden: tuple[int, ...]
    """Widths of the MLP's hidden layers."""
    provenance: Provenance
    normalizer_hash: str = ""
    """Hash of the base's normaliser, filled in when the bundle is saved."""
    weights_hash: str = ""
    """SHA-256 of `weights.safetensors`, filled in when the bundle is saved."""
    golden: Golden | None = None
    """None for bundles of before, and for values."""
    kind: str
    """Key in `CARDS`; each card has its own as default."""
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse values this package cannot run."""
        _check_common(self)
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden needs positive widths, got {self.hidden}")


@dataclass(frozen=True, kw_only=True)
class ResidualCard(AdditionCard):
    """Card of a residual policy."""

    alpha: float
    """Scale of the network's output, in normalised action units (half-ranges)."""
    bound: str
    """`tanh` limits the correction to +-alpha, `none` does not."""
    features: str
    """Of `core.observation.FEATURES`: which of `build_relative_features` are part of the input."""
    chunk_steps: int = 1
    """Steps that are corrected at once: 1, or the base's executed chunk (ResiP-C)."""
    kind: str = field(default="residual")

    def __post_init__(self) -> None:
        """Refuse values this package cannot run."""
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ConfigError(f"alpha must be in (0, 1], got {self.alpha}")
        if self.bound not in BOUNDS:
            raise ConfigError(f"bound must be one of {', '.join(BOUNDS)}, got {self.bound!r}")
        if self.chunk_steps < 1:
            raise ConfigError(f"chunk_steps must be at least 1, got {self.chunk_steps}")


@dataclass(frozen=True, kw_only=True)
class ValueCard(AdditionCard):
    """Card of values that choose among a base's chunks."""

    samples: int
    """Chunks among which is chosen."""
    kind: str = field(default="value")

    def __post_init__(self) -> None:
        """Refuse values this package cannot run."""
        super().__post_init__()
        if self.samples < 1:
            raise ConfigError(f"samples must be at least 1, got {self.samples}")


def of_base(card: BaseCard) -> dict[str, Any]:
    """The fields of an AdditionCard that its base's card decides."""
    return {
        "task": card.task,
        "rate_hz": card.rate_hz,
        "observation": card.observation,
        "action": card.action,
        "base_hash": card.weights_hash,
    }


Card = BaseCard | StudentCard | ResidualCard | ValueCard
CARDS: dict[str, type[BaseCard] | type[StudentCard] | type[ResidualCard] | type[ValueCard]] = {
    "base": BaseCard,
    "student": StudentCard,
    "residual": ResidualCard,
    "value": ValueCard,
}
T = TypeVar("T")


def _check_common(card: BaseCard | AdditionCard) -> None:
    if card.schema != SCHEMA_VERSION:
        raise ConfigError(
            f"card schema {card.schema}, this version reads {SCHEMA_VERSION}; "
            "install the version of resip_ros that wrote the bundle"
        )
    if CARDS.get(card.kind) is not type(card):
        raise ConfigError(f"kind is {card.kind!r}, expected one of {', '.join(CARDS)}")
    task = get_task(card.task)
    if card.rate_hz != task.rate_hz:
        raise ConfigError(f"rate_hz is {card.rate_hz}, task {task.name} has {task.rate_hz}")
    seen = proprioception_names if isinstance(card, StudentCard) else observation_names
    _check_names("observation", card.observation, seen(task))
    _check_names("action", card.action, action_names(task))
    if isinstance(card, BaseCard | ResidualCard) and card.features not in FEATURES:
        raise ConfigError(f"features must be one of {', '.join(FEATURES)}, got {card.features!r}")


def _check_names(what: str, got: tuple[str, ...], expected: tuple[str, ...]) -> None:
    if got == expected:
        return
    if len(got) != len(expected):
        detail = f"{len(got)} dimensions, expected {len(expected)}"
    else:
        index = next(i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
        detail = f"dimension {index} is {got[index]!r}, expected {expected[index]!r}"
    raise ConfigError(f"{what} names differ from this version's: {detail}; retrain the policy")


def card_to_mapping(card: Card) -> dict[str, Any]:
    """Turn a card into plain lists, numbers and strings for YAML."""
    mapping = _plain(dataclasses.asdict(card))
    if isinstance(card, BaseCard):
        mapping["network"] = {"architecture": card.network.architecture, **mapping["network"]}
    return mapping


def parse_card(mapping: object) -> Card:
    """Build a card from parsed YAML.

    Raises:
        CheckpointMismatch: naming the first key that is missing, unknown or of a wrong value.
    """
    if not isinstance(mapping, dict):
        raise CheckpointMismatch(f"card must be a mapping, got {type(mapping).__name__}")
    cls = CARDS.get(str(mapping.get("kind")))
    if cls is None:
        raise CheckpointMismatch(
            f"card has kind {mapping.get('kind')!r}, expected one of {', '.join(CARDS)}"
        )
    if cls is ResidualCard:
        # The first cards do not say it: there was one kind.
        mapping = {"chunk_steps": 1, **mapping}
    if cls is StudentCard:
        # The first students tell no poses.
        mapping = {"tells_poses": False, **mapping}
    # Bundles that were saved without are as good as before.
    mapping = {"golden": None, **mapping}
    return _build(cls, mapping, "card")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _build(cls: type[T], mapping: dict[Any, Any], where: str) -> T:
    names = {item.name for item in dataclasses.fields(typing.cast("Any", cls))}
    hints = {key: hint for key, hint in typing.get_type_hints(cls).items() if key in names}
    unknown = sorted(str(key) for key in mapping if key not in hints)
    missing = sorted(key for key in hints if key not in mapping)
    if unknown or missing:
        raise CheckpointMismatch(
            f"{where} has unknown keys {unknown} and lacks keys {missing}; it was written by "
            "another version or edited by hand: use the bundle as it was saved"
        )
    values = {key: _convert(mapping[key], hint, f"{where}.{key}") for key, hint in hints.items()}
    try:
        return cls(**values)
    except (ConfigError, ValueError) as error:
        raise CheckpointMismatch(f"{where}: {error}") from error


def _build_network(mapping: dict[Any, Any], where: str) -> NetworkSpec:
    """Build the sizes of the architecture that `mapping` names."""
    # The first cards name none: there was one.
    sizes = {"architecture": "unet", **mapping}
    name = sizes.pop("architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise CheckpointMismatch(
            f"{where}.architecture is {name!r}, this version has {', '.join(ARCHITECTURES)}; "
            "install the version of resip_ros that wrote the bundle"
        )
    return _build(ARCHITECTURES[name], sizes, where)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Check one parsed value against the field's type, turning lists into tuples."""
    if hint is NetworkSpec and isinstance(value, dict):
        return _build_network(value, where)
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        if value is None:
            return None
        hint = next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
        return _convert(value, hint, where)
    if origin is tuple and isinstance(value, list):
        item = typing.get_args(hint)[0]
        return tuple(_convert(entry, item, f"{where}[{i}]") for i, entry in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return _build(hint, value, where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        name = getattr(hint, "__name__", str(hint))
        raise CheckpointMismatch(f"{where} is {value!r}, expected {name}")
    return value
