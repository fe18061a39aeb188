# SPDX-License-Identifier: Apache-2.0
"""How batches are mixed of synthetic and real steps.

A dataset of n steps weighs n^(1/3), as in the paper's code: ten real episodes beside four hundred
synthetic ones make a quarter of every batch, and neither washes the other out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from resip_ros.core.errors import ConfigError

POWER = 1 / 3


def balanced_share(real: int, synthetic: int) -> float:
    """Share of real steps in a batch by the cube-root rule."""
    return real**POWER / (real**POWER + synthetic**POWER)


def draw_mixed(is_real: Tensor, batch: int, share: float, generator: torch.Generator) -> Tensor:
    """Indices (batch,) of steps, with replacement: exactly the share of real ones, rounded.

    Args:
        is_real: (W,) bool, which steps are real; some of both.
        batch: How many.
        share: Of real ones, 0 to 1.
        generator: Of the draw.
    """
    wanted = round(share * batch)
    parts = []
    for kind, count in ((is_real, wanted), (~is_real, batch - wanted)):
        rows = kind.nonzero()[:, 0]
        parts.append(rows[torch.randint(len(rows), (count,), generator=generator)])
    # spread over the batch, so that every shard has its share
    order = torch.randperm(batch, generator=generator)
    return torch.cat(parts)[order]


def check_share(share: float | None, batch: int) -> None:
    """Refuse a share of which no batch has both kinds.

    Raises:
        ConfigError: with what it makes of a batch.
    """
    if share is None:
        return
    if not 0 < share < 1:
        raise ConfigError(f"--real-share: got {share}, expected between 0 and 1")
    if not 0 < (real := round(share * batch)) < batch:
        raise ConfigError(
            f"--real-share {share:.3g} makes {real} real steps of {batch}, expected some of both "
            "kinds; give another share or a larger --batch"
        )
