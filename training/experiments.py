# SPDX-License-Identifier: Apache-2.0
"""The paper's experiments as one list: run them, keep their results, draw the tables.

    python -m training.experiments list
    python -m training.experiments run --only one_leg-low-resip-s0
    python -m training.experiments report

An experiment is a method on a task, at a randomness, with a seed: a chain of this package's own
commands (demonstrations, cloning, learning, evaluation) that is skipped as far as its outputs
exist and resumed where it was interrupted; experiments share what they have in common. Every
evaluation lands in docs/results.json, from which `report` writes docs/results.md; a cell that was
not run says so. `--budget.*` sets how long everything takes; it is kept with the result.
"""

from __future__ import annotations

import fnmatch
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.core.results import write_bytes_atomically, write_json_atomically
from training.experiment_list import EXPERIMENTS, evaluation_steps, training_steps
from training.experiment_report import build_report
from training.experiment_step import COPY, Budget, Experiment, Step
from training.program import run_with_settings

_FIGURES = ("n", "successes", "success_rate", "ci95", "failure_stages", "steps_mean_success")
"""Of an evaluation."""
_KEPT = ("seed", "n", "successes", "success_rate", "ci95", "failure_stages", "budget")
"""What every result has."""


@dataclass(frozen=True)
class Settings:
    """Command line."""

    what: Annotated[Literal["list", "run", "report"], tyro.conf.Positional]
    """list: what there is and what has a result; run: what is missing; report: the tables."""
    only: str = "*"
    """Experiments by name, with * and ?."""
    folder: Path = Path("runs/experiments")
    """Data, bundles and checkpoints."""
    results: Path = Path("docs/results.json")
    """Results of all experiments."""
    out: Path = Path("docs/results.md")
    """What `report` writes."""
    threads: int | None = None
    """CPU threads of every command; their own default if None. Less where others work too."""
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        """Check what would fail late."""
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads: got {self.threads}, expected at least 1")


def chosen(settings: Settings) -> list[Experiment]:
    """Experiments that were asked for.

    Raises:
        ConfigError: when no name fits.
    """
    found = [e for e in EXPERIMENTS if fnmatch.fnmatch(e.name, settings.only)]
    if not found:
        raise ConfigError(
            f"no experiment is called {settings.only!r}; names: {EXPERIMENTS[0].name} and the "
            "others of `python -m training.experiments list`"
        )
    return found


def read_results(path: Path) -> dict[str, Any]:
    """Results by experiment and way of evaluation; empty when there is no file.

    Raises:
        DataError: when the file is none of ours.
    """
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text())
        lacking = [(key, name) for key in results for name in _KEPT if name not in results[key]]
        kept = {key: {**entry, "n": int(entry["n"])} for key, entry in results.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a file of results: {error}; move it away") from error
    if lacking:
        raise DataError(
            f"{path}: entry {lacking[0][0]} lacks {lacking[0][1]}; remove that entry, run it again"
        )
    return kept


def threads_option(module: str) -> str:
    """What a command calls its number of threads, or of processes with one thread each."""
    names = {"training.bc": "--threads", "training.render": "--processes"}
    return names.get(module, "--num-threads")


def run_step(step: Step, console: Console, threads: int | None = None) -> None:
    """Run one command, unless its output is complete.

    Args:
        step: The command.
        console: Where it is told.
        threads: As in Settings; no result depends on it but a clone's last bits.

    Raises:
        ResipError: when it fails.
    """
    if step.complete():
        return
    if step.command[0] == COPY:
        shutil.copytree(step.command[1], step.command[2], dirs_exist_ok=True)
        return
    words = ["-m", *step.command, *(["--resume"] if step.interrupted() else [])]
    if threads is not None:
        words += [threads_option(step.command[0]), str(threads)]
    console.print("python " + " ".join(words), highlight=False)
    done = subprocess.run([sys.executable, *words], check=False)
    if done.returncode == -2 or done.returncode == 130:
        raise KeyboardInterrupt
    if done.returncode != 0 or not step.complete():
        raise ResipError(
            f"{step.command[0]} ended with {done.returncode}; mend what it says, then run the "
            "experiments again: what is complete is kept"
        )


def run_experiment(experiment: Experiment, settings: Settings, console: Console) -> None:
    """Train, evaluate and keep the results."""
    budget, folder = settings.budget, settings.folder
    training = training_steps(experiment, folder, budget)
    for step in training:
        run_step(step, console, settings.threads)
    took = asdict(budget) if training else {"episodes": budget.episodes}
    for key, step in evaluation_steps(experiment, folder, budget).items():
        run_step(step, console, settings.threads)
        figures = json.loads(step.output.read_text())
        results = read_results(settings.results)
        results[key] = {
            "experiment": experiment.name,
            **asdict(experiment),
            **{name: figures[name] for name in _FIGURES},
            "evaluation_seed": figures["seed"],
            # an evaluation that was there already may have had another number
            "budget": took | {"episodes": figures["n"]},
            "minutes": _minutes(training),
            "command": "python -m " + " ".join(step.command),
        }
        write_json_atomically(settings.results, dict(sorted(results.items())))


def _minutes(training: list[Step]) -> float | None:
    """Wall minutes of the last command, in all its resumes, where it kept them."""
    metrics = training[-1].output if training else None
    if metrics is None or metrics.name != "metrics.json":
        return None
    seconds = json.loads(metrics.read_text()).get("seconds")
    return None if seconds is None else round(seconds / 60, 1)


def show_list(settings: Settings, console: Console) -> None:
    """One line an experiment."""
    results = read_results(settings.results)
    for experiment in chosen(settings):
        entry = results.get(experiment.name)
        text = "not run"
        if entry is not None:
            low, high = entry["ci95"]
            rate = f"{entry['success_rate']:.1%} [{low:.0%}, {high:.0%}]"
            text = f"{entry['successes']} of {entry['n']} = {rate}"
        console.print(f"{experiment.name:<36} {text}", highlight=False)


def run(settings: Settings) -> None:
    """Do what was asked."""
    console = Console(soft_wrap=True)
    if settings.what == "list":
        show_list(settings, console)
    elif settings.what == "report":
        if not settings.results.exists():
            raise ConfigError(f"--results {settings.results}: no such file; run experiments first")
        text = build_report(read_results(settings.results))
        write_bytes_atomically(settings.out, text.encode())
        console.print(f"wrote {settings.out}")
    else:
        for experiment in chosen(settings):
            console.print(f"[bold]{experiment.name}")
            run_experiment(experiment, settings, console)
        show_list(settings, console)


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_with_settings(
        "training.experiments",
        Settings,
        run,
        __doc__,
        argv,
        interrupted="interrupted: run it again to go on where it was",
    )


if __name__ == "__main__":
    sys.exit(main())
