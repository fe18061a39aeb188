# SPDX-License-Identifier: Apache-2.0
"""Rounds of DAgger with a chunked student; `training.dagger` is the command.

Shape letters: n steps of an episode, D observation, A action dimension.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.results import check_folder, wilson_interval, write_json_atomically
from resip_ros.policy.bundle import load_base, load_policy, save_base
from resip_ros.policy.bundle_folder import check_place
from resip_ros.policy.card import Provenance
from resip_ros.policy.runtime import BasePolicy
from training.dataset import ChunkWindows, Demonstrations, build_demonstrations
from training.env import AssemblyEnv
from training.program import check_numbers, check_run
from training.provenance import describe_command, describe_commit
from training.residual_checkpoint import load_checkpoint, save_checkpoint
from training.rollout import PolicyRollout

_SEED = 300_000
"""Far from the seeds of evaluations and of other training."""


@dataclass(frozen=True)
class DaggerArgs:
    """Command line."""

    expert: Path
    """Policy folder or bundle that is asked."""
    student: Path
    """Base bundle to start from; it is not changed."""
    out: Path
    """Base bundle to write, after every round."""
    task: str = "one_leg"
    """Task of both."""
    run_dir: Path | None = None
    """Checkpoints and metrics.json; by default runs/dagger/TASK-sSEED."""
    rounds: int = 10
    """Rounds in all, over all resumes."""
    episodes: int = 64
    """Episodes of a round, one per simulation."""
    steps: int = 1000
    """Gradient steps of a round."""
    batch: int = 256
    """Windows per gradient step."""
    learning_rate: float = 1e-4
    """AdamW step size."""
    first_share: float = 0.95
    """Share of chunks that the expert executes in the first round."""
    last_share: float = 0.5
    """The same in the last, and linear in between."""
    min_successes: int = 2
    """A round with fewer successful episodes ends the run."""
    randomness: str = "low"
    """Spread of the initial states: low, med or high."""
    num_threads: int = 2
    """CPU threads for physics and for torch."""
    seed: int = 0
    """Of initial states, noise and batches."""
    resume: bool = False
    """Go on after the last complete round in --run-dir."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        check_numbers(self, "rounds", "episodes", "steps", "batch", "learning_rate")
        check_run(self.seed, num_threads=self.num_threads)
        if not 0 <= self.last_share <= self.first_share <= 1:
            raise ConfigError(
                "the expert's share must fall within [0, 1], got "
                f"{self.first_share} to {self.last_share}"
            )

    @property
    def run_folder(self) -> Path:
        """Where checkpoints go."""
        return self.run_dir or Path("runs") / "dagger" / f"{self.task}-s{self.seed}"

    def expert_share(self, number: int) -> float:
        """Share of chunks that the expert executes in round `number`, from 0."""
        done = number / max(1, self.rounds - 1)
        return self.first_share + done * (self.last_share - self.first_share)


@dataclass
class Labelled:
    """Episodes of a round with the expert's answers."""

    observations: list[np.ndarray]
    """(n, D) of every successful episode, SI."""
    actions: list[np.ndarray]
    """(n, A) what the expert would do, SI."""
    episodes: int
    """How many there were in all."""


class Student:
    """A base policy that learns on."""

    def __init__(self, base: BasePolicy, args: DaggerArgs) -> None:
        """Take a trainable copy of its network."""
        self.base = base
        self.network = base.copy_network()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=args.learning_rate)
        self.generator = torch.Generator().manual_seed(args.seed)
        self.updates = 0
        self._batch = args.batch

    def policy(self) -> BasePolicy:
        """The student as it is now, frozen."""
        base = self.base
        network = deepcopy(self.network)
        return BasePolicy(base.card, base.normalizer, network, "cpu", base.plan_range)

    def learn(self, data: Demonstrations, steps: int) -> float:
        """Take gradient steps on windows of all episodes; returns the mean loss.

        Raises:
            ResipError: when the loss is no longer finite.
        """
        base, everything = self.base, np.arange(data.num_episodes)
        windows = ChunkWindows.cut(data, base.normalizer, everything, base.horizon)
        inputs = torch.from_numpy(base.build_input(windows.obs))
        plans = torch.from_numpy(base.encode_plan(windows.plans, windows.obs))
        self.network.train()
        losses = []
        for _ in range(steps):
            index = torch.randint(len(inputs), (self._batch,), generator=self.generator)
            loss = self.network.compute_loss(
                inputs[index], plans[index], self.generator, base.card.sampler
            )
            if not torch.isfinite(loss):
                raise ResipError(
                    f"loss is {loss.item()} after {self.updates} updates: training diverged; "
                    "lower --learning-rate. The last complete round is kept"
                )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            self.updates += 1
        return float(np.mean(losses))


