# SPDX-License-Identifier: Apache-2.0
r"""Train a base policy by behaviour cloning.

    python -m training.bc --data data/one_leg.zarr --task one_leg --network unet --preset small \
        --out models/one_leg/base

With --observation images it trains a student, which sees pictures (training.render) in place of
the parts' poses: docs/student.md.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.results import check_folder, write_json_atomically
from resip_ros.policy.bundle_folder import check_place
from training.bc_config import BcConfig
from training.bc_trainer import BcTrainer, name_last
from training.board import Board
from training.dataset import join_demonstrations, read_demonstrations
from training.distributed import Group, join_group, leave_group
from training.program import run_program
from training.student_trainer import make_student_trainer, refuse_student_settings

CHECKPOINT_FILE = "checkpoint.pt"


def train(config: BcConfig, until: int | None = None) -> dict[str, Any]:
    """Run behaviour cloning and write checkpoint, bundle and metrics.

    Args:
        config: the command line.
        until: stop at this step as if interrupted.

    Returns:
        What metrics.json holds; nothing in the processes that do not lead.
    """
    torch.set_num_threads(config.threads)
    group = join_group()
    check_place(config.out)
    run_dir = config.resolved_run_dir
    check_folder(run_dir, "--run-dir")
    trainer = make_trainer(config, group)
    checkpoint = run_dir / CHECKPOINT_FILE
    if config.resume:
        trainer.load_checkpoint(checkpoint)
    elif checkpoint.exists():
        raise ConfigError(
            f"{run_dir} holds a checkpoint of an earlier run; continue it with --resume or "
            "choose another --run-dir"
        )
    run_dir.mkdir(parents=True, exist_ok=True)
    start, first_step = time.monotonic(), trainer.step
    last = min(trainer.total_steps, until or trainer.total_steps)
    with contextlib.ExitStack() as stack:
        board = None
        if group.leads:
            board = stack.enter_context(
                Board(
                    run_dir,
                    wandb_project=config.wandb,
                    settings=asdict(config),
                    from_step=trainer.step,
                )
            )
        losses = _train_until(trainer, last, board, stack.enter_context(_StopRequest()), start)
    if not group.leads:
        return {}
    trainer.save_checkpoint(checkpoint)
    card = trainer.write_bundle()
    seconds = time.monotonic() - start
    metrics = {
        "task": config.task,
        "network": config.network,
        "preset": config.preset,
        "bundle": str(config.out),
        "weights_hash": card.weights_hash,
        "steps": trainer.step,
        "total_steps": trainer.total_steps,
        "finished": trainer.step == trainer.total_steps,
        "episodes": trainer.data.num_episodes,
        "windows": len(trainer.train_inputs),
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "train_loss": float(np.mean(losses)) if losses else None,
        **trainer.validate(),
        "seconds": seconds,
        "ms_per_step": 1e3 * seconds / max(1, trainer.step - first_step),
    }
    write_json_atomically(run_dir / "metrics.json", metrics)
    return metrics


def make_trainer(config: BcConfig, group: Group) -> BcTrainer:
    """The trainer of a policy that sees what the configuration says.

    Raises:
        ResipError: data or settings do not fit.
    """
    if config.observation == "images":
        return make_student_trainer(config, group)
    refuse_student_settings(config)
    parts = [read_demonstrations(path, config.task) for path in config.data]
    return BcTrainer(config, join_demonstrations(parts), group)


def _train_until(
    trainer: BcTrainer, last: int, board: Board | None, stop: _StopRequest, start: float
) -> list[float]:
    """Train to step `last`, or until asked to stop; returns the losses since the last report.

    Raises:
        ResipError: if the loss is no longer finite; the last good checkpoint stays.
    """
    config = trainer.config
    checkpoint = config.resolved_run_dir / CHECKPOINT_FILE
    losses: list[float] = []
    bar = tqdm(
        total=trainer.total_steps,
        initial=trainer.step,
        unit="step",
        smoothing=0.02,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
        disable=board is None,
    )
    with bar:
        while trainer.step < last:
            loss = trainer.train_step().item()
            if not math.isfinite(loss):
                raise ResipError(
                    f"loss is {loss} at step {trainer.step}: training diverged; start again "
                    f"with a lower --learning-rate. Last good checkpoint: {name_last(checkpoint)}"
                )
            if len(losses) >= config.eval_every:
                losses.clear()
            losses.append(loss)
            bar.update()
            if board is not None and trainer.step % 50 == 0:
                board.scalar("loss/train", float(np.mean(losses[-50:])), trainer.step)
                board.scalar("learning_rate", trainer.learning_rate, trainer.step)
            if board is not None and trainer.step % config.eval_every == 0:
                trainer.save_checkpoint(checkpoint)
                report = trainer.validate()
                for key, value in report.items():
                    board.scalar(f"val/{key}", value, trainer.step)
                shown = {"train": float(np.mean(losses)), **report}
                bar.set_postfix({k: f"{v:.4g}" for k, v in shown.items()}, refresh=False)
            overdue = config.minutes and time.monotonic() - start > 60 * config.minutes
            asked = torch.tensor(float(bool(overdue or stop.requested)))
            if trainer.group.sum(asked) > 0:
                break
    return losses


class _StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a clean end after the current step."""

    requested = False

    def __enter__(self) -> _StopRequest:
        self._previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        for number in self._previous:
            signal.signal(number, self._request)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _request(self, number: int, _frame: object) -> None:
        self.requested = True
        signal.signal(number, self._previous[signal.Signals(number)])


def main() -> int:
    """Entry point; a wrong input ends with one message, not a traceback."""

    def work() -> None:
        metrics = train(tyro.cli(BcConfig, description=__doc__, prog="python -m training.bc"))
        if metrics:
            print(json.dumps(metrics, indent=2))
        if metrics and not metrics["finished"]:
            done, total = metrics["steps"], metrics["total_steps"]
            told = f"training.bc: stopped at step {done} of {total}; --resume goes on"
            print(told, file=sys.stderr)

    try:
        return run_program("training.bc", work, "interrupted; the last checkpoint is kept")
    finally:
        leave_group()


if __name__ == "__main__":
    sys.exit(main())
