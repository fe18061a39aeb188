# SPDX-License-Identifier: Apache-2.0
"""The list of experiments, running and resuming one of them, and the tables."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from resip_ros.core.errors import DataError, ResipError
from resip_ros.core.tasks import TASKS
from training import experiments
from training.experiment_list import (
    ABLATIONS,
    EXPERIMENTS,
    METHODS,
    SEEDED_TASK,
    SHIPPED_POLICIES,
    evaluation_steps,
    training_steps,
)
from training.experiment_report import (
    LABELS,
    PAPER_TABLE_I,
    build_report,
    build_seeded,
    columns,
)
from training.experiment_step import Budget, Experiment
from training.experiments import main, read_results, run_step, threads_option


def entry(method, task="one_leg", randomness="low", seed=0, k=30, n=40) -> dict:
    return {
        "method": method, "task": task, "randomness": randomness, "seed": seed,
        "n": n, "successes": k, "success_rate": k / n, "ci95": [0.6, 0.86],
        "failure_stages": {"insert": n - k} if n > k else {}, "budget": {"env_steps": 5000},
        "minutes": 9.5,
    }  # fmt: skip


def test_the_list_is_complete_and_has_no_name_twice():
    names = [e.name for e in EXPERIMENTS]
    assert len(names) == len(set(names))
    assert {e.method for e in EXPERIMENTS} == set(METHODS) == set(LABELS)
    assert {e.task for e in EXPERIMENTS} <= set(TASKS)
    assert len(columns()) == len(PAPER_TABLE_I["dp"]) == 9
    assert all(len(row) == 9 for row in PAPER_TABLE_I.values())


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.name)
def test_every_command_has_options_that_exist(experiment, tmp_path):
    """What is passed is what the command's settings have as fields."""
    steps = training_steps(experiment, tmp_path, Budget())
    for step in [*steps, *evaluation_steps(experiment, tmp_path, Budget()).values()]:
        if step.command[0] == "copy":
            continue
        known = HELP[step.command[0]]
        options = [word.split("=")[0] for word in step.command if word.startswith("--")]
        options.append(threads_option(step.command[0]))
        assert [option for option in options if option not in known] == []


class _Help(dict):
    """--help of a module, asked once."""

    def __missing__(self, module):
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
        )
        self[module] = done.stdout
        return done.stdout


HELP = _Help()


def test_methods_share_demonstrations_and_base(tmp_path):
    def outputs(method, seed=0):
        steps = training_steps(Experiment(method, "lamp", "med", seed), tmp_path, Budget())
        return [step.output for step in steps]

    assert outputs("residual")[:2] == outputs("dp") == outputs("idql")[:2]
    assert outputs("ppo_c")[:2] == outputs("mlp_c")
    assert outputs("dagger")[: len(outputs("residual"))] == outputs("residual")
    assert not set(outputs("dp", 4)) & set(outputs("dp"))
    other = outputs("residual", 4)
    assert other[:2] == outputs("dp"), "every seed of a learner has the same base"
    assert not set(other[2:]) & set(outputs("residual"))


def test_the_papers_learners_see_what_they_were_measured_with(tmp_path):
    for method, features in (("resip", "relative"), ("resip_c", "relative"), ("residual", None)):
        learn = training_steps(Experiment(method, "one_leg"), tmp_path, Budget())[-1].command
        assert dict(itertools.pairwise(learn)).get("--features") == features


def test_a_base_is_cloned_from_more_demonstrations(tmp_path):
    def steps(method):
        return training_steps(Experiment(method, "peg_in_hole", "low", 2), tmp_path, Budget())

    scaled = steps("dp_400")
    assert dict(itertools.pairwise(scaled[0].command))["--episodes"] == "400"
    assert scaled[0].output != steps("dp")[0].output


