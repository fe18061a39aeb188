# SPDX-License-Identifier: Apache-2.0
"""What a task is to a policy: its parts in observation order, rate, length, goal pairs.

Geometry and physics of the parts live in ``resip_ros.sim``; this is what both sides share.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType

import numpy as np

from resip_ros.core.arms import Arm
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, quat_xyzw_to_matrix


@dataclass(frozen=True)
class AssembledPair:
    """A child part assembled into a parent: any of several poses counts."""

    parent: str
    """Part whose frame the poses are given in."""
    child: str
    """Part that is placed."""
    positions: tuple[tuple[float, float, float], ...]
    """Origin of the child in the parent's frame, m, for each goal pose."""
    tip: tuple[float, float, float]
    """The point of the child that enters first, in its frame, m; it enters against its z axis."""
    depth: float
    """How far the tip is inside the parent at the goal, m."""
    rotations: tuple[tuple[float, float, float, float], ...] = ()
    """Quaternion xyzw of each goal pose; () is the identity for all."""
    tolerance_m: float = 0.005
    """Largest error on each axis, m (reference: FurnitureBench RL env)."""
    min_row_cosine: float = 0.94
    """Smallest cosine between rows of R and of the target (about 20 degrees)."""


@dataclass(frozen=True)
class TaskSpec:
    """One assembly task as policies see it."""

    name: str
    parts: tuple[str, ...]
    """Free bodies in observation order."""
    pairs: tuple[AssembledPair, ...]
    """Every pair must be assembled; each pays reward 1 once."""
    episode_steps: int
    fixture: str | None = None
    """Fixed body observed after the parts."""
    rate_hz: float = 10.0
    """Policy steps per second."""
    arms: tuple[Arm, ...] = (Arm(),)
    """Arms in the order of their entries; the first stands at the origin."""

    @property
    def observed(self) -> tuple[str, ...]:
        """Bodies whose poses are observed, in order."""
        return self.parts if self.fixture is None else (*self.parts, self.fixture)


_HOLE_M = 0.05625
_SEATED_M = 0.046875

ONE_LEG = TaskSpec(
    name="one_leg",
    parts=("top", "leg1", "leg2", "leg3", "leg4"),
    fixture="fixture",
    pairs=(
        AssembledPair(
            parent="top",
            child="leg4",
            positions=tuple(
                (sx * _HOLE_M, sy * _HOLE_M, _SEATED_M) for sx in (-1, 1) for sy in (-1, 1)
            ),
            tip=(0.0, 0.0, -_HOLE_M),
            depth=0.025,
        ),
    ),
    episode_steps=700,
)

# Down to 1.5 mm above the bench, 18.5 mm inside: the reference's 5 mm on a 9 mm hole passes at
# 4 mm. A peg turned by half a turn fits and counts as well; the reference refuses it.
PEG_IN_HOLE = TaskSpec(
    name="peg_in_hole",
    parts=("peg", "hole"),
    fixture="fixture",
    pairs=(
        AssembledPair(
            parent="hole",
            child="peg",
            positions=((0.0, 0.0, 0.015), (0.0, 0.0, 0.015)),
            rotations=((0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0)),
            tip=(0.0, 0.0, -0.025),
            depth=0.020,
            tolerance_m=0.0015,
        ),
    ),
    episode_steps=200,
)

# Round table: the frames are those of ``sim.round_table``; both pairs must be tight.
ROUND_TABLE = TaskSpec(
    name="round_table",
    parts=("top", "leg", "foot"),
    fixture="fixture",
    pairs=(
        AssembledPair(
            parent="top",
            child="leg",
            positions=((0.0, 0.0, 0.0494),),
            tip=(0.0, 0.0, -0.05815),
            depth=0.025,
        ),
        AssembledPair(
            parent="leg",
            child="foot",
            positions=((0.0, 0.0, 0.03315),),
            tip=(0.0, 0.0, -0.025),
            depth=0.025,
        ),
    ),
    episode_steps=1000,
)

# Lamp: the frames are those of ``sim.lamp``. The hood may be turned about its axis, which is what
# its goals at every 30 degrees say; the reference does not test its rotation at all.
_HOOD_TURNS = tuple(np.radians(30.0 * turn) for turn in range(12))

LAMP = TaskSpec(
    name="lamp",
    parts=("lamp_base", "bulb", "hood"),
    fixture="fixture",
    pairs=(
        AssembledPair(
            parent="lamp_base",
            child="bulb",
            positions=((0.0, 0.0, 0.0655),),
            tip=(0.0, 0.0, -0.059),
            depth=0.025,
        ),
        AssembledPair(
            parent="lamp_base",
            child="hood",
            positions=((0.0, 0.0, 0.0815),) * len(_HOOD_TURNS),
            rotations=tuple(
                (0.0, 0.0, float(np.sin(turn / 2)), float(np.cos(turn / 2)))
                for turn in _HOOD_TURNS
            ),
            tip=(0.0, 0.0, -0.050),
            depth=0.0,
        ),
    ),
    episode_steps=1000,
)

