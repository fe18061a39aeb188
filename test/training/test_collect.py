# SPDX-License-Identifier: Apache-2.0
"""Collection: every attempt counted, successes recorded as they were performed."""

import dataclasses
import json

import numpy as np
import pytest
import zarr
from rich.progress import Progress

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.policy.bundle import load_policy
from training import collect_crew, perturbation
from training.collect import CollectSettings, collect, run
from training.collect_crew import Operators
from training.env import AssemblyEnv


class Resting:
    """Stands in for the operator: holds still and gives up after ``patience`` steps."""

    phase = "rest"
    patience = 3

    def __init__(self) -> None:
        self.steps = 0

    @property
    def gave_up(self) -> bool:
        return self.steps >= self.patience

    def act(self, obs: np.ndarray) -> np.ndarray:
        self.steps += 1
        return np.concatenate([obs[:9], [-1.0]])


@pytest.fixture
def resting(monkeypatch):
    made = []

    def make(task, rng):
        made.append((task, int(rng.integers(1 << 30))))
        return Resting()

    monkeypatch.setattr(collect_crew, "make_demonstrator", make)
    return made


@pytest.fixture
def successful(monkeypatch):
    """Every second attempt of resting operators counts as a success at its third step."""
    original, ended = AssemblyEnv.step, []

    def step(self, action):
        result = original(self, action)
        for slot in np.flatnonzero(self.t == 3):
            ended.append(slot)
            result.success[slot] = result.terminated[slot] = len(ended) % 2 == 0
        return result

    monkeypatch.setattr(AssemblyEnv, "step", step)


def _settings(tmp_path, **more) -> CollectSettings:
    base = {"episodes": 2, "envs": 2, "num_threads": 1, "seed": 6}
    return CollectSettings("one_leg", tmp_path / "demos.zarr", **(base | more))


def test_all_attempts_are_counted_and_nothing_is_written(tmp_path, resting):
    with pytest.raises(ResipError, match=r"no attempt of 5 succeeded.*gave up in rest.*nothing"):
        run(_settings(tmp_path, max_attempts=5))
    assert len(resting) == 5
    assert len(set(resting)) == 5, "every attempt has an operator of its own"
    assert not (tmp_path / "demos.zarr").exists()


def test_attempts_default_to_four_times_the_episodes(tmp_path, resting):
    with pytest.raises(ResipError, match="no attempt of 4 succeeded"):
        run(_settings(tmp_path, episodes=1))


def test_time_limit_is_told_from_giving_up(tmp_path, resting, monkeypatch):
    env = AssemblyEnv("one_leg", 1, seed=6, num_threads=1, pool_size=1)
    env.episode_steps = 2
    with Progress(disable=True) as progress:
        out = collect(
            _settings(tmp_path, envs=1, max_attempts=2), env, Operators("one_leg", 6), progress
        )
    assert (out.attempts, out.actions, out.failures) == (2, [], {"time limit in rest": 2})


def test_successes_are_recorded_as_performed(tmp_path, resting, successful, capsys):
    settings = _settings(tmp_path, episodes=3)
    run(settings)
    data = zarr.open_group(settings.out, mode="r")
    assert data["episode_ends"][:].tolist() == [3, 6, 9]
    assert data["state_obs"].shape == (9, 58)
    assert data["action"].shape == (9, 10)
    assert dict(data.attrs)["seed"] == 6
    # a resting operator asks for the pose that it saw: the pair belongs together
    np.testing.assert_array_equal(data["action"][:, :9], data["state_obs"][:, :9])
    env = AssemblyEnv("one_leg", 1, seed=6, num_threads=1, pool_size=1)
    starts = data["state_obs"][::3]
    known = []
    for number in range(6):
        env.reset(None, env.initial_states([number]))
        known.append(env.observe()[0].astype(np.float32))
    for start in starts:
        assert min(np.abs(start - obs).max() for obs in known) < 1e-6
    text = capsys.readouterr().out
    summary = json.loads(text[text.index("{") :])
    assert summary["episodes"] == 3
    assert summary["attempts"] == len(resting)
    assert summary["success_rate"] == pytest.approx(3 / len(resting))
    assert summary["failures"] == {"gave up in rest": len(resting) - 3}


