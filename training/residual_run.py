# SPDX-License-Identifier: Apache-2.0
"""A residual training run: environments, learner, evaluations, checkpoints, export."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import models_dir
from resip_ros.core.results import write_json_atomically
from resip_ros.policy.bundle import load_base, save_residual
from resip_ros.policy.card import Provenance, ResidualCard, Success
from resip_ros.policy.runtime import BasePolicy, residual_input
from training.curriculum import Curriculum
from training.env import AssemblyEnv, Snapshot
from training.provenance import describe_command, describe_commit
from training.residual_checkpoint import load_checkpoint, save_checkpoint
from training.residual_env import ResidualEnv
from training.residual_report import (
    RunHistory,
    TrainingWindow,
    evaluate,
    evaluation_figures,
    format_evaluation,
    format_training,
)
from training.residual_settings import Args, check_settings
from training.residual_trainers import OffPolicyTrainer, PPOTrainer, Trainer
from training.stages import is_fallen

# Far from the small numbers that people pass as seeds of evaluations.
TRAINING_SEED = 100_000
EVALUATION_SEED = 200_000


class Run:
    """A training run: environments, learner, evaluations, checkpoints."""

    def __init__(self, args: Args, console: Console) -> None:
        """Load the base and build everything; resumes if asked to."""
        self.args = args
        self.console = console
        self.base = load_base(args.base or models_dir() / args.task / "base")
        if self.base.card.task != args.task:
            raise ConfigError(
                f"base bundle is for task {self.base.card.task}, --task is {args.task}"
            )
        saved, replay_path = load_checkpoint(args.run_folder) if args.resume else (None, None)
        if saved is not None:
            check_settings(args, self.base.card.weights_hash, saved["settings"])
        elif (args.run_folder / "latest").exists():
            raise ConfigError(
                f"{args.run_folder} holds a checkpoint of an earlier run; continue it with "
                "--resume or choose another --run-dir"
            )
        self.resumes = 0 if saved is None else saved["resumes"] + 1
        self.window = TrainingWindow()
        self.env = self._build_training_env()
        self.trainer = self._build_trainer()
        self.evaluations: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_index = -1
        self.seconds_before = 0.0
        if saved is not None:
            self._load(saved, replay_path)
        self.history = RunHistory(args.run_folder)
        self._eval_env: ResidualEnv | None = None
        self._eval_states: Any = None
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, s."""
        return self.seconds_before + time.monotonic() - self._began

    @property
    def progress(self) -> float:
        """Fraction of the run that is done."""
        fractions = [0.0]
        if self.args.steps is not None:
            fractions.append(self.trainer.steps / self.args.steps)
        if self.args.minutes is not None:
            fractions.append(self.seconds / (60 * self.args.minutes))
        return max(fractions)

    def train(self, stop: Callable[[], bool]) -> None:
        """Advance until the budget is spent or `stop` says so; log, evaluate and checkpoint."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        due = {"log": self.seconds, "checkpoint": self.seconds, "eval": self.seconds}
        with Progress(*columns, console=self.console, transient=True) as bar:
            job = bar.add_task("residual", total=1.0)
            while self.progress < 1 and not stop():
                self.trainer.advance(self.progress)
                bar.update(job, completed=min(self.progress, 1.0))
                now = self.seconds
                if now - due["log"] >= self.args.log_seconds:
                    self.log()
                    due["log"] = self.seconds
                if now - due["eval"] >= 60 * self.args.eval_minutes and self.progress < 1:
                    self.evaluate()
                    due["eval"] = self.seconds
                if now - due["checkpoint"] >= 60 * self.args.checkpoint_minutes:
                    self.checkpoint()
                    due["checkpoint"] = self.seconds

    def log(self) -> None:
        """Print and store the training figures since the last call."""
        steps, updates = self.trainer.steps, self.trainer.updates
        figures = {**self.window.summary(steps, updates), **self.trainer.metrics}
        if self.env.curriculum is not None:
            figures["stored_states"] = len(self.env.curriculum)
        self.history.write("train", steps, self.seconds, figures)
        phase = "prefill" if self.trainer.prefilling else "learn"
        self.console.print(format_training(steps, self.seconds, figures, phase), highlight=False)

    def evaluate(self) -> None:
        """Measure the deterministic actor on fixed initial states; export if it earns it."""
        if self._eval_env is None:
            self._build_evaluation_env()
        assert self._eval_env is not None
        actor = deepcopy(self.trainer.actor)  # the learner goes on meanwhile

        @torch.no_grad()
        def act(inputs: np.ndarray) -> np.ndarray:
            output = actor(torch.from_numpy(inputs))
            return (output.tanh() if self.trainer.bound == "tanh" else output).numpy()

        result = evaluate(self._eval_env, act, self._eval_states)
        steps = self.trainer.steps
        figures = {"updates": self.trainer.updates, **evaluation_figures(result)}
        self.history.write("evaluation", steps, self.seconds, figures)
        self.console.print(format_evaluation(result), highlight=False)
        self.evaluations.append({"steps": steps, "seconds": self.seconds, **figures})
        self.window.restart_clock()
        best = self.evaluations[self.best_index]["successes"] if self.best is not None else -1
        if self.args.ship == "last" or result.successes >= best:
            self.best_index = len(self.evaluations) - 1
            self.best = {name: tensor.clone() for name, tensor in actor.state_dict().items()}
            self._export(self.best)

    def checkpoint(self) -> None:
        """Write everything needed to continue."""
        env = self.env
        curriculum = None if env.curriculum is None else env.curriculum.state()
        state = {
            "settings": self.args.stored(self.base.card.weights_hash),
            "resumes": self.resumes,
            "seconds": self.seconds,
            "episodes": self.window.episodes,
            "trainer": self.trainer.state(),
            "env": env.state(),
            "curriculum": curriculum,
            "evaluations": self.evaluations,
            "best": self.best,
            "best_index": self.best_index,
        }
        trainer = self.trainer
        save_replay = trainer.save_replay if isinstance(trainer, OffPolicyTrainer) else None
        save_checkpoint(self.args.run_folder, state, trainer.steps, save_replay)

    def finish(self, interrupted: bool) -> dict[str, Any]:
        """Checkpoint, last evaluation, metrics.json; returns the metrics."""
        self.log()
        self.checkpoint()
        if not interrupted:
            self.evaluate()
            self.checkpoint()
        elif self.best is None:
            self._export(self.trainer.actor.state_dict())
        evaluations = self.evaluations
        metrics = {
            "task": self.args.task,
            "algo": self.args.algo,
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
                "evaluation": self.best_index if self.best is not None else None,
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
        self.history.close()

    def _build_residual_env(
        self, num_envs: int, seed: int, pool_size: int, with_curriculum: bool
    ) -> ResidualEnv:
        args, base = self.args, self.base
        env = AssemblyEnv(
            args.task,
            num_envs,
            randomness=args.randomness,
            seed=seed,
            num_threads=args.physics_threads,
            pool_size=pool_size,
        )

        def build_input(obs: np.ndarray, action: np.ndarray) -> np.ndarray:
            return residual_input(base.task, base.normalizer, obs, action, args.relative_features)

        curriculum = Curriculum(args.curriculum, env, seed) if with_curriculum else None

        def is_hopeless(obs: np.ndarray, t: np.ndarray) -> np.ndarray:
            return is_fallen(base.task, obs, t)

        return ResidualEnv(env, base, build_input, args.alpha, seed, curriculum, is_hopeless)

    def _build_training_env(self) -> ResidualEnv:
        args = self.args
        seed = TRAINING_SEED + 1000 * args.seed + self.resumes
        offpolicy = args.algo == "offpolicy"
        env = self._build_residual_env(args.envs, seed, min(4 * args.envs, 256), offpolicy)
        env.env.episode_steps = args.episode_steps or env.env.episode_steps
        env.reset()
        half = args.alpha * 0.5 * (base_range(self.base))
        x, y, z = 1000 * half[:3]
        self.console.print(
            f"alpha {args.alpha} is {x:.1f}, {y:.1f}, {z:.1f} mm in x, y, z and at most "
            f"{half[3:9].max():.2f} in a rotation entry"
        )
        return env

    def _build_evaluation_env(self) -> None:
        args = self.args
        seed = EVALUATION_SEED + args.seed
        self._eval_env = self._build_residual_env(args.eval_episodes, seed, 1, False)
        assembly = self._eval_env.env
        assert isinstance(assembly, AssemblyEnv)
        self._eval_states = assembly.initial_states(list(range(args.eval_episodes)))

    def _build_trainer(self) -> Trainer:
        args, dim = self.args, self.base.normalizer.action_dim
        if args.algo == "ppo":
            return PPOTrainer(args.ppo, self.env, dim, args.seed, self.window)
        most = args.offpolicy.target_max * len(self.base.task.pairs)
        config = replace(args.offpolicy, target_max=most)
        return OffPolicyTrainer(config, self.env, dim, args.seed, self.window, args.parallel)

    def _load(self, saved: dict[str, Any], replay_path: Path | None) -> None:
        self.trainer.load_state(saved["trainer"])
        if isinstance(self.trainer, OffPolicyTrainer) and replay_path is not None:
            self.trainer.load_replay(replay_path)
        self.env.load_state(saved["env"])
        if self.env.curriculum is not None:
            self.env.curriculum.load_state(saved["curriculum"], Snapshot)
        self.window.resume(saved["episodes"], self.trainer.steps, self.trainer.updates)
        self.evaluations = saved["evaluations"]
        self.best, self.best_index = saved["best"], saved["best_index"]
        self.seconds_before = saved["seconds"]

    def _export(self, weights: dict[str, torch.Tensor]) -> None:
        args, base = self.args, self.base
        actor = deepcopy(self.trainer.actor)
        actor.load_state_dict(weights)
        hidden = (args.ppo if args.algo == "ppo" else args.offpolicy).hidden
        # A success that chose among several evaluations is no measurement: leave it open.
        single = len(self.evaluations) == 1 or args.ship == "last"
        last = self.evaluations[-1] if self.evaluations and single else None
        success = None
        if last is not None:
            interval = (float(last["ci95"][0]), float(last["ci95"][1]))
            success = Success(last["n"], last["successes"], interval, args.randomness)
        card = ResidualCard(
            task=args.task,
            rate_hz=base.card.rate_hz,
            observation=base.card.observation,
            action=base.card.action,
            base_hash=base.card.weights_hash,
            hidden=(hidden, hidden),
            alpha=args.alpha,
            bound=self.trainer.bound,
            relative_features=args.relative_features,
            provenance=Provenance(
                command=describe_command(),
                git_commit=describe_commit(),
                data_hash=base.card.provenance.data_hash,
                gradient_steps=self.trainer.updates,
                env_steps=self.trainer.steps,
                seed=args.seed,
                success=success,
            ),
        )
        save_residual(args.bundle, card, base.normalizer, actor)


def base_range(base: BasePolicy) -> np.ndarray:
    """(A,) range of the demonstrated actions, SI."""
    return base.normalizer.action_max - base.normalizer.action_min
