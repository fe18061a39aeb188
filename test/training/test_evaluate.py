# SPDX-License-Identifier: Apache-2.0
"""Evaluation: every episode counted, its figures and file, and what it refuses."""

import json
import re

import numpy as np
import pytest
from rich.progress import Progress

from resip_ros.core.errors import ConfigError
from resip_ros.core.results import wilson_interval
from resip_ros.policy.bundle import load_policy
from resip_ros.sim.task_scene import TICK_S, get_scene
from training import evaluate as program
from training import perturbation
from training.env import AssemblyEnv
from training.evaluate import EvaluateSettings, evaluate, main, run, summarise
from training.stages import STAGES

KEYS = {
    "task", "policy", "n", "successes", "success_rate", "ci95", "randomness", "perturb",
    "env_steps_per_s", "failure_stages",
}  # fmt: skip


@pytest.fixture
def short_episodes(shorten_episodes):
    shorten_episodes(6)


def _settings(policy, **more) -> EvaluateSettings:
    return EvaluateSettings(policy, **({"episodes": 3, "envs": 2, "num_threads": 1} | more))


def test_figures_of_three_episodes(tiny_base, tmp_path, short_episodes):
    """Three episodes on two simulations: one slot is used twice."""
    file = tmp_path / "figures.json"
    figures = run(_settings(tiny_base, json=file))
    assert json.loads(file.read_text()) == figures
    assert set(figures) >= KEYS
    assert figures["task"] == "one_leg"
    assert (figures["n"], figures["successes"], figures["success_rate"]) == (3, 0, 0.0)
    assert figures["ci95"] == list(wilson_interval(0, 3))
    assert (figures["randomness"], figures["perturb"], figures["seed"]) == ("low", False, 1)
    assert figures["engine"] == "mujoco"
    assert figures["failure_reasons"] == {"time limit": 3}
    assert figures["failure_stages"] == {"grasp": 3}
    assert figures["steps_mean_success"] is None
    assert 0 <= figures["refused_steps"] <= 18
    assert figures["env_steps_per_s"] > 0


def _run_once(tiny_base, **more):
    env = AssemblyEnv("one_leg", 2, seed=1, num_threads=1, pool_size=1)
    env.episode_steps = 6
    with Progress(disable=True) as progress:
        return evaluate(load_policy(tiny_base), env, progress=progress, **more)


def test_counts_add_up_and_repeat(tiny_base):
    first, second = (_run_once(tiny_base, episodes=5, seed=3) for _ in range(2))
    assert first == second
    assert sorted(first.episodes) == list(range(5))
    ends = list(first.episodes.values())
    assert [end.steps for end in ends] == [6] * 5
    assert first.env_steps == 30
    assert {end.reason for end in ends} == {"time limit"}
    assert {end.stage for end in ends} <= set(STAGES)


def test_every_episode_starts_with_a_plan_of_its_own(tiny_base, monkeypatch):
    policy, plans = load_policy(tiny_base), []
    original = policy.base.predict_chunk

    def predict(obs, *rest):
        plans.append(len(obs))
        return original(obs, *rest)

    monkeypatch.setattr(policy.base, "predict_chunk", predict)
    env = AssemblyEnv("one_leg", 1, seed=1, num_threads=1, pool_size=1)
    env.episode_steps = 6
    with Progress(disable=True) as progress:
        evaluate(policy, env, 4, 1, progress)
    assert plans == [1, 1, 1, 1]


def test_an_episode_keeps_its_number_in_any_slot(tiny_base, monkeypatch):
    """Two simulations: what starts third ends in the slot of the first that ended."""
    env = AssemblyEnv("one_leg", 2, seed=1, num_threads=1, pool_size=1)
    env.episode_steps = 6
    original = env.step

    def step(action):
        result = original(action)
        result.success[1] = result.terminated[1] = env.t[1] == 2
        return result

    monkeypatch.setattr(env, "step", step)
    with Progress(disable=True) as progress:
        out = evaluate(load_policy(tiny_base), env, 4, 1, progress)
    assert [out.episodes[i].success for i in range(4)] == [False, True, True, True]
    assert out.episodes[0].steps == 6


def _last_part_positions(tiny_base, envs: int) -> np.ndarray:
    """Sorted x of the top at the end of five perturbed episodes."""
    env = AssemblyEnv("one_leg", envs, seed=3, num_threads=1, pool_size=1, perturb=True)
    env.episode_steps = 3
    ends, step = [], env.step

    def record(action):
        result = step(action)
        ends.extend(result.obs[env.t == 3, 16])
        return result

    env.step = record
    with Progress(disable=True) as progress:
        evaluate(load_policy(tiny_base), env, 5, 3, progress)
    return np.sort(ends)[:5]


