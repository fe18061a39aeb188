# SPDX-License-Identifier: Apache-2.0
"""Train a residual policy on a frozen base policy, by RL in simulation.

    python -m training.residual --task one_leg --minutes 60
    python -m training.residual --task one_leg --minutes 90 --resume
    python -m training.residual --task one_leg --algo ppo --envs 1024 --steps 500000000

Two learners share env, network, bundle and evaluation: `offpolicy` (replay, fast on few cores)
and `ppo` (the paper's). The bundle is written to --out at every evaluation that earns it and at
the end; checkpoints, history.jsonl, TensorBoard and metrics.json lie in --run-dir. Training
success (with exploration noise, also from stored states) and evaluation success (deterministic,
initial states that training never uses) are kept apart.
"""

from __future__ import annotations

import sys

from training.residual_method import ResidualMethod
from training.residual_settings import Args
from training.rl_command import run_command


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_command(Args, ResidualMethod, argv, "training.residual", __doc__)


if __name__ == "__main__":
    sys.exit(main())
