# SPDX-License-Identifier: Apache-2.0
"""The trained policies that a student's training begins from.

A policy that sees the state gives its plan network, its ranges, and with them the scale in which a
student tells the parts' poses. A student (with more data, after DAgger) goes on as a whole.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from resip_ros.core.errors import ConfigError
from resip_ros.core.observation import proprioception_names
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

    state_policy: BasePolicy | None
    student: BasePolicy | None

    @property
    def normalizer(self) -> Normalizer | None:
        """Ranges of what a student sees and does."""
        if self.student is not None:
            return self.student.normalizer
        return None if self.state_policy is None else student_ranges(self.state_policy)

    @property
    def plan_range(self) -> PlanRange | None:
        """Ranges of plans relative to the hand."""
        policy = self.student or self.state_policy
        return None if policy is None else policy.plan_range

    def load_into(self, network: StudentNetwork) -> None:
        """Give a new network what has been learned."""
        if self.student is not None:
            network.load_state_dict(self.student.copy_network().state_dict())
        elif self.state_policy is not None:
            network.plan.load_state_dict(self.state_policy.copy_network().state_dict())

    @property
    def identity(self) -> dict[str, str]:
        """What must be equal for a resume to continue the same run."""
        given = {"state_policy": self.state_policy, "start_from": self.student}
        return {n: "" if p is None else p.card.weights_hash for n, p in given.items()}


def student_ranges(policy: BasePolicy) -> Normalizer:
    """Of a policy that sees the state, the ranges that a student needs."""
    whole, seen = policy.normalizer, slice(0, len(proprioception_names(policy.task)))
    return dataclasses.replace(whole, obs_min=whole.obs_min[seen], obs_max=whole.obs_max[seen])


def load_start(config: BcConfig, preset: BcPreset, pose_dim: int) -> StudentStart:
    """Load what the command line names.

    Args:
        config: The command line.
        preset: The student's.
        pose_dim: P, what the student tells of the poses.

    Raises:
        ResipError: a policy cannot be read, or is none that this run could have trained.
    """
    state_policy = student = None
    if config.state_policy is not None:
        if not pose_dim:
            raise ConfigError(f"--state-policy: --preset {config.preset} tells no poses")
        state_policy = load_base(config.state_policy)
        where = f"--state-policy {config.state_policy}"
        _check(where, state_policy.card, config, preset, relative_features=True)
    if config.start_from is not None:
        if config.encoder_weights is not None:
            raise ConfigError("--encoder-weights and --start-from both say where encoders begin")
        student = load_base(config.start_from, images=True)
        where = f"--start-from {config.start_from}"
        if not isinstance(student.card, StudentCard):
            raise ConfigError(f"{where} sees the state; give it as --state-policy")
        encoder = None if preset.student is None else preset.student.encoder
        _check(where, student.card, config, preset, encoder=encoder, pose_dim=pose_dim)
        _check_scale(where, student, state_policy, pose_dim)
    return StudentStart(state_policy, student)


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
            raise ConfigError(
                f"{where}: its {name} is {got}, this run has {value}; train it with the same "
                "--task, --network and --preset"
            )


def _check_scale(
    where: str, student: BasePolicy, state_policy: BasePolicy | None, pose_dim: int
) -> None:
    """Refuse a student that tells poses in another scale."""
    if not pose_dim:
        return
    if state_policy is None:
        raise ConfigError(f"{where} tells poses; give the --state-policy of its own training, too")
    if student_ranges(state_policy).hash != student.normalizer.hash:
        raise ConfigError(f"{where} was not trained with this --state-policy: its ranges differ")
