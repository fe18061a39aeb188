# SPDX-License-Identifier: Apache-2.0
"""How fast simulation, policy and cloning run here, each against a limit that is named.

python -m training.bench env --task one_leg --scaling
python -m training.bench policy --task one_leg --json speed.json
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro

from resip_ros.core.action import action_names
from resip_ros.core.errors import ResipError
from resip_ros.core.observation import observation_names
from resip_ros.core.paths import models_dir
from resip_ros.core.tasks import get_task
from training.bc_config import BcConfig
from training.bc_trainer import BcTrainer
from training.bench_env import bench_env
from training.dataset import build_demonstrations
from training.env import AssemblyEnv
from training.program import run_program

WARM_UP = 3
CHUNK_LIMIT_MS = 100.0
"""A chunk has to be there within one policy step at 10 Hz."""
CORRECTION_LIMIT_MS = 10.0
"""A correction is computed in every policy step, beside everything else."""
GRADIENT_STEP_LIMIT_MS = 250.0
"""The small preset's 6 000 steps then take less than half an hour."""


def latencies_ms(call: Any, count: int) -> dict[str, float]:
    """Median and 99th percentile of a call's time, after a warm-up."""
    times = []
    for _ in range(WARM_UP + count):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    return {
        "p50": float(np.percentile(times[WARM_UP:], 50)),
        "p99": float(np.percentile(times[WARM_UP:], 99)),
    }


def bench_policy(task: str, policy_dir: Path, steps: int) -> dict[str, Any]:
    """Times a chunk of the base policy and a correction of the residual, for one robot."""
    from resip_ros.policy.bundle import load_policy

    torch.set_num_threads(1)
    policy = load_policy(policy_dir)
    if policy.task.name != task:
        raise ResipError(f"{policy_dir} is for task {policy.task.name}, expected {task}")
    env = AssemblyEnv(task, 1, num_threads=1, pool_size=1)
    env.reset()
    obs = env.observe()
    generator = torch.Generator().manual_seed(0)
    chunk = policy.base.predict_chunk(obs, generator)
    chunk_ms = latencies_ms(lambda: policy.base.predict_chunk(obs, generator), steps)
    report: dict[str, Any] = {
        "policy": str(policy_dir),
        "chunk_latency_ms": chunk_ms,
        "chunk_limit_ms": CHUNK_LIMIT_MS,
        "within_limit": chunk_ms["p99"] <= CHUNK_LIMIT_MS,
    }
    residual = policy.residual
    if residual is not None:
        correction_ms = latencies_ms(lambda: residual.correct(obs, chunk[:, 0]), steps)
        report["correction_latency_ms"] = correction_ms
        report["correction_limit_ms"] = CORRECTION_LIMIT_MS
        report["within_limit"] &= correction_ms["p99"] <= CORRECTION_LIMIT_MS
    return report


def bench_bc(task: str, steps: int) -> dict[str, Any]:
    """Times a gradient step of behaviour cloning with the small preset, on made-up data."""
    rng = np.random.default_rng(0)
    spec = get_task(task)
    observations = [rng.normal(size=(200, len(observation_names(spec)))) for _ in range(4)]
    actions = [rng.normal(size=(200, len(action_names(spec)))) for _ in range(4)]
    data = build_demonstrations(task, observations, actions, source="bench", seed=0)
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    # Neither path is touched: the trainer reads and writes only when it is told to.
    trainer = BcTrainer(BcConfig(data=(Path("none"),), out=Path("none"), task=task), data)
    step_ms = latencies_ms(trainer.train_step, steps)
    return {
        "preset": trainer.config.preset,
        "batch": trainer.config.batch,
        "threads": threads,
        "step_ms": step_ms,
        "step_limit_ms": GRADIENT_STEP_LIMIT_MS,
        "within_limit": step_ms["p50"] <= GRADIENT_STEP_LIMIT_MS,
    }


def main(
    what: Annotated[Literal["env", "policy", "bc"], tyro.conf.Positional],
    task: str = "one_leg",
    policy: Path | None = None,
    num_envs: int = 256,
    steps: int = 40,
    scaling: bool = False,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> int:
    """Measures speed on this machine; exits with 1 if a limit is missed.

    Args:
        what: env: environment steps in whole demonstrations, against MuJoCo alone; policy:
            latency of chunk and correction; bc: a gradient step of behaviour cloning.
        task: Task whose scene and policy are timed.
        policy: Policy folder or bundle; by default the shipped one of the task.
        num_envs: Environments side by side.
        steps: Timed steps or calls.
        scaling: Time the env also with 16, 64 and 256 environments on one and on all threads.
        json_file: Also write the report there.
    """
    get_task(task)
    if what == "env":
        report = bench_env(task, num_envs, steps, scaling)
    elif what == "bc":
        report = bench_bc(task, steps)
    else:
        report = bench_policy(task, policy or models_dir() / task, steps)
    report = {"bench": what, "task": task, **report}
    text = json.dumps(report, indent=2)
    print(text)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(text + "\n")
    return 0 if report["within_limit"] else 1


if __name__ == "__main__":
    sys.exit(
        run_program(
            "training.bench",
            lambda: sys.exit(tyro.cli(main, description=__doc__, prog="python -m training.bench")),
        )
    )
