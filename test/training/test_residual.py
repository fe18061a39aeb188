# SPDX-License-Identifier: Apache-2.0
"""The residual training command on the real simulation with a tiny random base."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
import tyro
import zarr
from rich.console import Console

from resip_ros.core.errors import CheckpointMismatch, ConfigError
from resip_ros.core.observation import observation_names
from resip_ros.policy.bundle import load_base, load_residual, save_base
from resip_ros.policy.networks import ConditionalUNet, UNetSpec
from resip_ros.policy.runtime import AssemblyPolicy, residual_input
from training.dataset import build_demonstrations, read_demonstrations, write_demonstrations
from training.demonstration_replay import plan_open_loop
from training.engine import DelayedEngine, MujocoEngine
from training.env import AssemblyEnv
from training.perturbation import Perturbation
from training.residual import main
from training.residual_env import ResidualEnv
from training.residual_method import ResidualMethod
from training.residual_settings import Args
from training.rl_run import Run

from ..bundles import make_base_card


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory, near_start):
    """Base bundle with random weights."""
    card = make_base_card(UNetSpec(down_dims=(16, 32), kernel_size=3, groups=4, step_embed_dim=16))
    torch.manual_seed(0)
    network = ConditionalUNet(len(card.action), len(card.observation), card.network)
    directory = tmp_path_factory.mktemp("models") / "base"
    save_base(directory, card, near_start, network)
    return directory


def command(base, out, algo, steps, *more):
    return [
        "--base", str(base), "--out", str(out / "residual"), "--run-dir", str(out / "run"),
        "--algo", algo, "--steps", str(steps), "--envs", "2", "--num-threads", "1",
        "--eval-episodes", "1", "--ppo.rollout-steps", "4", "--ppo.epochs", "2",
        "--offpolicy.prefill-episodes", "1", "--offpolicy.capacity", "4000",
        "--offpolicy.batch-size", "16", "--offpolicy.update-ratio", "0.5",
        "--offpolicy.actor-warmup", "0", "--offpolicy.actor-delay", "1",
        "--offpolicy.n-step", "2", "--no-parallel",
        "--curriculum.snapshot-every", "1", "--curriculum.min-remaining", "0", *more,
    ]  # fmt: skip


@pytest.fixture
def short_episodes(shorten_episodes):
    shorten_episodes(12)


@pytest.mark.parametrize("algo", ["offpolicy", "ppo"])
def test_train_save_resume_train(algo, tiny_base, tmp_path, short_episodes):
    first = 40 if algo == "offpolicy" else 16
    assert main(command(tiny_base, tmp_path, algo, first)) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["env_steps"] == first
    assert metrics["updates"] >= 2
    assert metrics["last"]["n"] == 1

    base = load_base(tiny_base)
    residual = load_residual(tmp_path / "residual", base)
    assert residual.card.bound == ("tanh" if algo == "offpolicy" else "none")
    obs = np.random.default_rng(0).standard_normal((3, 58))
    obs[:, 3:9] = [1, 0, 0, 0, 1, 0]
    correction = residual.correct(obs, np.zeros((3, 10), np.float32))
    assert np.abs(correction).max() > 0

    updates = metrics["updates"]
    assert main(command(tiny_base, tmp_path, algo, 2 * first, "--resume")) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["env_steps"] == 2 * first
    assert metrics["updates"] >= updates + 2
    assert len(metrics["evaluations"]) == 2
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "run/history.jsonl").open()]
    assert kinds.count("evaluation") == 2


def test_interrupt_leaves_a_run_that_resumes(tiny_base, tmp_path, short_episodes, monkeypatch):
    original = AssemblyEnv.step
    calls = []

    def step(self, action):
        calls.append(None)
        if len(calls) == 30:
            signal.raise_signal(signal.SIGINT)
        return original(self, action)

    monkeypatch.setattr(AssemblyEnv, "step", step)
    assert main(command(tiny_base, tmp_path, "offpolicy", 10_000)) == 130
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["interrupted"]
    assert metrics["env_steps"] == 60
    load_residual(tmp_path / "residual", load_base(tiny_base))
    assert main(command(tiny_base, tmp_path, "offpolicy", 80, "--resume")) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["env_steps"] == 80


def test_an_interrupted_run_that_ships_the_last_actor_leaves_the_last_actor(
    tiny_base, tmp_path, short_episodes, monkeypatch
):
    last = ("--ship", "last")
    assert main(command(tiny_base, tmp_path, "offpolicy", 80, *last)) == 0
    residual = tmp_path / "residual"
    evaluated = (residual / "weights.safetensors").read_bytes()
    original = AssemblyEnv.step
    calls = []

    def step(self, action):
        calls.append(None)
        if len(calls) == 30:
            signal.raise_signal(signal.SIGINT)
        return original(self, action)

    monkeypatch.setattr(AssemblyEnv, "step", step)
    assert main(command(tiny_base, tmp_path, "offpolicy", 10_000, *last, "--resume")) == 130
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    provenance = load_residual(residual, load_base(tiny_base)).card.provenance
    assert provenance.env_steps == metrics["env_steps"] > 80
    assert (residual / "weights.safetensors").read_bytes() != evaluated
    # no evaluation is of this actor
    assert provenance.success is None
    assert metrics["shipped"]["evaluation"] is None


def test_a_resume_at_another_randomness_forgets_the_evaluations(
    tiny_base, tmp_path, short_episodes, capsys
):
    assert main(command(tiny_base, tmp_path, "offpolicy", 40)) == 0
    assert "from here on" not in capsys.readouterr().out
    more = ("--resume", "--randomness", "med")
    assert main(command(tiny_base, tmp_path, "offpolicy", 80, *more)) == 0
    assert "randomness low until now, med from here on" in " ".join(
        capsys.readouterr().out.split()
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [e["steps"] for e in metrics["evaluations"]] == [80]
    assert metrics["settings"]["randomness"] == "med"
    success = load_residual(tmp_path / "residual", load_base(tiny_base)).card.provenance.success
    assert success is not None
    assert success.randomness == "med"
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "run/history.jsonl").open()]
    assert kinds.count("evaluation") == 2


def test_clear_errors(tiny_base, tmp_path, capsys):
    assert main(command(tiny_base, tmp_path, "ppo", 8, "--resume")) == 1
    assert "no checkpoint" in capsys.readouterr().err
    assert main(command(tmp_path / "nothing", tmp_path, "ppo", 8)) == 1
    assert "error:" in capsys.readouterr().err
    assert main(["--base", str(tiny_base)]) == 1
    assert "--steps or --minutes" in capsys.readouterr().err
    assert main(command(tiny_base, tmp_path, "ppo", 8)) == 0
    assert main(command(tiny_base, tmp_path, "ppo", 16)) == 1
    assert "--resume" in capsys.readouterr().err
    assert main(command(tiny_base, tmp_path, "ppo", 16, "--resume", "--alpha", "0.2")) == 1
    assert "alpha is 0.2, the run has 0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free some space or choose another"),
        (BrokenPipeError(), "error: nobody reads the output; the newest checkpoint is valid\n"),
    ],
)
def test_a_full_disk_and_a_closed_output_are_told_apart(
    fault, told, tiny_base, tmp_path, capsys, monkeypatch
):
    def fail(*_):
        raise fault

    monkeypatch.setattr(Run, "train", fail)
    assert main(command(tiny_base, tmp_path, "ppo", 8)) == 1
    assert told in capsys.readouterr().err


@pytest.fixture(scope="module")
def shown(tiny_base, tmp_path_factory):
    """Dataset of one_leg in which an operator does what the base plans, and lifts the leg."""
    base = load_base(tiny_base)
    env = AssemblyEnv("one_leg", 2, num_threads=1, pool_size=2)
    env.reset()
    obs = np.repeat(env.observe()[:, None], 12, axis=1)
    leg = observation_names(base.task).index(f"{base.task.pairs[0].child}_z")
    obs[:, -1, leg] = 0.3
    generator = torch.Generator().manual_seed(0)
    actions = [
        base.normalizer.denormalize_action(plan_open_loop(base, rows, generator)) for rows in obs
    ]
    path = tmp_path_factory.mktemp("data") / "shown.zarr"
    data = build_demonstrations("one_leg", list(obs), actions, source="scripted", seed=0)
    write_demonstrations(path, data)
    return path


def test_demonstrations_enter_the_replay_and_a_resumed_run_goes_on(
    tiny_base, shown, tmp_path, short_episodes, capsys
):
    more = ("--offpolicy.demonstrations", str(shown))
    places = tmp_path / "a", tmp_path / "b"
    assert main(command(tiny_base, places[0], "offpolicy", 32, *more)) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "2 of 2 episodes; the residual can take 24 of 24 steps (100%)" in text
    shutil.copytree(*places)
    for place in places:
        assert main(command(tiny_base, place, "offpolicy", 40, "--resume", *more)) == 0
    base = load_base(tiny_base)
    hashes = [load_residual(place / "residual", base).card.weights_hash for place in places]
    assert hashes[0] == hashes[1]
    settings = json.loads((places[0] / "run" / "metrics.json").read_text())["settings"]
    assert settings["learner"]["demonstrations"] == str(shown)


def test_demonstrations_that_do_not_fit_stop_before_training(tiny_base, shown, tmp_path, capsys):
    def refused(path):
        more = ("--offpolicy.demonstrations", str(path))
        assert main(command(tiny_base, tmp_path, "offpolicy", 40, *more)) == 1
        assert not (tmp_path / "run").exists()
        return " ".join(capsys.readouterr().err.split())

    assert "no dataset at" in refused(tmp_path / "nothing.zarr")
    data = read_demonstrations(shown, "one_leg")
    failed = replace(data, state_obs=np.repeat(data.state_obs[:1], len(data.action), axis=0))
    write_demonstrations(tmp_path / "failed.zarr", failed)
    assert "none of 2 episodes ends by joining" in refused(tmp_path / "failed.zarr")
    far = replace(data, action=data.action + 5)
    write_demonstrations(tmp_path / "far.zarr", far)
    assert "cannot take any of their 24 steps; raise --alpha" in refused(tmp_path / "far.zarr")
    zarr.open_group(str(shown), mode="r+").attrs["task"] = "lamp"
    assert "give the dataset of this task" in refused(shown)


def test_zero_residual_is_bitwise_the_base_in_the_simulation(tiny_base):
    base = load_base(tiny_base)

    def build_input(obs, action):
        return residual_input(base.task, base.normalizer, obs, action, "relative")

    plain, corrected = (
        AssemblyEnv("one_leg", 2, seed=5, num_threads=1, pool_size=2) for _ in range(2)
    )
    wrapped = ResidualEnv(corrected, base, build_input, 0.1, seed=1)
    wrapped.reset()
    plain.reset()
    policy = AssemblyPolicy(base)
    generator = torch.Generator().manual_seed(1)
    for step in range(20):
        obs = plain.observe()
        if step % 8 == 0:
            chunk = base.predict_chunk(obs, generator)
        action = chunk[:, step % 8]
        expected = plain.step(policy.compute_action(action, policy.correct(obs, action)))
        outcome = wrapped.step(np.zeros((2, 10), np.float32))
        assert not outcome.terminated.any()
        assert corrected.observe().tobytes() == expected.obs.tobytes()


def test_exported_residual_corrects_as_the_env_did(tiny_base, tmp_path, short_episodes):
    """What was trained is what runs: the loaded bundle gives the training env's net action."""
    arguments = command(tiny_base, tmp_path, "offpolicy", 40)
    assert main(arguments) == 0
    args = tyro.cli(Args, args=[*arguments, "--resume"])
    console = Console(quiet=True)
    session = Run(args, ResidualMethod(args, console), console)
    session.close()
    base = load_base(tiny_base)
    residual = load_residual(tmp_path / "residual", base)
    policy = AssemblyPolicy(base, residual)
    (wrapped,) = session.envs
    obs, action = wrapped.env.observe(), wrapped.base_action
    unscaled = session.method.build_act(wrapped, session.trainer.actor)(wrapped.inputs)
    assert np.abs(unscaled).max() > 0
    live = policy.compute_action(action, policy.correct(obs, action))
    np.testing.assert_array_equal(wrapped.net_action(unscaled), live)


