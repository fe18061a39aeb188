# SPDX-License-Identifier: Apache-2.0
"""Demonstrations as transitions of the residual, for the off-policy learner.

The frozen base plans on the recorded observations as it does in the environment: a chunk from the
observation at its first step, executed open loop. What a demonstration did beyond that is the
residual, (demonstrated - base) / alpha in normalised actions.

A step whose residual lies outside [-1, 1] in any dimension is left out, and no n-step sum crosses
it: the residual cannot act so, and a return that such a step earned would promise what cannot be
had. Its observation still counts as the state that the step before led to. Clipping instead would
pair an action with what another one did; the tolerance of an insertion is smaller than that.

Shape letters: n steps of an episode, P pairs of the task, D residual input, A action dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.observation import body_pose
from resip_ros.core.stages import STAGES, reached_stage
from resip_ros.core.tasks import TaskSpec, pair_assembled
from resip_ros.policy.runtime import BasePolicy
from training.dataset import Demonstrations
from training.replay import Replay, TransitionBatch
from training.residual_env import InputBuilder, Planner

SHARE = 0.5
"""Share of each batch drawn from demonstrations, as in arXiv 2302.02948 and 2509.19301."""


@dataclass(frozen=True)
class ResidualEpisode:
    """A demonstration as the residual's environment would have told it."""

    inputs: np.ndarray
    """(n, D) float32."""
    residuals: np.ndarray
    """(n, A) float32, unscaled and unclipped."""
    rewards: np.ndarray
    """(n,) float32: 1 for each pair, at the step that joined it; the last step terminates."""

    @property
    def kept(self) -> np.ndarray:
        """(n,) bool: steps that the residual can take."""
        return np.asarray((np.abs(self.residuals) <= 1).all(axis=1))


def compute_rewards(task: TaskSpec, obs: np.ndarray) -> np.ndarray | None:
    """Rewards of an episode up to the step that joined the last pair; None if there is none.

    A dataset does not say when parts were joined. Observations do, except what the last recorded
    action led to; it is taken to have joined what was not joined before. That is so for every
    successful episode, which ends with its success. To notice others, all pairs before the last
    must be joined by then, and the last one's child lifted or more.

    Args:
        task: Gives the pairs.
        obs: (n, Do) raw, SI.

    Returns:
        (m,) with m <= n.
    """
    obs = np.asarray(obs, np.float64)
    joined = np.stack(
        [
            pair_assembled(
                pair, *body_pose(task, obs, pair.parent), *body_pose(task, obs, pair.child)
            )
            for pair in task.pairs
        ],
        axis=1,
    )
    nearly = len(STAGES) * (len(task.pairs) - 1) + 1
    if not joined[1:].all(axis=1).any() and reached_stage(task, obs[-1]) < nearly:
        return None
    after = np.concatenate([joined[1:], np.ones((1, len(task.pairs)), bool)])
    steps = after.argmax(axis=0)
    rewards = np.zeros(steps.max() + 1, np.float32)
    np.add.at(rewards, steps, 1)
    return rewards


def plan_open_loop(base: Planner, obs: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """(n, A) normalised actions of the base along recorded observations (n, Do)."""
    first = obs[:: base.action_steps]
    chunks = base.predict_chunk(first, generator)[:, : base.action_steps]
    return chunks.reshape(-1, chunks.shape[-1])[: len(obs)]


def residual_episode(
    base: Planner,
    build_input: InputBuilder,
    alpha: float,
    steps: tuple[np.ndarray, np.ndarray, np.ndarray],
    generator: torch.Generator,
) -> ResidualEpisode:
    """An episode of observations (n, Do) and actions (n, A), both raw, and rewards (n,)."""
    obs, action, rewards = steps
    planned = plan_open_loop(base, obs, generator)
    residuals = (base.normalizer.normalize_action(action) - planned) / alpha
    return ResidualEpisode(build_input(obs, planned), residuals.astype(np.float32), rewards)


def residual_episodes(
    data: Demonstrations, base: BasePolicy, build_input: InputBuilder, alpha: float, seed: int
) -> list[ResidualEpisode]:
    """The successful episodes of a dataset; the seed is that of the base's noise.

    Raises:
        DataError: when none succeeded.
    """
    generator = torch.Generator().manual_seed(seed)
    episodes = []
    for start, end in data.spans(np.arange(data.num_episodes)):
        rewards = compute_rewards(base.task, data.state_obs[start:end])
        if rewards is not None:
            rows = slice(start, start + len(rewards))
            steps = data.state_obs[rows], data.action[rows], rewards
            episodes.append(residual_episode(base, build_input, alpha, steps, generator))
    if not episodes:
        raise DataError(
            f"demonstrations of {data.task}: none of {data.num_episodes} episodes ends by joining "
            "the last parts; give the successful ones that the base was cloned from"
        )
    return episodes


def fill_replay(episodes: list[ResidualEpisode], n_step: int) -> Replay:
    """Put the steps that the residual can take into a replay of their own.

    Raises:
        ConfigError: when it can take none.
    """
    steps = sum(len(episode.rewards) for episode in episodes)
    if not any(episode.kept.any() for episode in episodes):
        raise ConfigError(
            f"demonstrations: the residual cannot take any of their {steps} steps; raise --alpha "
            "or give the dataset that the base was cloned from"
        )
    dims = episodes[0].inputs.shape[1], episodes[0].residuals.shape[1]
    replay = Replay(max(2 * steps + n_step, 16), 1, *dims)
    for episode in episodes:
        last, kept = len(episode.rewards) - 1, episode.kept
        for step in np.flatnonzero(kept):
            ends = step == last
            cut = not ends and not kept[step + 1]
            follows = episode.inputs[min(step + 1, last)]
            replay.add(
                episode.inputs[None, step],
                episode.residuals[None, step],
                episode.rewards[None, step],
                terminated=np.array([ends]),
                truncated=np.array([cut]),
                bootstrap=follows[None],
                success=np.array([ends]),
            )
    replay.seal(n_step)
    return replay


def describe(episodes: list[ResidualEpisode], data: Demonstrations) -> str:
    """One line for a person: how much of the demonstrations the residual can learn from."""
    steps = sum(len(episode.rewards) for episode in episodes)
    kept = sum(int(episode.kept.sum()) for episode in episodes)
    ends = sum(bool(episode.kept[-1]) for episode in episodes)
    return (
        f"demonstrations: {len(episodes)} of {data.num_episodes} episodes; the residual can take "
        f"{kept} of {steps} steps ({kept / steps:.0%}), among them the last of {ends} episodes"
    )


def join_batches(first: TransitionBatch, second: TransitionBatch) -> TransitionBatch:
    """Both batches as one."""
    names = TransitionBatch.__dataclass_fields__
    return TransitionBatch(
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    )
