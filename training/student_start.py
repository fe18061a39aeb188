# SPDX-License-Identifier: Apache-2.0
"""The trained policies that a student's training begins from.

A policy that sees the state plans for a student that tells it the parts' poses: its plan network
and ranges are taken as they are, and the eyes learn. A student (with more data, after DAgger)
goes on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import nn

from resip_ros.core.errors import ConfigError
from resip_ros.policy.bundle import load_base
from resip_ros.policy.card import BaseCard, StudentCard
from resip_ros.policy.image_encoder import StudentNetwork
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.runtime import BasePolicy
from training.bc_config import BcConfig
from training.presets import BcPreset


@dataclass(frozen=True)
class StudentStart:
    """What a run begins from; either may be none."""

    planner: BasePolicy | None
    """Plans from the poses that the student tells: a policy that sees the state, or `student`."""
    student: BasePolicy | None
    """Whose eyes go on learning, and its plan network if it is not that of a planner."""

    @property
    def normalizer(self) -> Normalizer | None:
        """Ranges of what the policy that plans sees and does."""
        policy = self.planner or self.student
        return None if policy is None else policy.normalizer

    @property
    def plan_range(self) -> PlanRange | None:
        """Ranges of plans relative to the hand."""
        policy = self.planner or self.student
        return None if policy is None else policy.plan_range

    def load_into(self, network: StudentNetwork) -> None:
        """Give a new network what has been learned."""
        if self.student is not None:
            network.load_state_dict(self.student.copy_network().state_dict())
        if self.planner is not None and self.planner is not self.student:
            network.plan.load_state_dict(self.planner.copy_network().state_dict())
            if self.student is not None:
                _rescale_proprioception(network, self.student, self.planner)

    @property
    def identity(self) -> dict[str, str]:
        """What must be equal for a resume to continue the same run."""
        given = {"state_policy": self.planner, "start_from": self.student}
        return {n: "" if p is None else p.card.weights_hash for n, p in given.items()}


def load_start(config: BcConfig, preset: BcPreset) -> StudentStart:
    """Load what the command line names.

    Args:
        config: The command line.
        preset: The student's.

    Raises:
        ResipError: a policy cannot be read, or is none that this run could have trained.
    """
    student = None if config.start_from is None else _load_student(config, preset)
    planner = student if student is not None and student.tells_poses else None
    if config.state_policy is not None:
        if not config.data:
            raise ConfigError(
                "--state-policy needs --data: eyes learn to tell poses from pictures of known ones"
            )
        if student is not None and not student.tells_poses:
            raise ConfigError(
                f"--start-from {config.start_from} tells no poses, from which --state-policy plans"
            )
        planner = load_base(config.state_policy)
        _check(f"--state-policy {config.state_policy}", planner.card, config, preset)
    return StudentStart(planner, student)


def _load_student(config: BcConfig, preset: BcPreset) -> BasePolicy:
    if config.encoder_weights is not None:
        raise ConfigError("--encoder-weights and --start-from both say where encoders begin")
    assert config.start_from is not None
    student = load_base(config.start_from, images=True)
    where = f"--start-from {config.start_from}"
    if not isinstance(student.card, StudentCard):
        raise ConfigError(f"{where} sees the state; give it as --state-policy")
    assert preset.student is not None
    _check(where, student.card, config, preset, encoder=preset.student.encoder)
    return student


def _rescale_proprioception(network: StudentNetwork, old: BasePolicy, new: BasePolicy) -> None:
    """Let eyes that saw proprioception in the ranges of one policy see it in another's."""
    assert network.pose_head is not None
    layer, count = network.pose_head[0], old.obs_dim
    assert isinstance(layer, nn.Linear)
    before, after = (
        (
            torch.from_numpy(p.normalizer.obs_min[:count]),
            torch.from_numpy(p.normalizer.obs_max[:count]),
        )
        for p in (old, new)
    )
    span = before[1] - before[0]
    scale = (after[1] - after[0]) / span
    shift = (after[0] + after[1] - before[0] - before[1]) / span
    with torch.no_grad():
        layer.bias += layer.weight[:, :count] @ shift
        layer.weight[:, :count] *= scale


def _check(where: str, card: BaseCard, config: BcConfig, preset: BcPreset, **more: object) -> None:
    """Refuse a policy of another task or with other sizes."""
    expected = {
        "task": config.task,
        "network": preset.network,
        "prediction_horizon": preset.prediction_horizon,
        "plan_frame": preset.plan_frame,
        **more,
    }
    for name, value in expected.items():
        got = getattr(card, name)
        if got != value:
            its, ours = _differing(got, value)
            raise ConfigError(
                f"{where}: its {name} is {its}, this run has {ours}; train it with the same "
                "--task, --network and --preset"
            )


def _differing(one: object, other: object) -> tuple[object, object]:
    """Two values; of two specifications of a kind only what differs between them."""
    if not dataclasses.is_dataclass(one) or type(one) is not type(other):
        return one, other
    names = [f.name for f in dataclasses.fields(one)]
    differing = [n for n in names if getattr(one, n) != getattr(other, n)]
    its, ours = (", ".join(f"{n}={getattr(v, n)}" for n in differing) for v in (one, other))
    return its, ours
