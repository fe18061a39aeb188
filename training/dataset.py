# SPDX-License-Identifier: Apache-2.0
"""Demonstrations on disk (zarr) and as training windows.

One group holds flat arrays `state_obs` (N, Do) and `action` (N, Da), raw SI in the base frame,
and `episode_ends` (E,), the exclusive end of each episode. Row t pairs the observation with the
action commanded at that moment. Attributes name the task, its rate and every dimension. Simulated
episodes also have `sim_state` (N, nq + 3 nmocap), from which they are drawn (training.render).

Shape letters: N steps, E episodes, Do observation, Da action dimension, T prediction horizon.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from resip_ros.core.action import action_names
from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task
from resip_ros.policy.normalizer import Normalizer

FORMAT_VERSION = 1
VALIDATION_SHARE = 0.05
_FILES_PER_ARRAY_ROWS = 65_536


@dataclass(frozen=True)
class Demonstrations:
    """Checked demonstrations of one task."""

    task: str
    state_obs: NDArray[np.float32]
    """(N, Do) raw SI."""
    action: NDArray[np.float32]
    """(N, Da) raw SI."""
    episode_ends: NDArray[np.int64]
    """(E,) exclusive end of each episode; the last is N."""
    source: str
    """Who demonstrated: `scripted`, `teleoperation`, ..."""
    seed: int
    sim_state: NDArray[np.float32] | None = None
    """(N, nq + 3 nmocap) the whole scene, for re-rendering: qpos, then mocap positions; None for
    demonstrations that were not simulated, or before it was recorded."""

    def __post_init__(self) -> None:
        """Refuse content that does not fit the task's specification."""
        try:
            task = get_task(self.task)
        except ConfigError as error:
            raise DataError(f"attribute task: {error}") from error
        ends = self.episode_ends
        if ends.ndim != 1 or len(ends) == 0 or np.any(np.diff(ends, prepend=0) <= 0):
            raise DataError(f"episode_ends must rise strictly from above 0, got {ends[:8]}")
        checks = [
            ("state_obs", self.state_obs, len(observation_names(task))),
            ("action", self.action, len(action_names(task))),
        ]
        if self.sim_state is not None:
            checks.append(("sim_state", self.sim_state, self.sim_state.shape[-1]))
        for name, array, dim in checks:
            if array.shape != (ends[-1], dim):
                raise DataError(
                    f"{name} has shape {array.shape}, expected ({ends[-1]}, {dim}): one row a "
                    f"step up to the last episode end, one column a dimension of {self.task}"
                )
            rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
            if rows.size:
                episode = int(np.searchsorted(ends, rows[0], side="right"))
                raise DataError(
                    f"{name} is not finite in {rows.size} rows, first in row {rows[0]} "
                    f"(episode {episode}); drop that episode and collect it again"
                )

    @property
    def num_episodes(self) -> int:
        """E."""
        return len(self.episode_ends)

    def spans(self, episodes: NDArray[np.int64]) -> list[tuple[int, int]]:
        """First row and exclusive end of each of the given episodes."""
        ends = [0, *self.episode_ends.tolist()]
        return [(ends[episode], ends[episode + 1]) for episode in episodes.tolist()]

    def rows(self, episodes: NDArray[np.int64]) -> NDArray[np.int64]:
        """All rows of the given episodes, in their order."""
        return np.concatenate([np.arange(start, end) for start, end in self.spans(episodes)])

    @property
    def hash(self) -> str:
        """Hex SHA-256 of the content: equal hashes train equally."""
        digest = hashlib.sha256(f"{FORMAT_VERSION}|{self.task}|".encode())
        for array, kind in (
            (self.state_obs, "<f4"),
            (self.action, "<f4"),
            (self.episode_ends, "<i8"),
        ):
            digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
            digest.update(b"|")
        return digest.hexdigest()


