# SPDX-License-Identifier: Apache-2.0
"""What a run of the live graph measured, and writing it so that nothing is left half written."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resip_ros.core.distribution import Distribution
from resip_ros.core.errors import ConfigError, ResipError

Z_95 = 1.959963984540054


def wilson_interval(successes: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """95 % Wilson score interval of a success rate (Wilson 1927).

    Returns:
        Lower and upper bound in [0, 1]; (0, 1) when nothing was tried.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"got {successes} successes of {n}; expected 0 <= successes <= n")
    if n == 0:
        return 0.0, 1.0
    rate = successes / n
    scale = 1.0 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # at 0 and n the exact bounds are 0 and 1; rounding must not move them
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def check_writable(path: Path, option: str) -> None:
    """Finds out before long work that no file or folder could be written at `path`.

    Raises:
        ConfigError: naming the command line's `option`.
    """
    place = next(parent for parent in Path(path).absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".probe.", dir=place):
            pass
    except OSError as error:
        raise ConfigError(
            f"{option} {path}: cannot write in {place}: {error.strerror}; choose another place"
        ) from error


def check_folder(path: Path, option: str) -> None:
    """Finds out before long work that `path` could not be a folder to write in.

    Raises:
        ConfigError: naming the command line's `option`.
    """
    if Path(path).exists() and not Path(path).is_dir():
        raise ConfigError(f"{option} {path} is a file; give a folder")
    check_writable(Path(path) / "probe", option)


def percentiles(values_ms: Sequence[float]) -> dict[str, float | None]:
    """Median and 99th percentile as result.json states them; None when nothing was measured.

    Values that are not finite tell nothing and are left out.
    """
    values = np.asarray(values_ms, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3)}


@dataclass(frozen=True)
class EpisodeResult:
    """One episode of the live graph."""

    success: bool
    steps: int
    """Policy steps that were commanded."""
    seconds: float
    """Length on the ROS clock, s."""
    seed: int
    """Seed of the initial state and of the policy's noise."""
    reason: str = ""
    """Why it ended: success, time limit, or the fault."""


@dataclass
class RunResult:
    """Everything ``result.json`` of `resip up` holds (design: Commands)."""

    task: str
    policy: str
    robot: str
    episodes: list[EpisodeResult] = field(default_factory=list[EpisodeResult])
    chunk_latency_ms: list[float] = field(default_factory=list[float])
    """Observation to published chunk, wall clock, each chunk."""
    action_latency_ms: list[float] = field(default_factory=list[float])
    """Observation stamp to the command's hand-over to the arm, ROS clock, each command."""
    tick_latency_ms: list[float] = field(default_factory=list[float])
    """Start of a policy step to the published action, ROS clock, each action."""
    hop_ms: dict[str, Distribution] = field(default_factory=dict[str, Distribution])
    """Wall time of every hop from the arm's state to the reference that answers it."""
    period_ms: dict[str, Distribution] = field(default_factory=dict[str, Distribution])
    """Wall time between two actions and between two references."""
    control_success: Distribution = field(default_factory=Distribution)
    """Percent of the last 100 commands at 1 kHz that reached the robot in time, at 10 Hz."""
    chunks_ahead: int = 0
    """Chunks that were planned before the one before them had ended."""
    late_ticks: int = 0
    """Policy steps without an action in time."""
    ticks: int = 0
    """Policy steps in all."""
    refused_commands: int = 0
    """Commands that the bridge did not accept."""
    realtime_factor: float | None = None
    """ROS clock per wall clock while episodes ran."""
    notes: list[str] = field(default_factory=list[str])
    """What the run had to do without, and faults."""

    def add_times(
        self, hops: Mapping[str, Sequence[float]], periods: Mapping[str, Sequence[float]]
    ) -> None:
        """Takes the lengths of an episode's hops and periods, ms."""
        for kept, new in ((self.hop_ms, hops), (self.period_ms, periods)):
            for name, values in new.items():
                kept.setdefault(name, Distribution()).add(values)

    def to_dict(self) -> dict[str, Any]:
        """The document, with summaries in place of the raw latencies."""
        successes = sum(e.success for e in self.episodes)
        n = len(self.episodes)
        return {
            "task": self.task,
            "policy": self.policy,
            "robot": self.robot,
            "episodes": [asdict(e) for e in self.episodes],
            "success_rate": successes / n if n else None,
            "ci95": list(wilson_interval(successes, n)),
            "late_ticks": self.late_ticks,
            "ticks": self.ticks,
            "refused_commands": self.refused_commands,
            "chunk_latency_ms": percentiles(self.chunk_latency_ms),
            "action_latency_ms": percentiles(self.action_latency_ms),
            "tick_latency_ms": percentiles(self.tick_latency_ms),
            "latency_ms": {name: values.summary() for name, values in self.hop_ms.items()},
            "period_ms": {name: values.summary() for name, values in self.period_ms.items()},
            "control_success_percent": {
                "p50": self.control_success.percentile(50),
                "p1": self.control_success.percentile(1),
                "min": self.control_success.percentile(0),
            },
            "chunks_ahead": self.chunks_ahead,
            "realtime_factor": self.realtime_factor,
            "notes": self.notes,
        }


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        ResipError: when the disk is full or the place cannot be written; no partial file stays.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ResipError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another "
            "--out directory"
        ) from error


def write_json_atomically(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a JSON document whole or not at all.

    Raises:
        ResipError: when it cannot be written; no partial file stays.
    """
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_bytes_atomically(path, text.encode())
