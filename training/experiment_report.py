# SPDX-License-Identifier: Apache-2.0
"""docs/results.md from the results: our figures, and beside them the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.experiment_list import (
    ABLATIONS,
    FURNITURE,
    NEW_COLORS,
    PERTURBED,
    PUSHED,
    REAL,
    SCALES,
    SEEDED_TASK,
    SEEDS,
    SHIPPED_POLICIES,
    STUDENT_TASK,
    TABLE_METHODS,
    TABLE_TASKS,
)
from training.experiment_step import SHIPPED, Experiment
from training.experiment_students import (
    REAL_EPISODES,
    SCALED_STUDENTS,
    STUDENTS,
    TAUGHT_EPISODES,
)

PAPER_TABLE_I: dict[str, tuple[int, ...]] = {
    "mlp_s": (0, 0, 0, 0, 0, 0, 0, 2, 0),
    "mlp_c": (45, 10, 5, 2, 8, 1, 21, 2, 7),
    "dp": (54, 26, 12, 4, 7, 2, 26, 5, 33),
    "ppo_c": (70, 28, 38, 6, 32, 2, 23, 4, 30),
    "idql": (57, 27, 18, 3, 11, 1, 31, 3, 40),
    "resip": (98, 76, 94, 77, 97, 70, 88, 99, 93),
}
"""Success, %, in the order of `columns` (ResiP, Table I: best checkpoint, 1 024 episodes)."""
PAPER_TABLE_XIV = {"resip": (98, 86), "resip_c": (92, 73), "dp": (52, 32), "dagger": (90, 68)}
"""Success, %, without and with perturbations on one_leg (ResiP, Table XIV)."""
PAPER_TABLE_II = {
    "real_10": "0 and 2 of 10",
    "real_10_sim": "0 and 3 of 10",
    "real_40": "2 and 3 of 10",
    "real_40_sim": "5 and 6 of 10",
}
"""Complete assemblies of one_leg on a real robot, parts and obstacle randomised (Table II)."""


def _changed(changes: Mapping[str, str]) -> list[str]:
    """Settings as a person reads them."""
    pairs = [(option.removeprefix("--"), value) for option, value in changes.items()]
    return [f"- with {option} {value}" for option, value in pairs]


LABELS = {
    "mlp_s": "MLP-S",
    "mlp_c": "MLP-C",
    "dp": "DP (U-Net)",
    "dp_transformer": "DP (transformer)",
    "act": "ACT",
    "ppo_c": "PPO-C",
    "idql": "IDQL",
    "resip": "ResiP (PPO)",
    "resip_c": "ResiP-C (PPO)",
    "dagger": "DP-DAgger",
    "residual": "off-policy residual on DP",
    "residual_mlp": "off-policy residual on MLP-C",
    "residual_act": "off-policy residual on ACT",
    **{f"dp_{n}": f"DP, {n} demonstrations" for n in SCALES},
    **{name: ", ".join(_changed(changes)) for name, changes in ABLATIONS.items()},
    "state_student": "student that sees the state",
    **{
        f"state_student_{n}": f"student that sees the state, {n} episodes" for n in TAUGHT_EPISODES
    },
    "image_student": "student, synthetic pictures",
    **{f"real_{n}": f"student, {n} real episodes" for n in REAL_EPISODES},
    **{f"real_{n}_sim": f"student, {n} real episodes and synthetic" for n in REAL_EPISODES},
    "shipped_base": "shipped base",
    "shipped": "shipped base + residual",
}
NOT_RUN = "not run"
Results = Mapping[str, Mapping[str, Any]]

_HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
# Results

Written by `python -m training.experiments report` from docs/results.json; do not edit. A cell is
the share of successful episodes with its 95 % Wilson interval and the number of episodes; the last
actor of a run is evaluated, never the best of several. Several training seeds stand one below the
other. In brackets the paper's figure where it has one: its demonstrations are human, its simulator
is another, and it reports the best checkpoint, so that only differences between methods compare.
"""


def columns() -> list[tuple[str, str]]:
    """Task and randomness of each column of Table I."""
    return [
        (task, randomness)
        for task in TABLE_TASKS
        for randomness in (("low", "med") if task in FURNITURE else ("low",))
    ]


def cell(results: Results, method: str, task: str, randomness: str, suffix: str = "") -> str:
    """Our figures of all seeds; the suffix says how it was evaluated."""
    lines = []
    for key, entry in results.items():
        if key == Experiment(method, task, randomness, entry["seed"]).name + suffix:
            low, high = entry["ci95"]
            lines.append(
                f"{100 * entry['success_rate']:.0f} [{100 * low:.0f}, {100 * high:.0f}] "
                f"n={entry['n']}"
            )
    return "<br>".join(lines) or NOT_RUN


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def build_table_i(results: Results) -> str:
    """All methods on all tasks."""
    rows = []
    for task, randomness in columns():
        index = columns().index((task, randomness))
        row = [f"{task}, {randomness}"]
        for method in TABLE_METHODS:
            ours = cell(results, method, task, randomness)
            paper = PAPER_TABLE_I.get(method)
            row.append(ours + (f" ({paper[index]})" if paper else ""))
        rows.append(row)
    return table(["Task", *(LABELS[method] for method in TABLE_METHODS)], rows)


def build_shipped(results: Results) -> str:
    """The policies that come with the package."""
    rows = []
    for task, methods in SHIPPED_POLICIES.items():
        for method in methods:
            low, med = (cell(results, method, task, randomness) for randomness in ("low", "med"))
            pushed = cell(results, method, task, "low", PUSHED)
            rows.append([task, LABELS[method], low, med, pushed])
    return table(["Task", "Policy", "low", "med", "low, perturbed"], rows)


