# SPDX-License-Identifier: Apache-2.0
"""Whether one policy is better than another on the same episodes: an exact paired test.

    python -m training.evaluate models/one_leg/base --episodes 256 --seed 1 --json base.json
    python -m training.evaluate models/one_leg --episodes 256 --seed 1 --json both.json
    python -m training.compare base.json both.json

Episode i of a seed has initial state i for every policy, so that only the episodes in which the
two differ say anything: McNemar's exact test (Biometrika 1947; a sign test on those episodes).
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.results import write_json_atomically
from training.program import run_with_settings

SAME = ("task", "n", "seed", "randomness", "perturb")
"""What must be equal for episodes to be comparable one by one."""


@dataclass(frozen=True)
class CompareSettings:
    """Two evaluations."""

    first: Annotated[Path, tyro.conf.Positional]
    """JSON file of training.evaluate."""
    second: Annotated[Path, tyro.conf.Positional]
    """JSON file of training.evaluate, of the same task, seed and episodes."""
    json: Path | None = None
    """File to write the figures to."""


def exact_p_value(only_first: int, only_second: int) -> float:
    """Two-sided probability of a split at least this uneven if both were equally good.

    Args:
        only_first: Episodes that the first alone solved.
        only_second: Episodes that the second alone solved.
    """
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, 2.0 * tail)


def read_evaluation(path: Path) -> dict[str, Any]:
    """Figures of an evaluation with its episodes.

    Raises:
        DataError: for a file that is none.
    """
    try:
        figures = json.loads(path.read_text())
        episodes = [bool(episode["success"]) for episode in figures["episodes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not an evaluation ({type(error).__name__}: {error}); write one with "
            "`python -m training.evaluate ... --json FILE`"
        ) from error
    missing = [name for name in (*SAME, "policy", "success_rate") if name not in figures]
    if missing or len(episodes) != figures["n"]:
        what = f"lacks {', '.join(missing)}" if missing else "lists another number of episodes"
        raise DataError(f"{path} {what}; write it again with training.evaluate")
    return figures


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Compare two evaluations episode by episode.

    Raises:
        ConfigError: when they are not of the same episodes.
    """
    for name in SAME:
        if first[name] != second[name]:
            raise ConfigError(
                f"{name} is {first[name]!r} in the first and {second[name]!r} in the second; "
                "evaluate both with the same options"
            )
    pairs = [
        (bool(a["success"]), bool(b["success"]))
        for a, b in zip(first["episodes"], second["episodes"], strict=True)
    ]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return {
        **{name: first[name] for name in SAME},
        "first": first["policy"],
        "second": second["policy"],
        "success_rates": [first["success_rate"], second["success_rate"]],
        "both": pairs.count((True, True)),
        "only_first": only_first,
        "only_second": only_second,
        "neither": pairs.count((False, False)),
        "difference": second["success_rate"] - first["success_rate"],
        "p_value": exact_p_value(only_first, only_second),
    }


def run(settings: CompareSettings) -> dict[str, Any]:
    """Read, compare, print and write."""
    figures = compare(read_evaluation(settings.first), read_evaluation(settings.second))
    print(json.dumps(figures, indent=1))
    if settings.json is not None:
        write_json_atomically(settings.json, figures)
    return figures


def main() -> int:
    """Command-line entry."""
    return run_with_settings("training.compare", CompareSettings, run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