def test_perturbed_episode_is_the_same_on_any_simulation(tiny_base, monkeypatch):
    """The hand does not reach the parts: what moves them is impulse sequence i."""
    monkeypatch.setattr(perturbation, "CHANCE", 1.0)
    one, five = (_last_part_positions(tiny_base, envs) for envs in (1, 5))
    np.testing.assert_allclose(one, five, atol=1e-5)
    monkeypatch.setattr(perturbation, "CHANCE", 0.0)
    assert np.abs(_last_part_positions(tiny_base, 5) - five).max() > 1e-3


@pytest.mark.parametrize("perturb", [False, True])
def test_perturb_reaches_the_simulations_and_the_file(
    tiny_base, tmp_path, monkeypatch, short_episodes, perturb
):
    count = []
    monkeypatch.setattr(perturbation.Perturbation, "push", lambda *_: count.append(1))
    file = tmp_path / "figures.json"
    words = [str(tiny_base), "--episodes", "2", "--envs", "2", "--json", str(file)]
    monkeypatch.setattr("sys.argv", ["evaluate", *words, *["--perturb"] * perturb])
    main()
    assert json.loads(file.read_text())["perturb"] is perturb
    assert len(count) == 6 * perturb


@pytest.mark.parametrize(("simulation", "timestep"), [("normal", None), ("robot", TICK_S)])
def test_the_robots_physics_step_is_used(
    tiny_base, tmp_path, monkeypatch, short_episodes, simulation, timestep
):
    steps = []

    def make(*args, **more) -> AssemblyEnv:
        env = AssemblyEnv(*args, **more)
        steps.append(env.model.opt.timestep)
        return env

    monkeypatch.setattr(program, "AssemblyEnv", make)
    figures = run(_settings(tiny_base, episodes=1, simulation=simulation))
    assert figures["simulation"] == simulation
    assert steps == [timestep or get_scene("one_leg").timestep_s]


class Scripted:
    """Ends of episodes by script, through the fields that evaluation reads."""

    def __init__(self, env: AssemblyEnv, ends: list[str]) -> None:
        self.env, self.ends = env, ends

    def install(self, monkeypatch) -> None:
        original = self.env.step

        def step(action):
            result = original(action)
            for slot in np.flatnonzero(self.env.t == 2):
                end = self.ends.pop(0)
                result.success[slot] = result.terminated[slot] = end == "success"
                if end == "reflex":
                    result.failure[slot], result.terminated[slot] = "reflex", True
                    result.force[slot] = 99.0
            return result

        monkeypatch.setattr(self.env, "step", step)


def test_successes_and_failures_are_told_apart(tiny_base, monkeypatch):
    env = AssemblyEnv("one_leg", 1, seed=1, num_threads=1, pool_size=1)
    env.episode_steps = 4
    Scripted(env, ["success", "reflex", "", "success"]).install(monkeypatch)
    with Progress(disable=True) as progress:
        out = evaluate(load_policy(tiny_base), env, 4, 1, progress)
    ends = [out.episodes[i] for i in range(4)]
    assert [end.success for end in ends] == [True, False, False, True]
    assert [end.steps for end in ends] == [2, 2, 4, 2]
    assert ends[1].force == 99.0
    others = [ends[i].force for i in (0, 2, 3)]
    assert max(others) < 50.0, "a peak belongs to its own episode"
    assert [end.reason for end in ends] == ["", "reflex", "time limit", ""]
    figures = summarise(_settings(tiny_base), out, 2.0)
    assert figures["success_rate"] == 0.5
    assert figures["ci95"] == list(wilson_interval(2, 4))
    assert figures["steps_mean_success"] == 2.0
    assert figures["env_steps_per_s"] == 5.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["POLICY", "--episodes", "0"], "--episodes: got 0, expected more than 0"),
        (["POLICY", "--num-threads", "0"], "--num-threads: got 0, expected 1 to"),
        (["POLICY", "--seed", "-1"], "--seed: got -1, expected 0 to"),
        (["POLICY", "--task", "lamp"], "policy for one_leg, expected lamp"),
        (["POLICY", "--randomness", "huge"], "unknown randomness 'huge'"),
        (["nothing"], "nothing"),
    ],
)
def test_bad_input_is_one_line(tiny_base, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    words = [str(tiny_base) if word == "POLICY" else word for word in arguments]
    monkeypatch.setattr("sys.argv", ["evaluate", *words, "--json", "out.json"])
    assert main() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("training.evaluate: ")
    assert re.search(message, line)
    assert not (tmp_path / "out.json").exists()


def test_a_file_that_cannot_be_written_is_found_before_the_episodes(tiny_base, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--json .*cannot write in"):
        EvaluateSettings(tiny_base, json=tmp_path / "file" / "out.json")


def test_interrupt_writes_nothing(tiny_base, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "evaluate", interrupt)
    monkeypatch.setattr(
        "sys.argv", ["evaluate", str(tiny_base), "--envs", "1", "--json", str(tmp_path / "a.json")]
    )
    assert main() == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "a.json").exists()
