# SPDX-License-Identifier: Apache-2.0
"""ResiP-C, PPO-C and IDQL on the real simulation with tiny random bases."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from resip_ros.core.errors import CheckpointMismatch
from resip_ros.policy.bundle import load_policy, save_base
from resip_ros.policy.mlp import MlpSpec
from resip_ros.policy.unet import UNetSpec
from resip_ros.policy.value import choose_chunk
from training.baselines import main
from training.chunk_heads import DirectChunk, PlanActor, ResidualChunk, SampledChunk
from training.env import AssemblyEnv
from training.evaluate import EvaluateSettings, run

from ..bundles import make_base_card

UNET = UNetSpec(down_dims=(16, 32), kernel_size=3, groups=4, step_embed_dim=16)
WHERE = {"resip_c": "residual", "ppo_c": "base", "idql": "value"}


@pytest.fixture(scope="module")
def bases(tmp_path_factory, near_start):
    """A sampling and a regressing base with random weights."""
    folders = {}
    for name, spec, horizon in (
        ("unet", UNET, 32),
        ("mlp", MlpSpec(width=16, blocks=1), 8),
    ):
        card = make_base_card(spec, horizon)
        torch.manual_seed(0)
        network = spec.build(len(card.action), len(card.observation), horizon)
        folders[name] = tmp_path_factory.mktemp(name) / "base"
        save_base(folders[name], card, near_start, network)
    return folders


@pytest.fixture
def short_episodes(shorten_episodes):
    shorten_episodes(12)


def command(method, bases, out, steps, *more):
    base = bases["mlp" if method == "ppo_c" else "unet"]
    return [
        "--method", method, "--base", str(base), "--out", str(base.parent / WHERE[method])
        if method != "ppo_c" else str(out / "base"), "--run-dir", str(out / "run"),
        "--steps", str(steps), "--envs", "2", "--num-threads", "1", "--eval-episodes", "1",
        "--resip-c.rollout-steps", "2", "--resip-c.epochs", "2", "--ppo-c.rollout-steps", "2",
        "--ppo-c.actor-lr", "0.01",
        "--idql.rollout-steps", "2", "--idql.epochs", "2", "--idql.samples", "3", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["resip_c", "ppo_c", "idql"])
def test_train_resume_evaluate(method, bases, tmp_path, short_episodes):
    assert main(command(method, bases, tmp_path, 64)) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["algo"], metrics["env_steps"], metrics["updates"]) == (method, 64, 2)
    assert main(command(method, bases, tmp_path, 128, "--resume")) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["env_steps"], metrics["updates"], len(metrics["evaluations"])) == (128, 4, 2)

    base = bases["mlp" if method == "ppo_c" else "unet"]
    folder = tmp_path if method == "ppo_c" else base.parent
    try:
        policy = load_policy(folder)
        assert policy.decides_per_chunk == (method != "ppo_c")
        obs = AssemblyEnv("one_leg", 1, num_threads=1, pool_size=1)
        obs.reset()
        now = obs.observe()
        plain = load_policy(base).plan(now, torch.Generator().manual_seed(0))
        changed = policy.plan(now, torch.Generator().manual_seed(0))
        assert changed.shape == plain.shape == (1, 8, 10)
        assert np.abs(changed - plain).max() > 0
        figures = run(EvaluateSettings(folder, episodes=2, envs=2, num_threads=1))
        assert figures["n"] == 2
    finally:
        if method != "ppo_c":
            (base.parent / WHERE[method]).rename(tmp_path / "trained")


def test_a_regressing_base_is_needed_to_tune_it(bases, tmp_path, capsys):
    arguments = command("ppo_c", {"mlp": bases["unet"]}, tmp_path, 64)
    assert main(arguments) == 1
    assert "unet samples one" in capsys.readouterr().err


def test_the_tuned_actor_starts_at_the_cloned_policy(bases):
    base = load_policy(bases["mlp"]).base
    obs = AssemblyEnv("one_leg", 3, num_threads=1, pool_size=3)
    obs.reset()
    now = obs.observe()
    head, actor = DirectChunk(base), PlanActor(base)
    plan = head.plan(now, torch.Generator())
    answer = actor.eval()(torch.from_numpy(head.build_input(now, plan))).detach().numpy()
    chunk = head.decode(now, plan, answer)
    np.testing.assert_array_equal(chunk, base.predict_chunk(now)[:, :8])
    assert all(parameter.requires_grad for parameter in actor.parameters())


def test_no_correction_of_a_chunk_is_bitwise_the_base(bases):
    base = load_policy(bases["unet"]).base
    head = ResidualChunk(base, 0.1, True)
    obs = np.tile(base.normalizer.obs_min, (2, 1))
    plan = head.plan(obs, torch.Generator().manual_seed(3))
    expected = base.predict_chunk(obs, torch.Generator().manual_seed(3))[:, :8]
    assert plan.tobytes() == expected.tobytes()
    assert head.decode(obs, plan, np.zeros((2, 80), np.float32)).tobytes() == plan.tobytes()


def test_the_most_valuable_chunk_is_chosen_for_each_observation(bases):
    base = load_policy(bases["unet"]).base
    low, high = base.normalizer.obs_min, base.normalizer.obs_max
    obs = np.stack([low, high])

    def first_action(inputs):  # the value is x of the chunk's first action
        return inputs[:, -80]

    chosen = choose_chunk(base, first_action, 16, obs, torch.Generator().manual_seed(0))
    samples = base.predict_chunk(np.repeat(obs, 16, axis=0), torch.Generator().manual_seed(0))
    best = samples[:, 0, 0].reshape(2, 16).max(axis=1)
    np.testing.assert_array_equal(chosen[:, 0, 0], best)
    assert len(np.unique(samples[:16, 0, 0])) > 8
    head = SampledChunk(base, 16)
    head.choose_with(first_action)
    again = head.plan(obs, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(again, chosen)


def test_what_was_trained_on_another_base_is_refused(bases, tmp_path, short_episodes):
    assert main(command("idql", bases, tmp_path, 32, "--out", str(tmp_path / "value"))) == 0
    (tmp_path / "base").symlink_to(bases["mlp"])
    with pytest.raises(CheckpointMismatch, match="was trained on base"):
        load_policy(tmp_path)
    with pytest.raises(CheckpointMismatch, match="is a value and needs its base"):
        load_policy(tmp_path / "value")
