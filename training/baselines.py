# SPDX-License-Identifier: Apache-2.0
"""Train what ResiP is compared with: other ways to improve a cloned policy by RL in simulation.

    python -m training.baselines --method resip_c --task one_leg --minutes 60
    python -m training.baselines --method ppo_c --task one_leg --base runs/mlp_c --minutes 60
    python -m training.baselines --method idql --task one_leg --minutes 60

`resip_c` learns a residual that corrects a whole chunk at once (ResiP §III-D4). `ppo_c` tunes a
chunked policy that regresses (`training.bc --network mlp_c`), held near the cloned one by a KL
penalty (Table VII). `idql` learns values of the base's sampled chunks and executes the best of
20 (Table VIII). All start every episode afresh and share environment, evaluation and checkpoints
with `training.residual`; the result is evaluated by `training.evaluate` on the policy folder that
holds base/ beside it (`ppo_c` gives a base bundle of its own).
"""

from __future__ import annotations

import sys

from training.baseline_methods import build_method
from training.baseline_settings import BaselineArgs
from training.rl_command import run_command


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_command(BaselineArgs, build_method, argv, "training.baselines", __doc__)


if __name__ == "__main__":
    sys.exit(main())
