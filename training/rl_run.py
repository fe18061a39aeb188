# SPDX-License-Identifier: Apache-2.0
"""A reinforcement learning run: environments, learner, evaluations, checkpoints, export.

What is learned, and what it is exported as, is a `Method`: `training.residual_method` and
`training.baseline_methods`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from resip_ros.core.errors import ConfigError
from resip_ros.core.results import check_folder, write_json_atomically
from resip_ros.policy.bundle import load_base
from resip_ros.policy.bundle_folder import check_place
from resip_ros.policy.card import Provenance, Success
from resip_ros.policy.runtime import BasePolicy
from training.distributed import ALONE, Group
from training.engine import delayed_engine
from training.env import AssemblyEnv, Snapshot
from training.provenance import describe_command, describe_commit
from training.residual_checkpoint import load_checkpoint, save_checkpoint
from training.residual_env import DecisionEnv, StepListener
from training.residual_report import (
    RunHistory,
    TrainingWindow,
    evaluate,
    evaluation_figures,
    format_evaluation,
    format_training,
)
from training.rl_settings import RunArgs

# Far from the small numbers that people pass as seeds of evaluations.
TRAINING_SEED = 100_000
EVALUATION_SEED = 200_000

Act = Callable[[np.ndarray], np.ndarray]
"""Inputs (N, D) to answers (N, A)."""


class Trainer(Protocol):
    """A learner and its schedule."""

    steps: int
    metrics: dict[str, float]
    has_replay: bool

    @property
    def updates(self) -> int:
        """Updates so far."""
        ...

    @property
    def actor(self) -> torch.nn.Module:
        """Network to evaluate and to export."""
        ...

    @property
    def prefilling(self) -> bool:
        """Acting without learning yet."""
        ...

    def advance(self, progress: float) -> None:
        """Act and learn; progress is the fraction of the run that is done."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything but replay and envs."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        ...

    def save_replay(self, path: Path) -> None:
        """Write the replay, if it has one."""
        ...

    def load_replay(self, path: Path) -> None:
        """Read what `save_replay` wrote."""
        ...

    def close(self) -> None:
        """Stop what runs beside the main thread."""
        ...


class Method(Protocol):
    """What is learned around a base policy."""

    base: BasePolicy
    shares: bool
    """Whether several processes can learn together."""

    def wrap(self, env: AssemblyEnv, seed: int, training: bool) -> DecisionEnv:
        """Put the base inside an env; stored starts are for training only."""
        ...

    def build_trainer(
        self, envs: Sequence[Any], listener: StepListener, group: Group, shards: int
    ) -> Trainer:
        """Learner in envs that `wrap` made, one for each shard of this process."""
        ...

    def build_act(self, env: Any, actor: torch.nn.Module) -> Act:
        """Deterministic answers of a frozen copy of the actor in an evaluation env."""
        ...

    def export(self, actor: torch.nn.Module, provenance: Provenance) -> None:
        """Write the bundle."""
        ...