# Mug rack: the frames are those of ``sim.mug_rack``; goals are where a mug comes to rest on each
# peg, opening away from the robot or towards it. ``tip`` is where the peg lies in the hole of a
# hanging mug, ``depth`` the way from the peg's end to there (for the opening away from the robot;
# the other two are entered along z). The tolerance is that of a mug at rest and then some; a pair
# knows poses only, so a hung mug counts as soon as it swings through its place, and so would one
# that a hand held exactly there.
MUG_RACK = TaskSpec(
    name="mug_rack",
    parts=("rack", "mug"),
    fixture="fixture",
    pairs=(
        AssembledPair(
            parent="rack",
            child="mug",
            positions=(
                (0.0088, 0.023, 0.0767),
                (0.0088, 0.023, 0.2267),
                (-0.0088, 0.023, 0.0767),
                (-0.0088, 0.023, 0.2267),
            ),
            rotations=(
                (-0.4652, -0.5325, -0.5325, 0.4652),
                (-0.4652, -0.5325, -0.5325, 0.4652),
                (0.5325, -0.4652, 0.4652, 0.5325),
                (0.5325, -0.4652, 0.4652, 0.5325),
            ),
            tip=(0.064, 0.0, 0.0),
            depth=0.046,
            tolerance_m=0.003,
            min_row_cosine=0.98,
        ),
    ),
    episode_steps=400,
)

# Two arms that face each other; the frames are those of ``sim.biman_insert``. Seated is the plate
# with its shoulder on the receptacle to 2 mm (the reference: 5 mm) and 0.05 rad. The reference
# declares success 25 steps after it was reached once; here the last poses decide.
BIMAN_INSERT = TaskSpec(
    name="biman_insert",
    parts=("plate", "receptacle"),
    pairs=(
        AssembledPair(
            parent="receptacle",
            child="plate",
            positions=((0.0, 0.0, 0.007),),
            tip=(0.0, 0.0, -0.030),
            depth=0.035,
            tolerance_m=0.002,
            min_row_cosine=float(np.cos(0.05)),
        ),
    ),
    episode_steps=500,
    rate_hz=50.0,
    arms=(Arm("left"), Arm("right", base_xy=(1.2, 0.0), base_yaw=np.pi)),
)

TASKS: dict[str, TaskSpec] = {
    task.name: task for task in (ONE_LEG, PEG_IN_HOLE, ROUND_TABLE, MUG_RACK, LAMP, BIMAN_INSERT)
}


TASK_ENTRY_POINTS = "resip_ros.tasks"
"""Entry point group under which other packages offer tasks, see docs/add_a_task.md."""


@cache
def load_task_module(name: str) -> ModuleType | None:
    """The module with which another package offers a task; None when none does.

    Raises:
        ConfigError: when it cannot be imported, or has no TASK of that name.
    """
    for point in entry_points(group=TASK_ENTRY_POINTS, name=name):
        try:
            module = point.load()
        except Exception as error:
            raise ConfigError(f"task {name!r}: cannot import {point.value}: {error}") from error
        task = getattr(module, "TASK", None)
        if not isinstance(task, TaskSpec) or task.name != name:
            raise ConfigError(f"{point.value} needs TASK = TaskSpec(name={name!r}, ...)")
        return module
    return None


def get_task(name: str) -> TaskSpec:
    """Task by name, of this package or offered by another.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    if name in TASKS:
        return TASKS[name]
    module = load_task_module(name)
    if module is not None:
        return module.TASK
    known = [*TASKS, *sorted(entry_points(group=TASK_ENTRY_POINTS).names)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"unknown task {name!r}; known tasks: {', '.join(known)}{hint}")


def require_one_arm(task: TaskSpec) -> None:
    """Refuse a task with several arms where only one can be driven.

    Raises:
        ConfigError: saying what to do instead.
    """
    if len(task.arms) > 1:
        raise ConfigError(
            f"task {task.name!r} has {len(task.arms)} arms, this command drives one so far; "
            f"`resip up {task.name}` drives all, `python -m training.view {task.name}` shows them"
        )


def split_addresses(text: str, task: TaskSpec) -> tuple[str, ...]:
    """Addresses of a task's arms from ``ADDRESS`` or ``ADDRESS,ADDRESS``.

    Raises:
        ConfigError: unless there is one for each arm, each another.
    """
    addresses = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(addresses) != len(task.arms) or len(set(addresses)) != len(addresses):
        names = ",".join(arm.name or "arm" for arm in task.arms)
        raise ConfigError(
            f"task {task.name} has {len(task.arms)} arms, got addresses {text!r}; give a "
            f"different one for each ({names}), with commas between"
        )
    return addresses


def pair_assembled(
    pair: AssembledPair,
    parent_pos: np.ndarray,
    parent_rot: np.ndarray,
    child_pos: np.ndarray,
    child_rot: np.ndarray,
) -> np.ndarray:
    """Whether the child sits in the parent, (...) bool.

    Args:
        pair: Goal poses and tolerances.
        parent_pos: (..., 3) m, any common frame.
        parent_rot: (..., 3, 3).
        child_pos: (..., 3) m.
        child_rot: (..., 3, 3).
    """
    inverse = np.swapaxes(parent_rot, -1, -2)
    pos = (inverse @ (child_pos - parent_pos)[..., None])[..., 0]
    rot = inverse @ child_rot
    goal_pos, goal_rot = goal_poses(pair)
    cosines = (rot[..., None, :, :] * goal_rot).sum(-1)
    aligned = (cosines >= pair.min_row_cosine).all(-1)
    error = np.abs(pos[..., None, :] - goal_pos)
    return np.asarray((aligned & (error <= pair.tolerance_m).all(-1)).any(-1))


@cache
def goal_poses(pair: AssembledPair) -> tuple[Array, Array]:
    """Positions (G, 3) m and R (G, 3, 3) of the child at its goals, in the parent's frame.

    Computed once for each pair, therefore read-only.
    """
    rotations = pair.rotations or ((0.0, 0.0, 0.0, 1.0),) * len(pair.positions)
    goals = np.array(pair.positions), quat_xyzw_to_matrix(np.asarray(rotations))
    for array in goals:
        array.flags.writeable = False
    return goals
