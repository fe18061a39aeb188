# SPDX-License-Identifier: Apache-2.0
r"""DP-DAgger: a chunked student asks a trained policy what to do in the states it comes to.

    python -m training.dagger --task one_leg --student models/one_leg/base \
        --expert models/one_leg --out models/one_leg_dagger/base

Each round runs episodes in which expert and student take turns chunk by chunk, the student more
often from round to round; the expert says for every state what it would do; successful episodes
join the data, and the student goes on learning from all of it (DAgger, arXiv 1011.0686; ResiP
§III-D2 with ResiP as the expert). The student keeps its normaliser. Rounds can be interrupted;
--resume goes on after the last complete one.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from rich.console import Console

from training.dagger_run import DaggerArgs, Run
from training.program import run_with_settings


def run(args: DaggerArgs) -> list[dict[str, Any]]:
    """All rounds; returns their figures."""
    torch.set_num_threads(args.num_threads)
    session, console = Run(args), Console(soft_wrap=True)
    while len(session.history) < args.rounds:
        entry = session.run_round()
        console.print(json.dumps(entry), highlight=False)
    return session.history


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_with_settings(
        "training.dagger",
        DaggerArgs,
        run,
        __doc__,
        argv,
        interrupted="interrupted: the last complete round is kept, --resume",
    )


if __name__ == "__main__":
    sys.exit(main())