class Run:
    """A training run: environments, learner, evaluations, checkpoints."""

    def __init__(
        self, args: RunArgs, method: Method, console: Console, group: Group = ALONE
    ) -> None:
        """Build everything; resumes if asked to.

        Raises:
            ConfigError: also when this method cannot be shared by several processes.
        """
        self.args = args
        self.group = group
        self.shards = args.shards or group.size
        if self.shards > 1 and not method.shares:
            raise ConfigError(
                f"{args.stored('')['algo']} learns in one process and one shard; only the PPO "
                "methods (--algo ppo, resip_c, ppo_c) can be shared"
            )
        check_place(args.bundle)
        check_folder(args.run_folder, "--run-dir")
        self.method = method
        self.base = method.base
        self.console = console
        saved, replay_path = load_checkpoint(args.run_folder) if args.resume else (None, None)
        if saved is not None:
            args.check_resume(self.base.card.weights_hash, saved["settings"])
        elif (args.run_folder / "latest").exists():
            raise ConfigError(
                f"{args.run_folder} holds a checkpoint of an earlier run; continue it with "
                "--resume or choose another --run-dir"
            )
        self.resumes = 0 if saved is None else saved["resumes"] + 1
        self.window = TrainingWindow()
        self.envs = [self._build_training_env(i) for i in group.own_shards(self.shards)]
        self.trainer = method.build_trainer(self.envs, self.window, group, self.shards)
        self.evaluations: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_index = -1
        self.seconds_before = 0.0
        if saved is not None:
            self._load(saved, replay_path)
        self.history = None
        if group.leads:
            self.history = RunHistory(
                args.run_folder, args.wandb, args.stored(self.base.card.weights_hash)
            )
        self._eval_env: DecisionEnv | None = None
        self._eval_states: Any = None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, s."""
        return self.seconds_before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """Fraction of the run that is done, by the leading process's clock."""
        fractions = [0.0]
        if self.args.steps is not None:
            fractions.append(self.trainer.steps / self.args.steps)
        if self.args.minutes is not None:
            fractions.append(self.seconds / (60 * self.args.minutes))
        return self.group.from_leader(max(fractions))

    def train(self, stop: Callable[[], bool]) -> None:
        """Advance until the budget is spent or `stop` says so; log, evaluate and checkpoint."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        due = {"log": self.seconds, "checkpoint": self.seconds, "eval": self.seconds}
        with Progress(*columns, console=self.console, transient=True) as bar:
            job = bar.add_task("training", total=1.0)
            while (progress := self.progress) < 1 and not self._any(stop()):
                self.trainer.advance(progress)
                if not self.group.leads:
                    continue
                bar.update(job, completed=progress)
                now = self.seconds
                if now - due["log"] >= self.args.log_seconds:
                    self.log()
                    due["log"] = self.seconds
                if now - due["eval"] >= 60 * self.args.eval_minutes:
                    self.evaluate()
                    due["eval"] = self.seconds
                if now - due["checkpoint"] >= 60 * self.args.checkpoint_minutes:
                    self.checkpoint()
                    due["checkpoint"] = self.seconds

    def _any(self, asked: bool) -> bool:
        """Whether any process was asked."""
        return bool(self.group.sum(torch.tensor(float(asked))) > 0)

    def log(self) -> None:
        """Print and store the training figures (of this process's envs) since the last call."""
        assert self.history is not None
        steps, updates = self.trainer.steps, self.trainer.updates
        figures = {**self.window.summary(steps, updates), **self.trainer.metrics}
        curriculum = self.envs[0].curriculum
        if curriculum is not None:
            figures["stored_states"] = len(curriculum)
        self.history.write("train", steps, self.seconds, figures)
        phase = "prefill" if self.trainer.prefilling else "learn"
        self.console.print(format_training(steps, self.seconds, figures, phase), highlight=False)

    def evaluate(self) -> None:
        """Measure the deterministic actor on fixed initial states; export if it earns it."""
        if self._eval_env is None:
            self._build_evaluation_env()
        assert self._eval_env is not None
        assert self.history is not None
        actor = deepcopy(self.trainer.actor)  # the learner goes on meanwhile

        act = self.method.build_act(self._eval_env, actor)
        result = evaluate(self._eval_env, act, self._eval_states)
        steps = self.trainer.steps
        figures = {"updates": self.trainer.updates, **evaluation_figures(result)}
        self.history.write("evaluation", steps, self.seconds, figures)
        self.console.print(format_evaluation(result), highlight=False)
        self.evaluations.append({"steps": steps, "seconds": self.seconds, **figures})
        self.window.leave_out(result.seconds)
        best = self.evaluations[self.best_index]["successes"] if self.best_index >= 0 else -1
        if self.args.ship == "last" or result.successes >= best:
            self.best_index = len(self.evaluations) - 1
            self.best = {name: tensor.clone() for name, tensor in actor.state_dict().items()}
            self._export(self.best)

    def checkpoint(self) -> None:
        """Write everything needed to continue."""
        env = self.envs[0]
        curriculum = None if env.curriculum is None else env.curriculum.state()
        state = {
            "settings": self.args.stored(self.base.card.weights_hash),
            "resumes": self.resumes,
            "seconds": self.seconds,
            "episodes": self.window.episodes,
            "trainer": self.trainer.state(),
            "env": None if self.shards > 1 else env.state(),
            "curriculum": curriculum,
            "evaluations": self.evaluations,
            "best": self.best,
            "best_index": self.best_index,
        }
        trainer = self.trainer
        save_replay = trainer.save_replay if trainer.has_replay else None
        save_checkpoint(self.args.run_folder, state, trainer.steps, save_replay)

    def finish(self, interrupted: bool) -> dict[str, Any] | None:
        """Checkpoint, last evaluation, metrics.json; the leading process gets the metrics."""
        if not self.group.leads:
            return None
        self.log()
        self.checkpoint()
        if not interrupted:
            self.evaluate()
            self.checkpoint()
        elif self.best is None or self.args.ship == "last":
            self.best_index = -1
            self._export(self.trainer.actor.state_dict())
        evaluations = self.evaluations
        metrics = {
            "task": self.args.task,
            "algo": self.args.stored("")["algo"],
            "bundle": str(self.args.bundle),
            "interrupted": interrupted,
            "env_steps": self.trainer.steps,
            "updates": self.trainer.updates,
            "train_episodes": self.window.episodes,
            "seconds": self.seconds,
            "evaluations": evaluations,
            "last": evaluations[-1] if evaluations else None,
            "best": max(evaluations, key=lambda e: e["successes"]) if evaluations else None,
            "shipped": {
                "choice": self.args.ship,
                "evaluation": self.best_index if self.best_index >= 0 else None,
                "of": len(evaluations),
                "note": "chosen by these evaluations if 'best': measure it again on other seeds",
            },
            "settings": self.args.stored(self.base.card.weights_hash),
        }
        write_json_atomically(self.args.run_folder / "metrics.json", metrics)
        return metrics

    def close(self) -> None:
        """Stop the learner and flush the logs."""
        self.trainer.close()
        if self.history is not None:
            self.history.close()

    def _build_env(
        self, num_envs: int, seed: int, pool_size: int, training: bool = False
    ) -> AssemblyEnv:
        args = self.args
        delay_s = args.control_delay_ms / 1000.0 if training else 0.0
        return AssemblyEnv(
            args.task,
            num_envs,
            randomness=args.randomness,
            seed=seed,
            num_threads=args.physics_threads,
            pool_size=pool_size,
            perturb=training and args.perturb,
            engine=delayed_engine(delay_s) if delay_s > 0.0 else "mujoco",
            timestep_s=args.physics_step_ms and args.physics_step_ms / 1000.0,
        )

    def _build_training_env(self, shard: int) -> DecisionEnv:
        args = self.args
        seed = TRAINING_SEED + 1000 * args.seed + self.resumes + 1_000_000 * shard
        num_envs = args.envs // self.shards
        env = self._build_env(num_envs, seed, min(4 * num_envs, 256), training=True)
        env.episode_steps = args.episode_steps or env.episode_steps
        wrapped = self.method.wrap(env, seed, training=True)
        wrapped.reset()
        return wrapped

    def _build_evaluation_env(self) -> None:
        args = self.args
        seed = EVALUATION_SEED + args.seed
        env = self._build_env(args.eval_episodes, seed, 1)
        self._eval_env = self.method.wrap(env, seed, training=False)
        self._eval_states = env.initial_states(list(range(args.eval_episodes)))

    def _load(self, saved: dict[str, Any], replay_path: Path | None) -> None:
        self.trainer.load_state(saved["trainer"])
        if self.trainer.has_replay and replay_path is not None:
            self.trainer.load_replay(replay_path)
        # several shards start anew from the seed of this resume
        if saved["env"] is not None:
            self.envs[0].load_state(saved["env"])
        curriculum = self.envs[0].curriculum
        if curriculum is not None:
            curriculum.load_state(saved["curriculum"], Snapshot)
        self.window.resume(saved["episodes"], self.trainer.steps, self.trainer.updates)
        self.seconds_before = saved["seconds"]
        before = saved["settings"]["randomness"]
        if before == self.args.randomness:
            self.evaluations = saved["evaluations"]
            self.best, self.best_index = saved["best"], saved["best_index"]
        else:
            self.console.print(
                f"randomness {before} until now, {self.args.randomness} from here on: the "
                "evaluations so far stay in history.jsonl, they do not choose among the actors"
            )

    def _export(self, weights: dict[str, torch.Tensor]) -> None:
        actor = deepcopy(self.trainer.actor)
        actor.load_state_dict(weights)
        # A success that chose among several evaluations is no measurement: leave it open.
        single = len(self.evaluations) == 1 or self.args.ship == "last"
        last = self.evaluations[-1] if self.evaluations and single else None
        success = None
        if last is not None and last["steps"] == self.trainer.steps:
            interval = (float(last["ci95"][0]), float(last["ci95"][1]))
            success = Success(last["n"], last["successes"], interval, self.args.randomness)
        provenance = Provenance(
            command=describe_command(),
            git_commit=describe_commit(),
            data_hash=self.base.card.provenance.data_hash,
            gradient_steps=self.trainer.updates,
            env_steps=self.trainer.steps,
            seed=self.args.seed,
            success=success,
        )
        self.method.export(actor, provenance)


def load_base_of(args: RunArgs) -> BasePolicy:
    """Base of a run.

    Raises:
        ConfigError: when it is for another task.
    """
    base = load_base(args.base_folder)
    if base.card.task != args.task:
        raise ConfigError(f"base bundle is for task {base.card.task}, --task is {args.task}")
    return base
