# SPDX-License-Identifier: Apache-2.0
"""How fast simulation, policy and cloning run here, each against a limit that is named.

python -m training.bench env --task one_leg
python -m training.bench policy --task one_leg --json speed.json
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import mujoco
import numpy as np
import torch
import tyro
from mujoco.batch import Batch

from resip_ros.core.action import ACTION_NAMES, encode_action
from resip_ros.core.errors import ResipError
from resip_ros.core.kinematics import forward
from resip_ros.core.observation import observation_names
from resip_ros.core.paths import models_dir
from resip_ros.core.tasks import get_task
from training.bc_trainer import BcConfig, BcTrainer
from training.dataset import build_demonstrations
from training.env import AssemblyEnv, Snapshot

WARM_UP = 3
OVERHEAD_LIMIT = 0.5
"""Time of an env step beyond bare stepping, while nothing touches: then MuJoCo is fastest."""
CHUNK_LIMIT_MS = 100.0
"""A chunk has to be there within one policy step at 10 Hz."""
CORRECTION_LIMIT_MS = 10.0
"""A correction is computed in every policy step, beside everything else."""
GRADIENT_STEP_LIMIT_MS = 250.0
"""The small preset's 20 000 steps then take less than an hour and a half."""
STATE_FIELDS = ("qpos", "qvel", "qacc_warmstart", "ctrl", "mocap_pos")


class BareSimulation:
    """The env's model stepped by MuJoCo alone, from any of the env's states."""

    def __init__(self, model: mujoco.MjModel, num_envs: int, threads: int, substeps: int) -> None:
        self._batch = Batch(model, num_envs, nthread=threads, persistent=True)
        self._state = {name: self._batch.bind(name) for name in STATE_FIELDS}
        self._substeps = substeps

    def time_step(self, start: Snapshot) -> float:
        """Seconds that one policy step takes from the given states with controls held."""
        for name, array in self._state.items():
            array[:] = getattr(start, name).reshape(array.shape)
        control = np.repeat(start.ctrl[:, None], self._substeps, axis=1)
        began = time.perf_counter()
        self._batch.rollout(self._substeps, control, control_spec=mujoco.mjtState.mjSTATE_CTRL)
        return time.perf_counter() - began

    def positions(self) -> np.ndarray:
        """Positions (N, nq) after the last step, as MuJoCo orders them."""
        return self._state["qpos"].copy()


def stir(env: AssemblyEnv, step: int) -> np.ndarray:
    """Actions (N, 10) that move every arm on a circle above the bench and work the gripper."""
    pos, rot = forward(np.tile(env.config.home_joints, (env.num_envs, 1)))
    phase = 0.3 * step + np.linspace(0.0, 2.0 * np.pi, env.num_envs, endpoint=False)
    pos = pos + 0.05 * np.stack([np.cos(phase), np.sin(phase), 0.0 * phase], axis=-1)
    return encode_action(pos, rot, np.where(np.sin(0.2 * phase) > 0, 1.0, -1.0))


def bench_env(task: str, num_envs: int, steps: int) -> dict[str, Any]:
    """Times the env against bare MuJoCo stepping from the same states on the same threads."""
    threads = len(os.sched_getaffinity(0))
    env = AssemblyEnv(task, num_envs, num_threads=threads, pool_size=num_envs)
    env.reset()
    substeps = round(env.config.step_s / env.model.opt.timestep)
    bare = BareSimulation(env.model, num_envs, threads, substeps)
    everyone = np.arange(num_envs)
    env_s, bare_s = [], []
    for step in range(WARM_UP + steps):
        bare_s.append(bare.time_step(env.snapshot(everyone)))
        began = time.perf_counter()
        result = env.step(stir(env, step))
        env_s.append(time.perf_counter() - began)
        env.reset(np.flatnonzero(result.terminated | result.truncated))
    # Medians: another process that takes a core for a moment must not decide.
    env_step_s = float(np.median(env_s[WARM_UP:]))
    overhead = env_step_s / float(np.median(bare_s[WARM_UP:])) - 1.0
    return {
        "env_steps_per_s": num_envs / env_step_s,
        "mj_steps_per_s": num_envs * substeps / env_step_s,
        "num_envs": num_envs,
        "threads": threads,
        "overhead": overhead,
        "overhead_limit": OVERHEAD_LIMIT,
        "within_limit": overhead <= OVERHEAD_LIMIT,
    }


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
    actions = [rng.normal(size=(200, len(ACTION_NAMES))) for _ in range(4)]
    data = build_demonstrations(task, observations, actions, source="bench", seed=0)
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    # Neither path is touched: the trainer reads and writes only when it is told to.
    trainer = BcTrainer(BcConfig(data=Path("none"), out=Path("none"), task=task), data)
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
    num_envs: int = 16,
    steps: int = 40,
    json_file: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> int:
    """Measures speed on this machine; exits with 1 if a limit is missed.

    Args:
        what: env: environment steps against bare MuJoCo; policy: latency of chunk and
            correction; bc: a gradient step of behaviour cloning.
        task: Task whose scene and policy are timed.
        policy: Policy folder or bundle; by default the shipped one of the task.
        num_envs: Environments side by side.
        steps: Timed steps or calls.
        json_file: Also write the report there.
    """
    get_task(task)
    if what == "env":
        report = bench_env(task, num_envs, steps)
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
    try:
        sys.exit(tyro.cli(main, description=__doc__))
    except ResipError as error:
        sys.exit(f"error: {error}")
