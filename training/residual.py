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

import torch
import tyro
from rich.console import Console

from resip_ros.core.errors import ResipError
from training.residual_run import Run
from training.residual_settings import Args


def run(args: Args) -> int:
    """Train as the arguments say; returns the exit code."""
    torch.set_num_threads(1)  # the physics and the learner's thread have the cores
    console = Console(soft_wrap=True)
    session = Run(args, console)
    interrupted = False
    try:
        try:
            session.train()
        except KeyboardInterrupt:
            interrupted = True
            console.print("interrupted: writing checkpoint and bundle; continue with --resume")
        metrics = session.finish(interrupted)
    finally:
        session.close()
    console.print(f"bundle {metrics['bundle']}, logs {args.run_folder}")
    return 130 if interrupted else 0


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    try:
        return run(tyro.cli(Args, args=argv, description=__doc__))
    except ResipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
