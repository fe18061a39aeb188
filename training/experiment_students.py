# SPDX-License-Identifier: Apache-2.0
"""Students of the policies that come with the package (ResiP §II-D, Table II, Figs. 10, 11).

The teacher's episodes are cloned as states, or drawn and cloned as pictures; "real" episodes are
those of scripted operators in the stand-in for a real bench (training.real_standin).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from training.experiment_step import Budget, Experiment, Recipe, Step

REAL_EPISODES = (10, 40)
"""Of the stand-in, as in Table II."""
TAUGHT_EPISODES = (50, 1000, 4000)
"""Of the teacher, beside the budget's (paper: Fig. 5)."""
_PARTS = 8
"""The teacher's episodes are kept in so many parts, which an interruption does not lose."""
_HORIZON = 2
"""Steps of a plan that a student executes: more often planned, it inserts more
(docs/experiments.md, 16)."""


def teach(e: Experiment, folder: Path, budget: Budget, episodes: int | None = None) -> Step:
    """Successful episodes of the shipped policy, by default as many as the budget says."""
    command = (
        "training.collect", e.task, "--policy", str(Path("models") / e.task), "--episodes",
        str(episodes or budget.lessons), "--parts", str(_PARTS), "--seed", str(50 + e.seed),
        "--randomness", e.randomness,
    )  # fmt: skip
    return _into(folder, e, "lessons" if episodes is None else f"lessons-{episodes}", command)


def teach_in_standin(e: Experiment, folder: Path) -> Step:
    """Scripted demonstrations in the stand-in."""
    command = (
        "training.collect", e.task, "--simulation", "standin", "--episodes",
        str(max(REAL_EPISODES)), "--seed", str(100 + e.seed), "--randomness", e.randomness,
    )  # fmt: skip
    return _into(folder, e, "real", command)


def _draw(e: Experiment, folder: Path, what: str, data: Step, look: str, episodes: int) -> Step:
    """The first episodes as pictures."""
    command = (
        "training.render", str(data.output), "--look", look, "--episodes", str(episodes),
        "--seed", str(e.seed),
    )  # fmt: skip
    return _into(folder, e, what, command)


def _into(folder: Path, e: Experiment, what: str, command: tuple[str, ...]) -> Step:
    """A command that writes a dataset, one for all students of a seed."""
    out = folder / "data" / f"{e.task}-{e.randomness}-{what}-s{e.seed}.zarr"
    parts = out.with_name(f".{out.name}.parts")
    return Step((*command, "--out", str(out)), out, out if what.endswith("pictures") else parts)


def _clone(e: Experiment, folder: Path, *options: str) -> Step:
    run = folder / e.name / "run"
    command = (
        "training.bc", "--task", e.task, "--seed", str(e.seed),
        "--action-horizon", str(_HORIZON), "--out", str(e.policy(folder) / "base"), "--run-dir",
        str(run), *options,
    )  # fmt: skip
    return Step(command, run / "metrics.json", run / "checkpoint.pt")


def _state_student(episodes: int | None = None) -> Recipe:
    """It sees what the teacher sees, in so many of its episodes."""

    def build(e: Experiment, folder: Path, budget: Budget) -> list[Step]:
        lessons = teach(e, folder, budget, episodes)
        data = "--data", str(lessons.output)
        options = "--steps", str(budget.bc_steps), "--batch", str(budget.bc_batch)
        return [lessons, _clone(e, folder, *data, *options)]

    return build


def _image_student(real: int, synthetic: bool) -> Recipe:
    """It sees two cameras: pictures of the teacher, of so many real episodes, or of both."""

    def build(e: Experiment, folder: Path, budget: Budget) -> list[Step]:
        options = [
            "--observation", "images", "--steps", str(budget.student_steps), "--batch",
            str(budget.student_batch),
        ]  # fmt: skip
        steps = []
        if synthetic:
            # its plan network goes on from that of the student that sees the state
            seeing = dataclasses.replace(e, method="state_student")
            lessons, state_student = _state_student()(seeing, folder, budget)
            pictures = _draw(e, folder, "pictures", lessons, "random", budget.drawn)
            steps += [lessons, state_student, pictures]
            options += ["--data", str(pictures.output)]
            options += ["--state-policy", str(seeing.policy(folder) / "base")]
        if real:
            shown = teach_in_standin(e, folder)
            pictures = _draw(e, folder, f"real-{real}-pictures", shown, "standin", real)
            steps += [shown, pictures]
            options += ["--real", str(pictures.output)]
        return [*steps, _clone(e, folder, *options)]

    return build


STUDENTS: dict[str, Recipe] = {
    "state_student": _state_student(),
    "image_student": _image_student(0, synthetic=True),
    **{f"real_{n}": _image_student(n, synthetic=False) for n in REAL_EPISODES},
    **{f"real_{n}_sim": _image_student(n, synthetic=True) for n in REAL_EPISODES},
}
"""By method; those that are called real_N see N real episodes."""
SCALED_STUDENTS: dict[str, Recipe] = {
    f"state_student_{n}": _state_student(n) for n in TAUGHT_EPISODES
}
"""Students that see the state, of N episodes instead of the budget's."""