class Run:
    """Rounds of rolling out and learning."""

    def __init__(self, args: DaggerArgs) -> None:
        """Load expert and student; resumes if asked to."""
        self.args = args
        check_place(args.out)
        check_folder(args.run_folder, "--run-dir")
        self.expert = load_policy(args.expert)
        base = load_base(args.student)
        for path, policy in ((args.expert, self.expert.base), (args.student, base)):
            if policy.task.name != args.task:
                raise ConfigError(f"{path} is for task {policy.task.name}, --task is {args.task}")
        self.student = Student(base, args)
        self.data: Demonstrations | None = None
        self.history: list[dict[str, Any]] = []
        if args.resume:
            self._load()
        elif (args.run_folder / "latest").exists():
            raise ConfigError(
                f"{args.run_folder} holds an earlier run; continue it with --resume or choose "
                "another --run-dir"
            )

    def run_round(self) -> dict[str, Any]:
        """Roll out, aggregate, learn, save.

        Raises:
            ResipError: when too few episodes succeeded.
        """
        args, number = self.args, len(self.history)
        share = args.expert_share(number)
        labelled = self._roll_out(number, share)
        successes = len(labelled.actions)
        if successes < args.min_successes:
            raise ResipError(
                f"round {number}: {successes} of {labelled.episodes} episodes succeeded, at least "
                f"{args.min_successes} are needed; raise --last-share, or take a better expert or "
                "student. The last complete round is kept"
            )
        self._aggregate(labelled)
        assert self.data is not None
        loss = self.student.learn(self.data, args.steps)
        entry = {
            "round": number,
            "expert_share": round(share, 3),
            "episodes": labelled.episodes,
            "successes": successes,
            "ci95": list(wilson_interval(successes, labelled.episodes)),
            "data_episodes": self.data.num_episodes,
            "data_steps": len(self.data.action),
            "loss": loss,
            "updates": self.student.updates,
        }
        self.history.append(entry)
        self._save()
        return entry

    def _roll_out(self, number: int, share: float) -> Labelled:
        """Episodes of expert and student, with what the expert would do in every state."""
        args = self.args
        rng = np.random.default_rng((args.seed, number))
        env = AssemblyEnv(
            args.task,
            args.episodes,
            randomness=args.randomness,
            seed=_SEED + args.seed,
            num_threads=args.num_threads,
            pool_size=1,
        )
        first = number * args.episodes
        env.reset(states=env.initial_states(list(range(first, first + args.episodes))))
        expert = PolicyRollout(self.expert, args.episodes, args.seed + number)
        student = self.student.policy()
        novice = torch.Generator().manual_seed(_SEED + args.seed + number)
        steps = student.action_steps
        plan = np.zeros((args.episodes, steps, student.normalizer.action_dim))
        asked = np.zeros(args.episodes, bool)
        seen: list[list[np.ndarray]] = [[] for _ in range(args.episodes)]
        said: list[list[np.ndarray]] = [[] for _ in range(args.episodes)]
        running, won = np.ones(args.episodes, bool), np.zeros(args.episodes, bool)
        step = 0
        while running.any():
            ids = np.flatnonzero(running)
            obs = env.observe()[ids]
            answer = expert.act(obs, ids)
            if step % steps == 0:
                chunk = student.predict_chunk(obs, novice)[:, :steps]
                plan[ids] = student.normalizer.denormalize_action(chunk)
                asked[ids] = rng.random(len(ids)) < share
            action = env.hold_action()
            action[ids] = np.where(asked[ids, None], answer, plan[ids, step % steps])
            for row, slot in enumerate(ids):
                seen[slot].append(obs[row])
                said[slot].append(answer[row])
            result = env.step(action)
            won |= running & result.success
            running &= ~(result.terminated | result.truncated)
            step += 1
        kept = np.flatnonzero(won)
        return Labelled(
            [np.array(seen[i]) for i in kept],
            [np.array(said[i]) for i in kept],
            args.episodes,
        )

    def _aggregate(self, labelled: Labelled) -> None:
        observations, actions = list(labelled.observations), list(labelled.actions)
        if self.data is not None:
            spans = self.data.spans(np.arange(self.data.num_episodes))
            observations = [self.data.state_obs[a:b] for a, b in spans] + observations
            actions = [self.data.action[a:b] for a, b in spans] + actions
        self.data = build_demonstrations(
            self.args.task, observations, actions, source="dagger", seed=self.args.seed
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "task": self.args.task,
            "student": self.student.base.card.weights_hash,
            "expert": self.expert.base.card.weights_hash,
            "episodes": self.args.episodes,
            "seed": self.args.seed,
        }

    def _save(self) -> None:
        student, data = self.student, self.data
        assert data is not None
        state = {
            "settings": self._settings(),
            "history": self.history,
            "network": student.network.state_dict(),
            "optimizer": student.optimizer.state_dict(),
            "generator": student.generator.get_state(),
            "updates": student.updates,
            "data": [data.state_obs, data.action, data.episode_ends],
        }
        save_checkpoint(self.args.run_folder, state, len(self.history), None)
        provenance = Provenance(
            command=describe_command(),
            git_commit=describe_commit(),
            data_hash=data.hash,
            gradient_steps=student.updates,
            env_steps=len(data.action),
            seed=self.args.seed,
        )
        card = replace(student.base.card, provenance=provenance)
        base = student.base
        save_base(self.args.out, card, base.normalizer, student.network, base.plan_range)
        metrics = {
            **self._settings(),
            "bundle": str(self.args.out),
            "finished": len(self.history) >= self.args.rounds,
            "rounds": self.history,
        }
        write_json_atomically(self.args.run_folder / "metrics.json", metrics)

    def _load(self) -> None:
        saved, _ = load_checkpoint(self.args.run_folder)
        now = self._settings()
        for name, value in saved["settings"].items():
            if now[name] != value:
                raise ConfigError(
                    f"cannot resume {self.args.run_folder}: {name} is {now[name]!r}, the run has "
                    f"{value!r}; pass that or start anew with another --run-dir"
                )
        student = self.student
        student.network.load_state_dict(saved["network"])
        student.optimizer.load_state_dict(saved["optimizer"])
        student.generator.set_state(saved["generator"])
        student.updates, self.history = saved["updates"], saved["history"]
        obs, action, ends = (array.numpy() for array in saved["data"])
        self.data = Demonstrations(self.args.task, obs, action, ends, "dagger", self.args.seed)
