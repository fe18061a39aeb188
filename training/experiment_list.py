# SPDX-License-Identifier: Apache-2.0
"""What the experiments are: methods, tasks, seeds, and the commands each consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from training.experiment_step import COPY, SHIPPED, Budget, Experiment, Recipe, Step
from training.experiment_students import SCALED_STUDENTS, STUDENTS

OWN_DATA = "its-own"
"""In a learner's options: the demonstrations that its base was cloned from."""


def collect_step(e: Experiment, folder: Path, budget: Budget) -> Step:
    """Demonstrations, one dataset for everything that is cloned with a seed."""
    out = folder / "data" / f"{e.task}-{e.randomness}-s{e.seed}.zarr"
    command = (
        "training.collect", e.task, "--episodes", str(budget.demonstrations), "--out", str(out),
        "--randomness", e.randomness, "--seed", str(1000 + e.seed),
    )  # fmt: skip
    return Step(command, out)


def clone_steps(e: Experiment, folder: Path, budget: Budget, network: str) -> list[Step]:
    """Demonstrations and a cloned base, one of each network and seed."""
    data = collect_step(e, folder, budget)
    return [data, _clone_step(e, data, _base_folder(e, folder, network), budget, network)]


def _clone_step(
    e: Experiment, data: Step, place: Path, budget: Budget, network: str = "unet"
) -> Step:
    """A base cloned from what was collected."""
    run = place / "run"
    command = (
        "training.bc", "--data", str(data.output), "--task", e.task, "--network", network,
        "--batch", str(budget.bc_batch), "--steps", str(budget.bc_steps), "--seed", str(e.seed),
        "--out", str(place / "policy" / "base"), "--run-dir", str(run),
    )  # fmt: skip
    return Step(command, run / "metrics.json", run / "checkpoint.pt")


def _base_folder(e: Experiment, folder: Path, network: str) -> Path:
    return folder / Experiment(_CLONED[network], e.task, e.randomness, e.seed).name


def _clone(network: str) -> Recipe:
    return lambda e, folder, budget: clone_steps(e, folder, budget, network)


def _learn(module: str, network: str, kind: str, *options: str) -> Recipe:
    """A reinforcement learner on a cloned base; its policy folder gets a copy of that base.

    The learners of all seeds have the same base, so that only what they do to it differs.
    """

    def build(e: Experiment, folder: Path, budget: Budget) -> list[Step]:
        first = replace(e, seed=SEEDS[0])
        base = _base_folder(first, folder, network) / "policy" / "base"
        run, policy = folder / e.name / "run", e.policy(folder)
        steps = clone_steps(first, folder, budget, network)
        command = (
            module, "--task", e.task, "--base", str(base), "--out", str(policy / kind),
            "--run-dir", str(run), "--steps", str(budget.env_steps), "--randomness",
            e.randomness, "--seed", str(e.seed), "--ship", "last",
            *(option.replace(OWN_DATA, str(steps[0].output)) for option in options),
        )  # fmt: skip
        if kind != "base":
            steps.append(_copy_step(base, policy))
        return [*steps, Step(command, run / "metrics.json", run / "latest")]

    return build


def _copy_step(base: Path, policy: Path) -> Step:
    """Copy of the frozen base beside what is trained on it."""
    return Step((COPY, str(base), str(policy / "base")), policy / "base" / "card.yaml")


def _shipped(e: Experiment, folder: Path, budget: Budget) -> list[Step]:
    """Nothing to train."""
    del e, folder, budget
    return []


def _scaled(episodes: int) -> Recipe:
    """The diffusion policy cloned from another number of demonstrations."""

    def build(e: Experiment, folder: Path, budget: Budget) -> list[Step]:
        more = replace(budget, demonstrations=episodes)
        own = collect_step(e, folder / e.name, more)
        return [own, _clone_step(e, own, folder / e.name, budget)]

    return build


def _residual(network: str, changes: Mapping[str, str]) -> Recipe:
    """The off-policy learner on a base."""
    words = [
        {"True": option, "False": f"--no-{option[2:]}"}.get(value, f"{option}={value}")
        for option, value in {**OFFPOLICY, **changes}.items()
    ]
    return _learn("training.residual", network, "residual", *words)


