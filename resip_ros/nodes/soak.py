# SPDX-License-Identifier: Apache-2.0
"""Long runs of `resip up`: does a node need more memory, threads, files or time as it goes on?"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from resip_ros.core.results import RunResult, write_json_atomically
from resip_ros.core.trend import fit_trend

SAMPLE_S = 5.0
SOAK_FILE = "soak.json"
ITSELF = "resip_up"
LIMITS = {"memory_mb": 5.0, "threads": 1.0, "files": 1.0, "cpu_percent": 5.0}
"""Growth in an hour that would matter in a working day."""
LATENCY_LIMIT_MS = 1.0
"""The same for the median latencies of an episode."""
LATENCIES = ("chunk_latency_ms", "action_latency_ms", "tick_latency_ms")
_KB = 1024 / 1e6
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process uses."""

    memory_mb: float
    """Resident memory of its own, MB: what a leak adds to. Not the segments that it shares with
    other nodes, whose pages fill up until each was used once."""
    shared_mb: float
    """Resident memory that is shared, MB."""
    threads: int
    files: int
    """Open file descriptors."""
    cpu_s: float
    """CPU time since its start, s."""


def read_usage(pid: int) -> Usage | None:
    """Usage of a process; None when it has ended."""
    try:
        # fields after the name, which is in brackets and may hold spaces: proc(5)
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        own, shared = (
            int(status.partition(name)[2].split()[0]) * _KB for name in ("RssAnon:", "RssShmem:")
        )
    except (OSError, IndexError):
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return Usage(own, shared, int(fields[17]), files, cpu_s)


def find_nodes() -> dict[str, int]:
    """Name to process number of this process's children that are nodes, and of itself."""
    found = {ITSELF: os.getpid()}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, IndexError):
            continue
        if parent == os.getpid() and "-m" in command[:-1]:
            module = command[command.index("-m") + 1]
            found[module.rpartition(".")[2].removesuffix("_node")] = int(folder.name)
    return found


class Soak:
    """Says which episodes to run; with a length in minutes it also watches the processes."""

    def __init__(self, minutes: float | None, result: RunResult) -> None:
        """Takes the length, None for a run by episodes, and what episodes are added to."""
        self.minutes = minutes
        self._result = result
        self._began_s = 0.0
        self._samples: list[dict[str, Any]] = []
        self._episodes: list[dict[str, float]] = []
        self._read = dict.fromkeys(LATENCIES, 0)
        self._over = threading.Event()

    def indices(self, episodes: int) -> Iterator[int]:
        """Numbers of the episodes to run, one after the other."""
        if self.minutes is None:
            yield from range(episodes)
            return
        self._began_s = time.monotonic()
        watcher = threading.Thread(target=self._watch, daemon=True, name="soak")
        watcher.start()
        try:
            index = 0
            while time.monotonic() - self._began_s < 60.0 * self.minutes:
                yield index
                index += 1
                self._note_episode()
        finally:
            self._over.set()
            watcher.join()

    def label(self, index: int, episodes: int) -> str:
        """Name of an episode, for people."""
        whole = f"{episodes}" if self.minutes is None else f"{self.minutes:g} min"
        return f"episode {index + 1} of {whole}"

    def _hours(self) -> float:
        return (time.monotonic() - self._began_s) / 3600.0

    def _watch(self) -> None:
        nodes = find_nodes()
        before = {name: read_usage(pid) for name, pid in nodes.items()}
        while not self._over.wait(SAMPLE_S):
            sample: dict[str, Any] = {"hours": self._hours()}
            for name, pid in nodes.items():
                now, last = read_usage(pid), before[name]
                if now is None:
                    continue
                values = asdict(now)
                spent_s = values.pop("cpu_s") - (last.cpu_s if last is not None else 0.0)
                sample[name] = values | {"cpu_percent": 100.0 * spent_s / SAMPLE_S}
                before[name] = now
            self._samples.append(sample)

    def _note_episode(self) -> None:
        """Medians of the latencies of the episode that has just ended."""
        row = {"hours": self._hours()}
        for name in LATENCIES:
            values = sorted(getattr(self._result, name)[self._read[name] :])
            self._read[name] += len(values)
            row[name] = values[len(values) // 2] if values else math.nan
        self._episodes.append(row)

    def report(self) -> dict[str, Any]:
        """Trend and verdict of every quantity of every process, and of the latencies."""
        hours = [sample["hours"] for sample in self._samples]
        names = dict.fromkeys(name for s in self._samples for name in s if name != "hours")
        processes = {
            name: {
                quantity: _judge(
                    hours,
                    [s.get(name, {}).get(quantity, math.nan) for s in self._samples],
                    limit,
                )
                for quantity, limit in LIMITS.items()
            }
            for name in names
        }
        times = [row["hours"] for row in self._episodes]
        latencies = {
            name: _judge(times, [row[name] for row in self._episodes], LATENCY_LIMIT_MS)
            for name in LATENCIES
        }
        return {
            "minutes": self.minutes,
            "episodes": len(self._episodes),
            "processes": processes,
            "latencies": latencies,
            "samples": self._samples,
            "episode_latencies": [
                {k: None if math.isnan(v) else v for k, v in row.items()} for row in self._episodes
            ],
        }

    def write(self, out: Path) -> Table | None:
        """Leaves soak.json in a folder; gives a table of it, None where nothing was watched.

        Raises:
            ResipError: when it cannot be written.
        """
        if self.minutes is None:
            return None
        document = self.report()
        write_json_atomically(out / SOAK_FILE, document)
        return _make_table(document)


def _judge(hours: list[float], values: list[float], limit: float) -> dict[str, Any]:
    """One line of the report."""
    trend = fit_trend(hours, values)
    if trend is None:
        return {"verdict": "too short", "limit_per_hour": limit}
    rounded = {
        "first": round(trend.first, 3),
        "last": round(trend.last, 3),
        "per_hour": round(trend.per_hour, 3),
        "ci95": [round(bound, 3) for bound in trend.ci95],
    }
    return {"verdict": trend.verdict(limit), "limit_per_hour": limit} | rounded


def _make_table(document: dict[str, Any]) -> Table:
    title = (
        f"growth in an hour, over {document['minutes']:g} min and {document['episodes']} episodes"
    )
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for name in ("process", "what", "first", "last", "an hour (95 %)", "verdict"):
        table.add_column(name, no_wrap=True)
    groups = {**document["processes"], "p50, ms": document["latencies"]}
    for group, lines in groups.items():
        for what, line in lines.items():
            name = what.removesuffix("_latency_ms")
            if "ci95" not in line:
                table.add_row(group, name, "", "", "", line["verdict"])
                continue
            numbers = [f"{line['first']:.1f}", f"{line['last']:.1f}"]
            interval = f"{line['per_hour']:+.1f} ± {line['ci95'][1] - line['per_hour']:.1f}"
            table.add_row(group, name, *numbers, interval, line["verdict"])
    return table
