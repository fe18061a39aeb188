# SPDX-License-Identifier: Apache-2.0
"""The golden input of a bundle: what the policy answered when saved, asked again on loading.

The hash of the weights tells that a file is whole; the answer tells that this version of the
package and its libraries makes of them what the version that saved them did. `python -m
resip_ros.policy.golden FOLDER...` adds it to bundles that were saved without.
"""

from __future__ import annotations

import argparse
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from resip_ros.core.arms import to_task_frame
from resip_ros.core.errors import CheckpointMismatch
from resip_ros.core.geometry import Array
from resip_ros.core.images import IMAGE_SHAPE
from resip_ros.core.observation import build_proprioception, build_state_observation
from resip_ros.core.tasks import TaskSpec
from resip_ros.policy.bundle_folder import CARD_FILE
from resip_ros.policy.card import BaseCard, Golden, ResidualCard
from resip_ros.policy.image_encoder import Images
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import PlanNetwork
from resip_ros.policy.plan_range import PlanRange
from resip_ros.policy.runtime import AssemblyPolicy, BasePolicy, Float32, ResidualPolicy

TOLERANCE = 2e-3
"""Of a normalised action, whose range is 2: a millimetre in a metre. Other processors and library
versions differ by 1e-5."""


def plausible_observation(task: TaskSpec) -> Array:
    """An observation (D,) with valid rotations: tools down, parts upright in front of the arm."""
    down = np.diag([1.0, -1.0, -1.0])
    still = np.zeros(3)
    in_front = np.array([0.5, 0.0, 0.3])
    one = build_proprioception(in_front, down, still, still, np.array(0.06))
    proprioception = to_task_frame(task.arms, np.tile(one, (len(task.arms), 1)))
    upright = np.array([0.5, 0.0, 0.02, 0.0, 0.0, 0.0, 1.0])
    return build_state_observation(task, proprioception, dict.fromkeys(task.observed, upright))


def plausible_input(base: BasePolicy) -> tuple[Array, Images | None]:
    """An observation (1, D) that a base can take, and pictures of a pattern if it sees any."""
    obs = plausible_observation(base.task)[None, : base.obs_dim]
    return obs, {name: _pattern()[None] for name in base.images} or None


def _pattern() -> NDArray[np.uint8]:
    """A picture whose colours rise and fall at three rates: at another size it looks different."""
    height, width, _ = IMAGE_SHAPE
    rows, columns = np.indices((height, width))
    phase = np.stack([5 * rows, 3 * columns + 2 * rows, 7 * columns], axis=-1)
    return np.abs(phase % 510 - 255).astype(np.uint8)


def golden_of_base(
    card: BaseCard, normalizer: Normalizer, network: PlanNetwork, plan_range: PlanRange | None
) -> Golden:
    """What a base answers once its weights have been rounded for storage."""
    # only what is stored: what a network computes anew when it is built is not rounded
    stored = deepcopy(network).cpu()
    stored.load_state_dict({k: v.half().float() for k, v in stored.state_dict().items()})
    return _golden(BasePolicy(card, normalizer, stored, plan_range=plan_range))


def golden_of_residual(
    card: ResidualCard, normalizer: Normalizer, actor: torch.nn.Module
) -> Golden:
    """What a residual answers."""
    return _golden(ResidualPolicy(card, normalizer, deepcopy(actor).cpu()))


def check_golden(policy: AssemblyPolicy) -> None:
    """Asks base and residual again what they were asked when they were saved.

    Raises:
        CheckpointMismatch: for another answer.
    """
    for part in (policy.base, policy.residual):
        if part is None or part.card.golden is None:
            continue
        expected = np.array(part.card.golden.output)
        error = np.abs(_answer(part, np.array(part.card.golden.observation)) - expected).max()
        # not a number is no small error
        if not error <= TOLERANCE:
            raise CheckpointMismatch(
                f"the {part.card.kind} answers its golden input differently by {error:.2g} than "
                f"when it was saved, limit {TOLERANCE:g}; use the versions of resip_ros and torch "
                "that made it, or train it anew. If its card was changed on purpose "
                "(action_horizon, sampler): evaluate it, then python -m resip_ros.policy.golden"
            )


def _golden(part: BasePolicy | ResidualPolicy) -> Golden:
    sees_state = isinstance(part, ResidualPolicy)
    observation = plausible_observation(part.task) if sees_state else plausible_input(part)[0][0]
    output = _answer(part, observation)
    return Golden(
        tuple(float(value) for value in observation),
        tuple(round(float(value), 6) for value in output),
    )


def _answer(part: BasePolicy | ResidualPolicy, observation: Array) -> Float32:
    """Normalised (A,): a base's last executed action, a residual's correction of nothing."""
    obs = observation[None]
    if isinstance(part, BasePolicy):
        noise = torch.Generator().manual_seed(0)
        images = plausible_input(part)[1]
        return part.predict_chunk(obs, noise, images)[0, part.action_steps - 1]
    width = part.card.chunk_steps * part.normalizer.action_dim
    return part.correct(obs, np.zeros((1, width), np.float32))[0, : part.normalizer.action_dim]


def main() -> int:
    """Adds the golden input to policies, or renews it."""
    from resip_ros.policy.bundle import load_policy, record_golden

    parser = argparse.ArgumentParser(
        prog="python -m resip_ros.policy.golden",
        description="Asks saved policies, or bundles of a base or a student alone, and writes "
        "their answers into their cards.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    for folder in parser.parse_args().folders:
        policy = load_policy(folder, images=True)
        alone = (folder / CARD_FILE).is_file()
        record_golden(folder if alone else folder / "base", _golden(policy.base))
        if policy.residual is not None:
            record_golden(folder / "residual", _golden(policy.residual))
        sys.stdout.write(f"{folder}: recorded\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
