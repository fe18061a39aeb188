# SPDX-License-Identifier: Apache-2.0
"""How the off-policy learner uses the environment.

It runs beside the simulation: a thread draws batches and updates, while the
main thread plans, simulates and stores. MuJoCo's batch and torch release the interpreter lock in
their work, so that the two use two cores without a second process. A lock guards the replay;
acting reads a published copy of the actor. Which updates fall between which steps then depends
on the machine's timing: a run is statistically, not bitwise, repeatable. `parallel=False`
interleaves both in one thread and is exactly repeatable.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.demonstration_replay import SHARE, join_batches
from training.offpolicy import OffPolicyConfig, OffPolicyLearner, exploration_std
from training.replay import Replay, TransitionBatch
from training.residual_env import ResidualEnv, StepListener


class OffPolicyTrainer:
    """Replay, prefill, exploration and the learner's schedule."""

    bound = "tanh"
    has_replay = True

    def __init__(
        self,
        config: OffPolicyConfig,
        env: ResidualEnv,
        action_dim: int,
        seed: int,
        listener: StepListener,
        parallel: bool,
        demonstrations: Replay | None = None,
    ) -> None:
        self.config = config
        self.env = env
        self.listener = listener
        input_dim = env.inputs.shape[1]
        self.learner = OffPolicyLearner(config, input_dim, action_dim, seed)
        self.replay = Replay(config.capacity, env.num_envs, input_dim, action_dim)
        self.demonstrations = demonstrations
        self.steps = 0
        self.metrics: dict[str, float] = {}
        self._action_dim = action_dim
        self._rng = np.random.default_rng((seed, 1))
        self._sample_rng = np.random.default_rng((seed, 2))
        self._replay_lock = threading.Lock()
        self._update_lock = threading.Lock()
        self._prefill_episodes = 0
        self._prefill_steps = 0
        self._worker = _LearnerThread(self) if parallel else None
        self._set_curriculum(False)

    @property
    def updates(self) -> int:
        """Critic updates so far."""
        return self.learner.updates

    @property
    def actor(self) -> torch.nn.Module:
        """Network to export: the averaged actor."""
        return self.learner.ema_actor

    @property
    def prefilling(self) -> bool:
        """Still acting as base plus noise."""
        return self._prefill_episodes < self.config.prefill_episodes

    def advance(self, progress: float) -> None:
        """Take one step in every env and, without the thread, the updates that are due."""
        del progress  # constant learning rates
        inputs = self.env.inputs
        std = exploration_std(self.env.num_envs, self.config.noise)
        noise = std * self._rng.standard_normal(
            (self.env.num_envs, self._action_dim), dtype=np.float32
        )
        mean = 0.0 if self.prefilling else self.learner.act(inputs)
        residual = np.clip(mean + noise, -1, 1)
        step = self.env.step(residual)
        with self._replay_lock:
            self.replay.add(
                inputs,
                residual,
                step.reward,
                step.terminated,
                step.truncated,
                step.bootstrap,
                step.success,
            )
        self.steps += self.env.num_envs
        self.listener.record(step, residual)
        if self.prefilling:
            self._prefill_episodes += len(step.episodes)
            self._prefill_steps = self.steps
            self._set_curriculum(not self.prefilling)
        elif self._worker is not None:
            self._worker.ensure_running()
        else:
            while self.update_due():
                self.update_once()

    def update_due(self) -> bool:
        """Whether the update ratio allows another update."""
        done = self.steps - self._prefill_steps
        return not self.prefilling and self.updates < self.config.update_ratio * done

    def update_once(self) -> None:
        """Draw a batch and learn from it."""
        with self._update_lock:
            with self._replay_lock:
                batch = self._draw()
            self.metrics = dict(self.learner.update(batch))

    def state(self) -> dict[str, Any]:
        """Everything but the replay and the envs' states."""
        with self._update_lock:
            return {
                "learner": self.learner.state(),
                "rng": self._rng.bit_generator.state,
                "sample_rng": self._sample_rng.bit_generator.state,
                "steps": self.steps,
                "prefill_episodes": self._prefill_episodes,
                "prefill_steps": self._prefill_steps,
            }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.learner.load_state(state["learner"])
        self._rng.bit_generator.state = state["rng"]
        self._sample_rng.bit_generator.state = state["sample_rng"]
        self.steps = state["steps"]
        self._prefill_episodes = state["prefill_episodes"]
        self._prefill_steps = state["prefill_steps"]
        self._set_curriculum(not self.prefilling)

    def save_replay(self, path: Path) -> None:
        """Write the replay, with the running episodes closed by a bootstrap."""
        with self._replay_lock:
            self.replay.cut(self.env.inputs)
            self.replay.save(path)

    def load_replay(self, path: Path) -> None:
        """Read what `save_replay` wrote."""
        self.replay.load(path)

    def close(self) -> None:
        """Stop the learner's thread."""
        if self._worker is not None:
            self._worker.stop()

    def _draw(self) -> TransitionBatch:
        c, rng = self.config, self._sample_rng
        if self.demonstrations is None:
            return self.replay.sample(c.batch_size, c.n_step, c.gamma, c.success_fraction, rng)
        shown = round(SHARE * c.batch_size)
        own = self.replay.sample(c.batch_size - shown, c.n_step, c.gamma, c.success_fraction, rng)
        return join_batches(own, self.demonstrations.sample(shown, c.n_step, c.gamma, 0.0, rng))

    def _set_curriculum(self, active: bool) -> None:
        # Prefill from fresh starts alone: it measures the base and fills the pool of states.
        if self.env.curriculum is not None:
            self.env.curriculum.choosing = active


class _LearnerThread:
    """Runs updates whenever the update ratio allows one."""

    def __init__(self, trainer: OffPolicyTrainer) -> None:
        self._trainer = trainer
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def ensure_running(self) -> None:
        """Start the thread if needed; raises what stopped it."""
        if self._error is not None:
            raise self._error
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="learner", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread after its current update."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        # The thread count is per thread in torch's OpenMP pool.
        torch.set_num_threads(1)
        try:
            while not self._stop.is_set():
                if self._trainer.update_due():
                    self._trainer.update_once()
                else:
                    time.sleep(0.002)
        except Exception as error:  # noqa: BLE001 - handed to the main thread, which raises it
            self._error = error
