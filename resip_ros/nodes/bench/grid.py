# SPDX-License-Identifier: Apache-2.0
"""The starts that every policy is tried from: poses of parts and fixture, in a YAML file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, quat_wxyz_to_xyzw
from resip_ros.core.results import write_bytes_atomically
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.sim.initial_states import sample_initial_state
from resip_ros.sim.scene import build_scene

HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# Starts of `resip bench-eval`: x y z (m) and quaternion x y z w of each part, base frame.
# `seed` is how the simulated bench makes the same start.
"""
QUAT_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Start:
    """One start."""

    seed: int
    """State number 0 of this seed, at the grid's randomness."""
    poses: dict[str, Array]
    """Part and fixture to [x y z qx qy qz qw] (7,), m, base frame."""


@dataclass(frozen=True)
class Grid:
    """All starts of an evaluation."""

    task: str
    randomness: str
    starts: tuple[Start, ...]

    @property
    def hash(self) -> str:
        """Hex SHA-256: two evaluations with equal hashes can be compared."""
        return hashlib.sha256(yaml.safe_dump(_document(self)).encode()).hexdigest()


def build_grid(task: TaskSpec, count: int, seed: int, randomness: str = "low") -> Grid:
    """Starts with the spread that policies were trained with, each settled by physics."""
    config = load_control_config()
    model = build_scene(task.name, config).compile()
    starts = []
    for number in range(seed, seed + count):
        state = sample_initial_state(model, task, config, randomness, number, 0)
        poses = {
            name: np.concatenate([pose[:3], quat_wxyz_to_xyzw(pose[3:])])
            for name, pose in state.part_qpos.items()
        }
        if task.fixture is not None:
            poses[task.fixture] = np.concatenate([state.mocap_pos[0], [0.0, 0.0, 0.0, 1.0]])
        # what a person can place, and what YAML keeps exactly
        rounded = {name: np.round(pose, 5) for name, pose in poses.items()}
        starts.append(Start(number, rounded))
    return Grid(task.name, randomness, tuple(starts))


def save_grid(path: Path, grid: Grid) -> None:
    """Writes a grid, whole or not at all.

    Raises:
        ResipError: when it cannot be written.
    """
    text = yaml.safe_dump(_document(grid), sort_keys=False, default_flow_style=None, width=99)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(path, (HEADER + text).encode())


def _document(grid: Grid) -> dict[str, Any]:
    starts = [
        {"seed": s.seed, "poses": {n: [float(v) for v in p] for n, p in s.poses.items()}}
        for s in grid.starts
    ]
    return {"task": grid.task, "randomness": grid.randomness, "starts": starts}


def load_grid(path: Path, task: TaskSpec) -> Grid:
    """Reads a grid.

    Raises:
        ConfigError: with what is wrong, and where.
    """
    try:
        document: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read grid {path}: {error}") from error
    try:
        name, randomness = str(document["task"]), str(document["randomness"])
        raw = [(int(s["seed"]), cast("dict[str, Any]", s["poses"])) for s in document["starts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"grid {path} lacks task, randomness or starts with seed and poses ({error!r}); make "
            "one with: resip bench-eval TASK --grid N"
        ) from error
    if get_task(name).name != task.name:
        raise ConfigError(f"grid {path} is for task {name}, expected {task.name}")
    starts = tuple(
        Start(seed, _read_poses(f"grid {path}, start {index}", poses, task))
        for index, (seed, poses) in enumerate(raw)
    )
    if not starts:
        raise ConfigError(f"grid {path} has no starts")
    return Grid(name, randomness, starts)


def _read_poses(where: str, poses: dict[str, Any], task: TaskSpec) -> dict[str, Array]:
    if set(poses) != set(task.observed):
        raise ConfigError(f"{where} has poses of {sorted(poses)}; expected {list(task.observed)}")
    found: dict[str, Array] = {}
    for name in task.observed:
        try:
            pose = np.array(poses[name], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}, {name}: {poses[name]!r:.60} are no numbers") from error
        if pose.shape != (7,) or not np.isfinite(pose).all():
            raise ConfigError(f"{where}, {name}: expected 7 finite numbers, got {pose.tolist()}")
        if abs(np.linalg.norm(pose[3:]) - 1.0) > QUAT_TOLERANCE:
            raise ConfigError(f"{where}, {name}: quaternion {pose[3:].tolist()} has not norm 1")
        found[name] = pose
    return found