def _dagger(e: Experiment, folder: Path, budget: Budget) -> list[Step]:
    """DAgger of the diffusion policy with the same seed's residual as the expert."""
    expert = Experiment("residual", e.task, e.randomness, e.seed)
    student = _base_folder(replace(e, seed=SEEDS[0]), folder, "unet") / "policy" / "base"
    run = folder / e.name / "run"
    command = (
        "training.dagger", "--task", e.task, "--expert", str(expert.policy(folder)),
        "--student", str(student), "--out", str(e.policy(folder) / "base"), "--run-dir", str(run),
        "--rounds", str(budget.dagger_rounds), "--randomness", e.randomness,
        "--seed", str(e.seed),
    )  # fmt: skip
    step = Step(command, run / "metrics.json", run / "latest")
    return [*training_steps(expert, folder, budget), step]


OFFPOLICY = {
    "--alpha": "0.05", "--offpolicy.noise": "0.1", "--offpolicy.action-penalty": "0.02",
    "--offpolicy.actor-warmup": "1500", "--offpolicy.prefill-episodes": "160",
    "--offpolicy.update-ratio": "0.1", "--parallel": "False",
}  # fmt: skip
"""What one_leg was tuned to (docs/experiments.md, 8), with as many updates a step as it had there;
not parallel, or the number of updates would depend on what else the machine does."""
ABLATIONS: dict[str, dict[str, str]] = {
    "residual_alpha_0.01": {"--alpha": "0.01"},
    "residual_alpha_0.1": {"--alpha": "0.1"},
    "residual_alpha_0.2": {"--alpha": "0.2"},
    "residual_not_cautious": {"--offpolicy.pessimism": "0"},
    "residual_one_step": {"--offpolicy.n-step": "1"},
    "residual_two_critics": {"--offpolicy.critics": "2"},
    "residual_few_updates": {"--offpolicy.update-ratio": "0.03"},
    "residual_more_noise": {"--offpolicy.noise": "0.3"},
    "residual_no_success_share": {"--offpolicy.success-fraction": "0"},
    "residual_absolute": {"--features": "absolute"},
    "residual_relative": {"--features": "relative"},
    "residual_demonstrations": {"--offpolicy.demonstrations": OWN_DATA},
}
"""One setting of `residual` changed: its scale (Fig. 27) and what makes it fast."""

SCALES = (400, 1000)
"""Demonstrations that are cloned instead of the budget's."""

_RELATIVE = ("--features", "relative")
"""Of the paper's learners; `residual_relative` compares with them."""

METHODS: dict[str, Recipe] = {
    "mlp_s": _clone("mlp_s"),
    "mlp_c": _clone("mlp_c"),
    "dp": _clone("unet"),
    "dp_transformer": _clone("transformer"),
    "act": _clone("act"),
    "ppo_c": _learn("training.baselines", "mlp_c", "base", "--method", "ppo_c"),
    "idql": _learn("training.baselines", "unet", "value", "--method", "idql"),
    "resip": _learn("training.residual", "unet", "residual", "--algo", "ppo", *_RELATIVE),
    "resip_c": _learn("training.baselines", "unet", "residual", "--method", "resip_c", *_RELATIVE),
    "residual": _residual("unet", {}),
    "residual_mlp": _residual("mlp_c", {}),
    "residual_act": _residual("act", {}),
    **{name: _residual("unet", changes) for name, changes in ABLATIONS.items()},
    "dagger": _dagger,
    **{f"dp_{n}": _scaled(n) for n in SCALES},
    **STUDENTS,
    **SCALED_STUDENTS,
    **dict.fromkeys(SHIPPED, _shipped),
}
"""Names as in the paper; `residual` is the off-policy learner of this package."""
_CLONED = {
    "mlp_s": "mlp_s",
    "mlp_c": "mlp_c",
    "unet": "dp",
    "transformer": "dp_transformer",
    "act": "act",
}