def build_demonstrations(
    task: str,
    observations: Sequence[NDArray[np.floating]],
    actions: Sequence[NDArray[np.floating]],
    *,
    source: str,
    seed: int,
    sim_states: Sequence[NDArray[np.floating]] | None = None,
) -> Demonstrations:
    """Join episodes, each observations (n, Do) and actions (n, Da), into demonstrations.

    `sim_states` are their scenes, each (n, nq + 3 nmocap), if there are any.
    """
    if not observations or len(observations) != len(actions):
        raise DataError(
            f"need equally many observation and action episodes, at least one: got "
            f"{len(observations)} and {len(actions)}"
        )
    for index, (obs, action) in enumerate(zip(observations, actions, strict=True)):
        if len(obs) != len(action):
            raise DataError(f"episode {index} has {len(obs)} observations, {len(action)} actions")
    return Demonstrations(
        task=task,
        state_obs=np.concatenate(observations).astype(np.float32),
        action=np.concatenate(actions).astype(np.float32),
        episode_ends=np.cumsum([len(obs) for obs in observations], dtype=np.int64),
        source=source,
        seed=seed,
        sim_state=np.concatenate(sim_states).astype(np.float32) if sim_states else None,
    )


def join_demonstrations(parts: Sequence[Demonstrations]) -> Demonstrations:
    """Datasets of one task behind each other; without the scenes' states."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.action) for part in parts)])
    return Demonstrations(
        task=parts[0].task,
        state_obs=np.concatenate([part.state_obs for part in parts]),
        action=np.concatenate([part.action for part in parts]),
        episode_ends=np.concatenate(
            [part.episode_ends + start for part, start in zip(parts, starts[:-1], strict=True)]
        ),
        source=" + ".join(part.source for part in parts),
        seed=parts[0].seed,
    )


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Folder to write to, which becomes `path` at the end; nothing is left after an error.

    Raises:
        DataError: when it cannot be written.
    """
    work = path.with_name(f".{path.name}.writing.{os.getpid()}")
    try:
        yield work
        work.rename(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_demonstrations(path: Path, data: Demonstrations) -> None:
    """Write a dataset, replacing one that is there; a crash leaves the old one whole."""
    path = Path(path)
    task = get_task(data.task)
    temporary = path.with_name(f".{path.name}.new.{os.getpid()}")
    try:
        group = zarr.open_group(str(temporary), mode="w", zarr_format=3)
        for name in ("state_obs", "action", "episode_ends", "sim_state"):
            array = getattr(data, name)
            if array is None:
                continue
            rows = min(len(array), _FILES_PER_ARRAY_ROWS)
            # also a chunk of zeros is a file: one that is missing is lost
            group.create_array(
                name,
                data=array,
                chunks=(rows, *array.shape[1:]),
                config={"write_empty_chunks": True},
            )
        group.attrs.update(
            {
                "format_version": FORMAT_VERSION,
                "task": task.name,
                "rate_hz": task.rate_hz,
                "observation": list(observation_names(task)),
                "action": list(action_names(task)),
                "source": data.source,
                "seed": data.seed,
            }
        )
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another --out"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_demonstrations(path: Path, task: str) -> Demonstrations:
    """Read and check a dataset.

    Raises:
        DataError: naming the field that is missing, foreign, not finite or of a wrong shape.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"no dataset at {path}; make one with `python -m training.collect {task}`")
    try:
        group = zarr.open_group(str(path), mode="r")
        attrs = dict(group.attrs)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a zarr group: {error}") from error
    _check_attributes(path, attrs, task)
    seed = attrs["seed"]
    if not isinstance(seed, int):
        raise DataError(f"{path}: attribute seed is {seed!r}, expected an integer")
    arrays = {}
    for name in ("state_obs", "action", "episode_ends"):
        array = _read_array(path, group, name)
        if array is None:
            raise DataError(f"{path} has no array {name}; collect the demonstrations again")
        arrays[name] = array
        kind = np.integer if name == "episode_ends" else np.floating
        if not np.issubdtype(arrays[name].dtype, kind):
            raise DataError(f"{path}: {name} has type {arrays[name].dtype}, expected {kind}")
    states = _read_array(path, group, "sim_state")
    try:
        return Demonstrations(
            task=task,
            state_obs=arrays["state_obs"].astype(np.float32),
            action=arrays["action"].astype(np.float32),
            episode_ends=arrays["episode_ends"].astype(np.int64),
            source=str(attrs["source"]),
            seed=seed,
            sim_state=None if states is None else states.astype(np.float32),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def open_array(path: Path, group: zarr.Group, name: str) -> zarr.Array[Any] | None:
    """An array of a dataset with all of its files; None where there is none of that name.

    Raises:
        DataError: it cannot be read, or files are missing, which zarr would take for zeros.
    """
    with _naming(path, name):
        array = group.get(name)
        if not isinstance(array, zarr.Array):
            return None
        missing = array.nchunks - array.nchunks_initialized
    if missing:
        raise DataError(
            f"{path}: {missing} of {array.nchunks} files of array {name} are missing or were "
            "nothing but zeros; copy the whole dataset again, or make it anew"
        )
    return array


def _read_array(path: Path, group: zarr.Group, name: str) -> NDArray[Any] | None:
    array = open_array(path, group, name)
    if array is None:
        return None
    with _naming(path, name):
        return np.asarray(array[...])


@contextlib.contextmanager
def _naming(path: Path, name: str) -> Iterator[None]:
    """Turns what zarr and its codecs raise for a damaged file into an error that says where."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: array {name} cannot be read ({error}); copy the dataset again"
        ) from error


