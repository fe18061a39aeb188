# SPDX-License-Identifier: Apache-2.0
"""Parts of a collection: made by several processes, kept on disk until all are there."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.core.results import write_json_atomically
from training.dataset import Demonstrations, build_demonstrations

_SETTINGS_FILE = "settings.json"


@dataclass
class Part:
    """What came out of a part's attempts."""

    observations: list[np.ndarray] = field(default_factory=list)
    """Each successful episode's (n, Do)."""
    actions: list[np.ndarray] = field(default_factory=list)
    """Each (n, Da)."""
    states: list[np.ndarray] = field(default_factory=list)
    """Each (n, nq + 3 nmocap): qpos and mocap positions of the scene."""
    attempts: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """How the other attempts ended: reason and the operator's phase."""


class PartStore:
    """Folder beside the dataset with the parts that are whole."""

    def __init__(self, out: Path, identity: Mapping[str, str], resume: bool) -> None:
        """Open it, or make it at the first part.

        Args:
            out: The dataset that the parts become.
            identity: What fixes their content.
            resume: Take over parts that are there.

        Raises:
            ConfigError: parts are there and not wanted, or of other settings.
            DataError: it does not say of which settings they are.
        """
        self.folder = out.with_name(f".{out.name}.parts")
        self._identity = dict(identity)
        if not self.folder.exists():
            return
        if not resume:
            raise ConfigError(
                f"{self.folder} holds parts of an interrupted collection: go on with --resume, or "
                "remove it"
            )
        before = self._read_settings()
        for key, value in self._identity.items():
            if before.get(key) != value:
                raise ConfigError(
                    f"{self.folder} was made with {key} = {before.get(key)}, now it is {value}; "
                    "resume with equal settings, or remove it"
                )

    def _read_settings(self) -> dict[str, Any]:
        file = self.folder / _SETTINGS_FILE
        try:
            return dict(json.loads(file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"cannot read {file}: {error}; without it the parts cannot be told: remove "
                f"{self.folder}"
            ) from error

    def has(self, part: int) -> bool:
        """Whether a part is whole."""
        return self._path(part).is_file()

    def save(self, part: int, content: Part) -> None:
        """Keep a part; it is there whole or not at all.

        Raises:
            ResipError: it cannot be written.
        """
        arrays: dict[str, Any] = {
            "lengths": np.array([len(actions) for actions in content.actions], dtype=np.int64),
            "summary": np.array(json.dumps([content.attempts, content.failures])),
        }
        if content.actions:
            arrays["observations"] = np.concatenate(content.observations)
            arrays["actions"] = np.concatenate(content.actions)
            arrays["states"] = np.concatenate(content.states)
        path = self._path(part)
        temporary = path.with_suffix(f".new.{os.getpid()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json_atomically(self.folder / _SETTINGS_FILE, self._identity)
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            temporary.replace(path)
        except OSError as error:
            raise ResipError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def load(self, part: int) -> Part:
        """A part as it was saved."""
        path = self._path(part)
        try:
            with np.load(path, allow_pickle=False) as data:
                attempts, failures = json.loads(str(data["summary"]))
                cuts = np.cumsum(data["lengths"])[:-1]
                lists = [
                    np.split(data[name], cuts) if len(data["lengths"]) else []
                    for name in ("observations", "actions", "states")
                ]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"cannot read {path}: {error}; remove it and --resume") from error
        return Part(lists[0], lists[1], lists[2], attempts, failures)

    def remove(self) -> None:
        """Forget the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.npz"


def run_parts(
    store: PartStore,
    collect_part: Callable[..., Part],
    settings: Any,
    parts: int,
    processes: int,
) -> list[Part]:
    """Make the parts that are missing and return all of them, in order.

    Args:
        store: Where they are kept.
        collect_part: Makes part number k: `collect_part(settings, k, quiet=...)`.
        settings: Its settings.
        parts: How many.
        processes: Processes that share them; 1 works in this process.
    """
    if parts == 1:
        return [collect_part(settings, 0)]
    missing = [k for k in range(parts) if not store.has(k)]
    if processes == 1:
        for part in missing:
            store.save(part, collect_part(settings, part))
            print(f"part {part + 1} of {parts} is kept in {store.folder}", flush=True)
    else:
        # spawn: a forked copy of a process with threads of torch and MuJoCo can hang
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            jobs = {pool.submit(collect_part, settings, k, quiet=True): k for k in missing}
            try:
                for done, job in enumerate(as_completed(jobs), 1):
                    store.save(jobs[job], job.result())
                    print(f"{done} of {len(missing)} parts are kept in {store.folder}", flush=True)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return [store.load(k) for k in range(parts)]


def join_parts(task: str, parts: list[Part], *, source: str, seed: int) -> Demonstrations:
    """The parts' episodes as demonstrations, in order."""
    return build_demonstrations(
        task,
        [episode for part in parts for episode in part.observations],
        [episode for part in parts for episode in part.actions],
        source=source,
        seed=seed,
        sim_states=[episode for part in parts for episode in part.states],
    )