FURNITURE = ("one_leg", "round_table", "lamp")
TABLE_TASKS = (*FURNITURE, "mug_rack", "peg_in_hole", "biman_insert")
TABLE_METHODS = ("mlp_s", "mlp_c", "dp", "ppo_c", "idql", "resip", "residual")
PERTURBED = ("dp", "dagger", "ppo_c", "resip_c", "resip", "residual", *SHIPPED)
SHIPPED_POLICIES = {
    **dict.fromkeys(("one_leg", "mug_rack", "peg_in_hole"), SHIPPED),
    "lamp": ("shipped_base",),
}
"""What `models` holds: base and residual, or the base alone."""
SEEDED_TASK = "peg_in_hole"
"""Where methods are compared over several seeds: the task that two cores simulate fastest."""
SEEDS = (0, 1, 2)
STUDENT_TASK = "mug_rack"
"""Where students are compared: the widest tolerance of the tasks with a shipped policy."""
_ON_ONE_LEG = ("dagger", "resip_c", "residual_mlp", "residual_act", "dp_transformer", "act")


def _list() -> tuple[Experiment, ...]:
    table = [
        Experiment(method, task, randomness)
        for task in TABLE_TASKS
        for randomness in (("low", "med") if task in FURNITURE else ("low",))
        for method in TABLE_METHODS
    ]
    more = [Experiment(method, "one_leg") for method in _ON_ONE_LEG]
    seeds = [
        Experiment(method, SEEDED_TASK, "low", seed)
        for method in ("resip", "resip_c", "ppo_c", "residual", *ABLATIONS)
        for seed in SEEDS
    ]
    shipped = [
        Experiment(method, task, randomness)
        for task, methods in SHIPPED_POLICIES.items()
        for randomness in ("low", "med")
        for method in methods
    ]
    students = [Experiment(method, STUDENT_TASK) for method in (*STUDENTS, *SCALED_STUDENTS)]
    students += [Experiment(f"dp_{n}", STUDENT_TASK) for n in SCALES]
    return tuple(dict.fromkeys((*table, *more, *seeds, *shipped, *students)))


EXPERIMENTS = _list()
"""Table I; Fig. 8 and Table XIV, Figs. 25-26 on one_leg; three seeds of the RL methods and their
ablations (Figs. 24, 27) on the seeded task; what the package ships; its students (Table II, Figs.
10, 11) and how cloning and distillation grow with their episodes (Fig. 5)."""
PUSHED = "-perturbed"
REAL = "-standin"
NEW_COLORS = "-standin-new-colors"
_HOW = {
    "": (),
    PUSHED: ("--perturb",),
    REAL: ("--simulation", "standin"),
    NEW_COLORS: ("--simulation", "standin", "--look", "standin_new_colors"),
}
"""Options of an evaluation by what its result's name ends in."""


def evaluations(e: Experiment) -> tuple[str, ...]:
    """Keys of _HOW."""
    if e.method in STUDENTS:
        return ("", REAL) if e.method == "state_student" else ("", REAL, NEW_COLORS)
    if e.method in PERTURBED and e.randomness == "low":
        return ("", PUSHED, REAL) if _teaches(e) else ("", PUSHED)
    return ("",)


def _teaches(e: Experiment) -> bool:
    return (e.method, e.task) == ("shipped", STUDENT_TASK)


def evaluation_steps(e: Experiment, folder: Path, budget: Budget) -> dict[str, Step]:
    """Evaluations by the key of their result."""
    steps: dict[str, Step] = {}
    for how in evaluations(e):
        out = folder / e.name / f"evaluation{how}.json"
        command = (
            "training.evaluate", str(e.policy(folder)), "--task", e.task, "--episodes",
            str(budget.episodes), "--randomness", e.randomness, "--seed",
            str(budget.evaluation_seed), "--json", str(out), *_HOW[how],
        )  # fmt: skip
        steps[e.name + how] = Step(command, out)
    return steps


def training_steps(e: Experiment, folder: Path, budget: Budget) -> list[Step]:
    """Commands up to the trained policy."""
    return METHODS[e.method](e, folder, budget)