def test_a_residual_is_shown_the_demonstrations_of_its_base(tmp_path):
    collect, clone, _, learn = training_steps(
        Experiment("residual_demonstrations", "one_leg"), tmp_path, Budget()
    )
    data = str(collect.output)
    assert dict(itertools.pairwise(clone.command))["--data"] == data
    assert f"--offpolicy.demonstrations={data}" in learn.command


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Two experiments whose commands write what they should, as scripts of ours."""
    calls: list[list[str]] = []
    original = subprocess.run

    def run(words, **more):
        calls.append(words[2:])
        command = words[2]
        if calls[-1] in failing:
            return original([sys.executable, "-c", "raise SystemExit(3)"], check=False)
        options = dict(itertools.pairwise(words))
        if command == "training.collect":
            Path(options["--out"]).mkdir(parents=True)
        elif command == "training.bc":
            Path(options["--out"]).mkdir(parents=True, exist_ok=True)
            (Path(options["--out"]) / "card.yaml").write_text("x")
            folder = Path(options["--run-dir"])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint.pt").write_text("x")
            finished = "--resume" in words or not interrupt
            (folder / "metrics.json").write_text(
                json.dumps({"finished": finished, "seconds": 120.0})
            )
            if not finished:
                raise KeyboardInterrupt
        elif command == "training.evaluate":
            figures = entry("?") | {"steps_mean_success": 9.0}
            Path(options["--json"]).parent.mkdir(parents=True, exist_ok=True)
            Path(options["--json"]).write_text(json.dumps(figures | {"seed": 1}))
        return original([sys.executable, "-c", ""], check=False)

    failing: list[list[str]] = []
    interrupt: list[bool] = []
    monkeypatch.setattr(experiments.subprocess, "run", run)
    arguments = [
        "run", "--only", "one_leg-low-dp-s0", "--folder", str(tmp_path / "runs"), "--results",
        str(tmp_path / "results.json"), "--out", str(tmp_path / "results.md"),
    ]  # fmt: skip
    return arguments, calls, interrupt, failing


def test_an_experiment_runs_once_and_its_result_is_kept(fake, tmp_path, capsys):
    arguments, calls, _, _ = fake
    assert main(arguments) == 0
    assert [call[0].split(".")[1] for call in calls] == ["collect", "bc", "evaluate", "evaluate"]
    results = read_results(tmp_path / "results.json")
    assert set(results) == {"one_leg-low-dp-s0", "one_leg-low-dp-s0-perturbed"}
    kept = results["one_leg-low-dp-s0"]
    assert (kept["method"], kept["successes"]) == ("dp", 30)
    assert kept["budget"]["env_steps"] == Budget().env_steps
    assert kept["minutes"] == 2.0
    assert main(arguments) == 0
    assert len(calls) == 4, "everything was complete"
    assert main(["report", *arguments[3:]]) == 0
    text = (tmp_path / "results.md").read_text()
    assert "| 75 [60, 86] n=40 (54) |" in text
    capsys.readouterr()
    assert main(["list", *arguments[3:]]) == 0
    shown = capsys.readouterr().out
    assert "30 of 40" in shown
    assert shown.count("not run") == len(EXPERIMENTS) - 1


def test_an_interrupted_command_is_resumed(fake):
    arguments, calls, interrupt, _ = fake
    interrupt.append(True)
    assert main(arguments) == 130
    assert main(arguments) == 0
    assert [("--resume" in call) for call in calls if call[0] == "training.bc"] == [False, True]


def test_threads_are_passed_on_as_each_command_calls_them(fake, capsys):
    arguments, calls, _, _ = fake
    assert main([*arguments, "--threads", "1"]) == 0
    for call in calls:
        assert call[-2:] == [threads_option(call[0]), "1"]
    assert main([*arguments, "--threads", "0"]) == 1
    assert "expected at least 1" in capsys.readouterr().err


def test_a_failing_command_ends_the_run_with_its_name(fake, capsys, tmp_path):
    step = training_steps(Experiment("dp", "one_leg"), tmp_path, Budget())[0]
    failing = fake[3]
    failing.append(list(step.command))
    with pytest.raises(ResipError, match="training.collect ended with 3"):
        run_step(step, experiments.Console(quiet=True))


def test_empty_cells_say_so():
    text = build_report({})
    assert text.count("not run") > 9 * 7
    assert "| not run (98) |" in text


def test_seeds_stand_one_below_the_other():
    results = {
        Experiment("resip", "one_leg", "low", seed).name: entry("resip", seed=seed, k=20 + seed)
        for seed in (0, 1)
    }
    results["one_leg-low-resip-s0-perturbed"] = entry("resip", k=1)
    assert "| 50 [60, 86] n=40<br>52 [60, 86] n=40 (98) |" in build_report(results)


def test_what_ships_is_evaluated_as_it_is(fake, tmp_path):
    arguments, calls, _, _ = fake
    name = "one_leg-low-shipped_base-s0"
    assert main(["run", "--only", name, *arguments[3:], "--budget.episodes", "8"]) == 0
    assert [call[:2] for call in calls] == [["training.evaluate", "models/one_leg/base"]] * 2
    kept = read_results(tmp_path / "results.json")[name]
    # it was not trained by the budget; of the evaluation counts what it says
    assert kept["budget"] == {"episodes": 40}
    assert kept["minutes"] is None


def test_every_shipped_model_is_in_the_table():
    folders = list((Path(__file__).parents[2] / "models").iterdir())
    assert {path.name for path in folders} == set(SHIPPED_POLICIES)
    for path in folders:
        assert ("shipped" in SHIPPED_POLICIES[path.name]) == (path / "residual").exists()


def test_learners_stand_side_by_side_after_equally_many_env_steps():
    learners = ("ppo_c", "resip_c", "resip", "residual", *ABLATIONS)
    seeded = [Experiment(m, SEEDED_TASK, "low", seed) for m in learners for seed in (0, 1, 2)]
    assert set(seeded) <= set(EXPERIMENTS)
    results = {e.name: entry(e.method, e.task, seed=e.seed) for e in seeded[3:5]}
    rows = [line for line in build_seeded(results).splitlines() if line.startswith("| ResiP-C")]
    cells = "75 [60, 86] n=40<br>75 [60, 86] n=40 | not run | 5000<br>5000 | 9.5<br>9.5 |"
    assert [line.split(" | ", 1)[1] for line in rows] == [cells]


def test_the_drop_is_ours_minus_ours():
    results = {
        "one_leg-low-dp-s0": entry("dp", k=36),
        "one_leg-low-dp-s0-perturbed": entry("dp", k=26),
    }
    assert "| 90 [60, 86] n=40 (52) | 65 [60, 86] n=40 (32) | 25 (20) |" in build_report(results)


def test_wrong_input(tmp_path, capsys):
    assert main(["run", "--only", "nothing*"]) == 1
    assert "no experiment is called 'nothing*'" in capsys.readouterr().err
    assert main(["list", "--budget.episodes", "0"]) == 1
    assert "budget.episodes must be positive" in capsys.readouterr().err
    file = tmp_path / "results.json"
    file.write_text('{"a": 3}')
    with pytest.raises(DataError, match="not a file of results"):
        read_results(file)
    good = entry("dp")
    file.write_text(json.dumps({"good": good, "bad": {k: good[k] for k in good if k != "ci95"}}))
    with pytest.raises(DataError, match="entry bad lacks ci95; remove that entry"):
        read_results(file)
    out = tmp_path / "report.md"
    assert main(["report", "--results", str(tmp_path / "typo.json"), "--out", str(out)]) == 1
    assert "typo.json: no such file" in capsys.readouterr().err
    assert not out.exists()