def _check_attributes(path: Path, attrs: Mapping[str, object], task_name: str) -> None:
    task = get_task(task_name)
    expected: dict[str, object] = {
        "format_version": FORMAT_VERSION,
        "task": task.name,
        "rate_hz": task.rate_hz,
        "observation": list(observation_names(task)),
        "action": list(action_names(task)),
    }
    missing = [key for key in (*expected, "source", "seed") if key not in attrs]
    if missing:
        raise DataError(f"{path} lacks attributes {missing}; write it with training.dataset")
    for key, value in expected.items():
        if attrs[key] != value:
            its, ours = _first_difference(attrs[key], value)
            raise DataError(
                f"{path}: attribute {key} is {its}, expected {ours}; give the dataset of this "
                "task, collected with this version"
            )


def _first_difference(one: object, other: object) -> tuple[str, str]:
    """Two values in short; of lists where they begin to differ."""
    if not (isinstance(one, list) and isinstance(other, list)):
        return json.dumps(one)[:80], json.dumps(other)[:80]
    pairs = enumerate(itertools.zip_longest(one, other))
    index = next(i for i, (a, b) in pairs if a != b)
    its, ours = (
        f"{json.dumps(v[index])[:80]} in place {index}" if index < len(v) else f"{len(v)} long"
        for v in (one, other)
    )
    return its, ours


@dataclass(frozen=True)
class ChunkWindows:
    """Training pairs: one observation, and the actions from that step on.

    Every step of a demonstration conditions a window; past the end its last action repeats.
    """

    obs: NDArray[np.float32]
    """(W, Do) raw."""
    plans: NDArray[np.float32]
    """(W, T, Da) normalised actions."""

    @classmethod
    def cut(
        cls,
        data: Demonstrations,
        normalizer: Normalizer,
        episodes: NDArray[np.int64],
        horizon: int,
    ) -> ChunkWindows:
        """Cut the windows of the chosen episodes."""
        action = normalizer.normalize_action(data.action)
        steps, rows = [], []
        for start, end in data.spans(episodes):
            first = np.arange(start, end)
            steps.append(first)
            rows.append(np.minimum(first[:, None] + np.arange(horizon), end - 1))
        return cls(data.state_obs[np.concatenate(steps)], action[np.concatenate(rows)])

    def __len__(self) -> int:
        """Count windows, one a step."""
        return len(self.obs)


def split_episodes(num_episodes: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose training and validation episodes, at least one of each.

    Whole episodes: neighbouring steps are nearly equal, so a split by step would leak.
    """
    if num_episodes < 2:
        raise DataError(f"need at least 2 episodes to hold one out, got {num_episodes}")
    held_out = max(1, round(VALIDATION_SHARE * num_episodes))
    order = np.random.default_rng(seed).permutation(num_episodes).astype(np.int64)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
