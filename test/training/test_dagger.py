# SPDX-License-Identifier: Apache-2.0
"""DAgger on the real simulation: whose actions, whose labels, what is kept, and resuming."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from resip_ros.core.errors import ConfigError
from resip_ros.policy.bundle import load_base, load_policy
from training import dagger_run
from training.dagger import main
from training.dagger_run import DaggerArgs, Run
from training.env import AssemblyEnv
from training.rollout import PolicyRollout

LENGTH = 10


@pytest.fixture
def half_succeed(monkeypatch):
    """Episodes of 10 steps; those in even simulations end in success."""
    make, step = AssemblyEnv.__init__, AssemblyEnv.step

    def build(self, *args, **kwargs):
        make(self, *args, **kwargs)
        self.episode_steps = LENGTH

    def advance(self, action):
        result = step(self, action)
        ends = (self.t == LENGTH) & (np.arange(self.num_envs) % 2 == 0)
        result.success[ends] = result.terminated[ends] = True
        result.truncated[ends] = False
        return result

    monkeypatch.setattr(AssemblyEnv, "__init__", build)
    monkeypatch.setattr(AssemblyEnv, "step", advance)


@pytest.fixture
def answers(monkeypatch):
    """What the expert said: (observations, actions) of every step."""
    said = []
    act = PolicyRollout.act

    def listen(self, obs, ids):
        answer = act(self, obs, ids)
        said.append((obs.copy(), answer.copy()))
        return answer

    monkeypatch.setattr(PolicyRollout, "act", listen)
    return said


def settings(tiny_base, folder, **more) -> DaggerArgs:
    values = {
        "rounds": 2, "episodes": 4, "steps": 2, "batch": 8, "num_threads": 1,
        "run_dir": folder / "run",
    }  # fmt: skip
    return DaggerArgs(tiny_base, tiny_base / "base", folder / "base", **(values | more))


def test_successes_are_labelled_by_the_expert(tiny_base, tmp_path, half_succeed, answers):
    session = Run(settings(tiny_base, tmp_path, first_share=0.0, last_share=0.0))
    entry = session.run_round()
    assert (entry["episodes"], entry["successes"], entry["data_steps"]) == (4, 2, 2 * LENGTH)
    assert session.data is not None
    for episode, slot in enumerate((0, 2)):
        rows = slice(episode * LENGTH, (episode + 1) * LENGTH)
        obs = np.array([obs[slot] for obs, _ in answers], np.float32)
        labels = np.array([answer[slot] for _, answer in answers], np.float32)
        np.testing.assert_array_equal(session.data.state_obs[rows], obs)
        np.testing.assert_array_equal(session.data.action[rows], labels)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_who_acts_follows_the_share(
    tiny_base, tmp_path, half_succeed, answers, monkeypatch, share
):
    done, step = [], AssemblyEnv.step

    def watch(self, action):
        done.append(action.copy())
        return step(self, action)

    monkeypatch.setattr(AssemblyEnv, "step", watch)
    Run(settings(tiny_base, tmp_path, first_share=share, last_share=share)).run_round()
    same = [np.array_equal(a, said) for a, (_, said) in zip(done, answers, strict=True)]
    assert all(same) if share else not any(same)


def test_the_student_changes_and_keeps_its_normaliser(tiny_base, tmp_path, half_succeed):
    session = Run(settings(tiny_base, tmp_path))
    session.run_round()
    before, after = load_base(tiny_base / "base"), load_base(tmp_path / "base")
    assert after.normalizer.hash == before.normalizer.hash
    assert after.card.weights_hash != before.card.weights_hash
    assert (after.card.provenance.gradient_steps, after.card.provenance.env_steps) == (2, 20)


def test_resume_equals_a_run_without_a_pause(tiny_base, tmp_path, half_succeed):
    straight_run = Run(settings(tiny_base, tmp_path / "a"))
    for _ in range(2):
        straight_run.run_round()
    first = Run(settings(tiny_base, tmp_path / "b"))
    first.run_round()
    torch.randn(7)
    again = Run(settings(tiny_base, tmp_path / "b", resume=True))
    again.run_round()
    assert again.history == straight_run.history
    assert again.history[-1]["data_episodes"] == 4
    for name, tensor in straight_run.student.network.state_dict().items():
        assert torch.equal(tensor, again.student.network.state_dict()[name])


def test_share_falls_linearly(tiny_base, tmp_path):
    args = settings(tiny_base, tmp_path, rounds=10)
    assert args.expert_share(0) == 0.95
    assert args.expert_share(9) == pytest.approx(0.5)
    assert args.expert_share(3) == pytest.approx(0.8)


def test_too_few_successes_end_the_run(tiny_base, tmp_path, half_succeed, capsys):
    arguments = [
        "--expert", str(tiny_base), "--student", str(tiny_base / "base"), "--out",
        str(tmp_path / "base"), "--run-dir", str(tmp_path / "run"), "--episodes", "4",
        "--steps", "1", "--num-threads", "1", "--rounds", "1",
    ]  # fmt: skip
    assert main([*arguments, "--min-successes", "3"]) == 1
    assert "round 0: 2 of 4 episodes succeeded, at least 3" in capsys.readouterr().err
    assert not (tmp_path / "base").exists()
    assert main(arguments) == 0
    assert len(json.loads((tmp_path / "run/metrics.json").read_text())["rounds"]) == 1
    assert main(arguments) == 1
    assert "--resume" in capsys.readouterr().err
    assert load_policy(tmp_path / "base").task.name == "one_leg"


def test_wrong_settings(tiny_base, tmp_path, half_succeed):
    with pytest.raises(ConfigError, match="--rounds: got 0, expected more than 0"):
        settings(tiny_base, tmp_path, rounds=0)
    with pytest.raises(ConfigError, match="share must fall"):
        settings(tiny_base, tmp_path, first_share=0.2)
    with pytest.raises(ConfigError, match="--task is lamp"):
        Run(settings(tiny_base, tmp_path, task="lamp"))
    Run(settings(tiny_base, tmp_path)).run_round()
    with pytest.raises(ConfigError, match="seed is 1, the run has 0"):
        Run(settings(tiny_base, tmp_path, resume=True, seed=1))


def test_a_loss_that_is_not_finite_stops(tiny_base, tmp_path, half_succeed, monkeypatch):
    session = Run(settings(tiny_base, tmp_path))
    monkeypatch.setattr(
        type(session.student.network), "compute_loss", lambda *_: torch.tensor(float("nan"))
    )
    with pytest.raises(dagger_run.ResipError, match="loss is nan after 0 updates"):
        session.run_round()
    assert not (tmp_path / "base").exists()
