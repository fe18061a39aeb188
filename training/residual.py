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

import signal
import sys
from typing import Any

import torch
import tyro
from rich.console import Console

from resip_ros.core.errors import ResipError
from training.residual_run import Run
from training.residual_settings import Args


class StopRequest:
    """While entered, the first Ctrl-C or SIGTERM only sets a flag: nothing is cut in half.

    The run ends after its current step (PPO: rollout); a second Ctrl-C ends it at once and
    leaves the previous checkpoint.
    """

    def __init__(self, console: Console) -> None:
        self.asked = False
        self._console = console
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether the run was asked to stop."""
        return self.asked

    def _handle(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._console.print("stopping after this step; again to stop at once")


def run(args: Args) -> int:
    """Train as the arguments say; returns the exit code."""
    torch.set_num_threads(1)  # the physics and the learner's thread have the cores
    console = Console(soft_wrap=True)
    session = Run(args, console)
    try:
        with StopRequest(console) as stop:
            session.train(stop)
            metrics = session.finish(interrupted=stop.asked)
    finally:
        session.close()
    console.print(f"bundle {metrics['bundle']}, logs {args.run_folder}")
    if stop.asked:
        console.print("interrupted: continue with --resume")
    return 130 if stop.asked else 0


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    try:
        return run(tyro.cli(Args, args=argv, description=__doc__))
    except ResipError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: {error}; free some space or choose another --run-dir; the newest "
            "checkpoint is still valid: continue with --resume",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted: the newest checkpoint is still valid, --resume", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