def test_parts_are_pushed_as_the_seed_says(tmp_path, resting, successful, monkeypatch):
    monkeypatch.setattr(perturbation, "CHANCE", 1.0)

    def collect_one(name: str, **more) -> tuple[np.ndarray, str]:
        settings = dataclasses.replace(
            _settings(tmp_path, episodes=1, **more), out=tmp_path / name
        )
        run(settings)
        data = zarr.open_group(settings.out, mode="r")
        return data["state_obs"][:], str(dict(data.attrs)["source"])

    (alone, of), (one, pushed_of), (two, _) = (
        collect_one("alone.zarr"),
        collect_one("one.zarr", perturb=True),
        collect_one("two.zarr", perturb=True, num_threads=2),
    )
    parts = slice(16, None)
    assert np.abs(alone[-1, parts] - alone[0, parts]).max() < 1e-3
    assert np.abs(one[-1, parts] - one[0, parts]).max() > 1e-2
    np.testing.assert_array_equal(one, two)
    assert (of, pushed_of) == ("scripted", "scripted, parts pushed")


def test_demonstrations_with_the_contacts_of_the_simulated_robot(
    tmp_path, resting, successful, monkeypatch
):
    steps = []
    simulate = AssemblyEnv._simulate

    def note(self, joints, fingers):
        steps.append(self.model.opt.timestep)
        return simulate(self, joints, fingers)

    monkeypatch.setattr(AssemblyEnv, "_simulate", note)
    settings = _settings(tmp_path, episodes=1, simulation="robot")
    run(settings)
    assert set(steps) == {0.001}
    assert dict(zarr.open_group(settings.out, mode="r").attrs)["source"] == "scripted in robot"


def test_too_few_successes_are_kept_and_reported(tmp_path, resting, successful):
    with pytest.raises(ResipError, match="only 1 of 2 episodes succeeded in 2 attempts"):
        run(_settings(tmp_path, max_attempts=2))
    assert zarr.open_group(tmp_path / "demos.zarr", mode="r")["episode_ends"][:].tolist() == [3]


def test_a_policy_takes_the_operators_place(tmp_path, tiny_base, successful, monkeypatch, capsys):
    monkeypatch.setattr(collect_crew, "make_demonstrator", None)
    settings = _settings(tmp_path, policy=tiny_base)
    run(settings)
    data = zarr.open_group(settings.out, mode="r")
    assert data["episode_ends"][:].tolist() == [3, 6]
    card = load_policy(tiny_base).base.card
    assert dict(data.attrs)["source"] == f"policy {card.weights_hash[:12]}"
    assert np.ptp(data["action"][:], axis=0).max() > 0.1
    summary = capsys.readouterr().out
    assert f"policy {card.weights_hash[:12]}" in summary


def test_a_policy_of_another_task_is_refused(tmp_path, tiny_base):
    settings = CollectSettings("lamp", tmp_path / "x.zarr", policy=tiny_base, envs=1)
    with pytest.raises(ConfigError, match="policy for one_leg, expected lamp"):
        run(settings)


def test_wrong_settings(tmp_path):
    for change, reason in (
        ({"episodes": 0}, "--episodes: got 0, expected more than 0"),
        ({"envs": 0}, "--envs: got 0"),
        ({"num_threads": 0}, "--num-threads: got 0, expected 1 to"),
        ({"seed": -1}, "--seed: got -1"),
        ({"max_attempts": -1}, "--max-attempts: got -1, expected 0 or more"),
        ({"teacher_share": 0.3}, "--teacher-share needs --student"),
    ):
        with pytest.raises(ConfigError, match=reason):
            run(_settings(tmp_path, **change))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--out .*cannot write in"):
        run(dataclasses.replace(_settings(tmp_path), out=tmp_path / "file" / "x.zarr"))
    (tmp_path / "demos.zarr").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        run(_settings(tmp_path))