def test_parts_are_pushed_in_training_alone(tiny_base, tmp_path, short_episodes, monkeypatch):
    pushed: list[int] = []
    monkeypatch.setattr(Perturbation, "push", lambda *_: pushed.append(1))
    plain, args = (
        tyro.cli(Args, args=command(tiny_base, tmp_path / name, "ppo", 16, *more))
        for name, more in (("plain", []), ("perturb", ["--perturb"]))
    )
    console = Console(quiet=True)
    for settings in (plain, args):
        session = Run(settings, ResidualMethod(settings, console), console)
        session.trainer.advance(0.0)
        trained = len(pushed)
        assert (trained > 0) == settings.perturb
        session.evaluate()
        session.close()
        assert len(pushed) == trained
    # half way it may not be changed
    saved = plain.stored("")
    with pytest.raises(CheckpointMismatch, match="perturb is True, the run has False"):
        args.check_resume("", saved)


def test_controls_are_late_in_training_alone(tiny_base, tmp_path, short_episodes):
    args = tyro.cli(
        Args,
        args=command(
            tiny_base, tmp_path / "run", "ppo", 16, "--control-delay-ms", "50",
            "--physics-step-ms", "1",
        ),
    )  # fmt: skip
    console = Console(quiet=True)
    session = Run(args, ResidualMethod(args, console), console)
    (trained,) = session.envs
    assert isinstance(trained.env._engine, DelayedEngine)
    session.evaluate()
    assert type(session._eval_env.env._engine) is MujocoEngine
    assert {e.env.model.opt.timestep for e in (trained, session._eval_env)} == {0.001}
    session.close()
    with pytest.raises(ConfigError, match="control_delay_ms: got -1.0, expected 0 to 250"):
        replace(args, control_delay_ms=-1.0)