def build_table_xiv(results: Results, task: str) -> str:
    """What pushes during the episode cost; the paper has figures for one_leg."""
    rows = []
    for method in (m for m in PERTURBED if m not in SHIPPED):
        paper = PAPER_TABLE_XIV.get(method) if task == "one_leg" else None
        first = results.get(Experiment(method, task).name)
        second = results.get(Experiment(method, task).name + PUSHED)
        drop = NOT_RUN
        if first is not None and second is not None:
            drop = f"{100 * (first['success_rate'] - second['success_rate']):.0f}"
        notes = (
            ["", "", ""] if paper is None else [f" ({p})" for p in (*paper, paper[0] - paper[1])]
        )
        calm = cell(results, method, task, "low")
        pushed = cell(results, method, task, "low", PUSHED)
        rows.append([LABELS[method], calm + notes[0], pushed + notes[1], drop + notes[2]])
    return table(["Method", "Undisturbed", "Perturbed", "Drop, points"], rows)


def build_ablations(results: Results) -> str:
    """Other bases and residuals on one_leg at low randomness."""
    methods = ("dp", "dp_transformer", "act", "mlp_c", "residual", "residual_act", "residual_mlp")
    rows = [[LABELS[m], cell(results, m, "one_leg", "low")] for m in (*methods, "resip_c")]
    return table(["Method", "one_leg, low"], rows)


def build_seeded(results: Results) -> str:
    """The learners on one task after equally many env steps, a training seed each line."""
    methods = ("ppo_c", "resip_c", "resip", "residual", *ABLATIONS)
    rows = [
        [
            LABELS[method],
            cell(results, method, SEEDED_TASK, "low"),
            cell(results, method, SEEDED_TASK, "low", PUSHED),
            _by_seed(results, method, "env_steps"),
            _by_seed(results, method, "minutes"),
        ]
        for method in methods
    ]
    return table(["Method", "low", "low, perturbed", "Env steps", "Minutes"], rows)


def build_scaling(results: Results) -> str:
    """Cloning from more: demonstrations, or successful episodes of the shipped policy."""
    cloned = ("dp", *(f"dp_{n}" for n in SCALES))
    methods = (*cloned, "state_student", *SCALED_STUDENTS, "shipped")
    rows = [[LABELS[method], cell(results, method, STUDENT_TASK, "low")] for method in methods]
    return table(["Method", f"{STUDENT_TASK}, low"], rows)


def build_students(results: Results) -> str:
    """The teacher and its students, where they were trained and in the stand-in for a bench."""
    rows = []
    for method in ("shipped", *STUDENTS):
        row = [LABELS[method]]
        for suffix in ("", REAL, NEW_COLORS):
            row.append(cell(results, method, STUDENT_TASK, "low", suffix))
        if method in PAPER_TABLE_II:
            row[2] += f" ({PAPER_TABLE_II[method]})"
        if method in ("shipped", "state_student"):
            row[3] = "sees no colours"
        rows.append(row)
    return table(["Policy", STUDENT_TASK, "stand-in", "stand-in, new part colours"], rows)


def _by_seed(results: Results, method: str, name: str) -> str:
    """What each run on the seeded task took, a line a seed."""
    lines = []
    for seed in SEEDS:
        entry = results.get(Experiment(method, SEEDED_TASK, "low", seed).name)
        if entry is not None:
            lines.append(str({**entry["budget"], **entry}[name]))
    return "<br>".join(lines) or NOT_RUN


def build_stages(results: Results) -> str:
    """Where episodes fail (Fig. 7)."""
    rows = []
    for name, entry in results.items():
        stages = entry["failure_stages"]
        if stages:
            counts = ", ".join(f"{stage} {count}" for stage, count in sorted(stages.items()))
            rows.append([name, f"{entry['n'] - entry['successes']} of {entry['n']}", counts])
    return table(["Experiment", "Failed", "In stage"], rows) if rows else f"{NOT_RUN}\n"


def build_report(results: Results) -> str:
    """The whole document."""
    parts = [
        _HEAD,
        "## Success (paper: Table I)\n",
        build_table_i(results),
        "## Policies that come with the package\n",
        build_shipped(results),
        "Their cards say how they were made.\n",
        f"## The same number of env steps: {SEEDED_TASK}, three training seeds (paper: Fig. 25)\n",
        "All seeds of a learner start from the same cloned base.\n",
        build_seeded(results),
        "## More to clone from, and distillation (paper: Figs. 5, 11)\n",
        "Where no number stands, the budget says it (demonstrations, lessons).\n",
        build_scaling(results),
        "## Students that see pictures (paper: Table II, Figs. 10, 11)\n",
        "The teacher is the shipped policy; what is called real comes from the stand-in for a\n"
        "real bench ([student](student.md)).\n",
        build_students(results),
        "## Pushes during the episode (paper: Fig. 8, Table XIV)\n",
        *(f"{task}:\n\n{build_table_xiv(results, task)}" for task in ("one_leg", SEEDED_TASK)),
        "## Bases and residuals (paper: Figs. 25-26)\n",
        build_ablations(results),
        "## Where episodes fail (paper: Fig. 7)\n",
        build_stages(results),
        "## Commands\n",
        "`python -m training.experiments run --only NAME` with these budgets:\n",
        table(
            ["Experiment", "Budget"],
            [
                [name, ", ".join(f"{key} {value}" for key, value in entry["budget"].items())]
                for name, entry in results.items()
            ],
        )
        if results
        else f"{NOT_RUN}\n",
    ]
    return "\n".join(parts)
