# SPDX-License-Identifier: Apache-2.0
"""Where does a part come to rest? Prints goal poses for a task's pairs (docs/scans.md).

    python -m training.settle my_mug_rack

Lets each pair's child go at each of its goal poses, rough ones will do, and a little beside them,
waits until it is at rest, and prints positions and rotations for the task file with how far the
tries ended from each other. Letters: S tries of one goal.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import mujoco
import numpy as np
import tyro
from rich.progress import track

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.geometry import (
    Array,
    matrix_to_quat_wxyz,
    matrix_to_quat_xyzw,
    quat_wxyz_to_matrix,
    rotation_angle,
    rotvec_to_matrix,
)
from resip_ros.core.tasks import AssembledPair, get_task, goal_poses
from resip_ros.sim.scene import set_physics_options
from resip_ros.sim.task_scene import get_scene
from training.program import run_with_settings

BESIDE_M = 0.002
BESIDE_RAD = np.radians(5.0)
"""Tries after the first start up to this far beside the goal pose, per axis."""
_OVERLAP_M = 0.001
_AT_REST = 1e-3
_REST_S = 0.5
_LONGEST_S = 30.0
_DRAWS = 10
"""Starts drawn for a try: those that overlap are left out."""

Pose = tuple[Array, Array]
"""Position (3,) m and R (3, 3) of the child in the parent's frame."""


@dataclass(frozen=True)
class SettleSettings:
    """What to let go."""

    task: Annotated[str, tyro.conf.Positional]
    """Task name, for example mug_rack."""
    tries: int = 8
    """Starts for each goal."""
    seed: int = 0
    """Of the starts."""


@dataclass(frozen=True)
class Rest:
    """Where the tries of one goal ended."""

    poses: list[Pose]
    """Of those that came to rest against the parent."""
    elsewhere: int
    """Tries that ended elsewhere, or still moved after 30 s."""
    overlap_m: float
    """Deepest overlap among the starts that were left out, m; 0 when none was."""

    @property
    def middle(self) -> Pose:
        """The pose to which the others are nearest."""
        off = [sum(float(np.abs(p - q).max()) for q, _ in self.poses) for p, _ in self.poses]
        return self.poses[int(np.argmin(off))]

    @property
    def spread(self) -> tuple[float, float]:
        """Farthest from the middle one, m on an axis and rad."""
        pos, rot = self.middle
        return (
            max(float(np.abs(p - pos).max()) for p, _ in self.poses),
            max(float(rotation_angle(rot.T @ r)) for _, r in self.poses),
        )


def build_bench(task_name: str) -> mujoco.MjModel:
    """A task's scene without the arm."""
    spec = mujoco.MjSpec()
    scene = get_scene(task_name)
    set_physics_options(spec, scene.timestep_s)
    # a sleeping part has no contacts to look at
    spec.option.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    scene.add(spec, scene.timestep_s)
    return spec.compile()


def settle(
    model: mujoco.MjModel, nominal: dict[str, Pose], pair: AssembledPair, start: Pose
) -> tuple[Pose | None, float]:
    """Lets the child go in a pose of the parent's frame.

    Args:
        model: Of ``build_bench``.
        nominal: Poses of all parts in the base frame.
        pair: Which parts.
        start: In the parent's frame.

    Returns:
        Where it came to rest against the parent, None when it did not; and the deepest overlap
        at the start, m: nothing is simulated when that is too much.
    """
    data = mujoco.MjData(model)
    parent_pos, parent_rot = nominal[pair.parent]
    begin = parent_pos + parent_rot @ start[0], parent_rot @ start[1]
    for name, (pos, rot) in {**nominal, pair.child: begin}.items():
        data.joint(name).qpos[:] = np.concatenate([pos, matrix_to_quat_wxyz(rot)])
    mujoco.mj_forward(model, data)
    overlap = max([0.0, *(-float(c.dist) for c in _contacts_of(model, data, pair.child))])
    if overlap > _OVERLAP_M:
        return None, overlap
    steps = round(_REST_S / model.opt.timestep)
    for _ in range(round(_LONGEST_S / _REST_S)):
        mujoco.mj_step(model, data, steps)
        if np.abs(data.joint(pair.child).qvel).max() < _AT_REST:
            return _relative(model, data, pair), overlap
    return None, overlap


def _contacts_of(model: mujoco.MjModel, data: mujoco.MjData, name: str) -> list:
    body = model.body(name).id
    return [c for c in data.contact if body in model.geom_bodyid[c.geom]]


def _relative(model: mujoco.MjModel, data: mujoco.MjData, pair: AssembledPair) -> Pose | None:
    """Child in the parent's frame; None when they do not touch."""
    parent = model.body(pair.parent).id
    touching = _contacts_of(model, data, pair.child)
    if not any(parent in model.geom_bodyid[c.geom] for c in touching):
        return None
    (pos, rot), (child_pos, child_rot) = (
        (qpos[:3], quat_wxyz_to_matrix(qpos[3:]))
        for qpos in (data.joint(pair.parent).qpos, data.joint(pair.child).qpos)
    )
    return rot.T @ (child_pos - pos), rot.T @ child_rot


def settle_goal(
    model: mujoco.MjModel,
    nominal: dict[str, Pose],
    pair: AssembledPair,
    goal: Pose,
    tries: int,
    rng: np.random.Generator,
) -> Rest:
    """Lets the child go ``tries`` times, at a goal pose and beside it."""
    poses, elsewhere, deepest = [], 0, 0.0
    for i in range(_DRAWS * tries):
        far = rng.uniform(-1.0, 1.0, 6) * (i > 0)
        turned = rotvec_to_matrix(far[3:] * BESIDE_RAD) @ goal[1]
        pose, overlap = settle(model, nominal, pair, (goal[0] + far[:3] * BESIDE_M, turned))
        if overlap > _OVERLAP_M:
            deepest = max(deepest, overlap)
        elif pose is None:
            elsewhere += 1
        else:
            poses.append(pose)
        if len(poses) + elsewhere == tries:
            break
    return Rest(poses, elsewhere, deepest)


def settle_pair(task_name: str, pair: AssembledPair, tries: int, seed: int) -> list[Rest]:
    """Where the child of a pair rests, for each goal.

    Raises:
        ConfigError: for fewer than one try.
    """
    if tries < 1:
        raise ConfigError(f"--tries: got {tries}, expected at least 1")
    model, nominal = build_bench(task_name), get_scene(task_name).nominal_poses()
    rng = np.random.default_rng(seed)
    goals = list(zip(*goal_poses(pair), strict=True))
    return [
        settle_goal(model, nominal, pair, goal, tries, rng)
        for goal in track(goals, f"{pair.child} in {pair.parent}")
    ]


def describe(pair: AssembledPair, rests: list[Rest]) -> str:
    """What came out, goal by goal, and the lines for the task file.

    Raises:
        ResipError: when a goal is left without a pose.
    """
    lines = []
    for i, rest in enumerate(rests):
        title = f"{pair.child} in {pair.parent}, goal {i}"
        if not rest.poses:
            why = f"{rest.elsewhere} ended elsewhere" if rest.elsewhere else ""
            if rest.overlap_m:
                why = f"starts overlap by up to {rest.overlap_m * 1e3:.1f} mm {why}".strip()
            raise ResipError(
                f"{title}: no try came to rest ({why}); give a start in `positions` and "
                "`rotations` from which the part can slide or swing into its place"
            )
        off, turn = rest.spread
        lines.append(
            f"# {title}: {len(rest.poses)} came to rest within {off * 1e3:.1f} mm and "
            f"{np.degrees(turn):.1f} degrees of this, {rest.elsewhere} ended elsewhere"
        )
    lines.append("positions=(")
    lines += [f"    {_tuple(rest.middle[0])}," for rest in rests]
    lines += ["),", "rotations=("]
    lines += [f"    {_tuple(matrix_to_quat_xyzw(rest.middle[1]))}," for rest in rests]
    return "\n".join([*lines, "),"])


def _tuple(values: Array) -> str:
    return "(" + ", ".join(f"{x:g}" for x in np.round(values, 4) + 0.0) + ")"


def run(settings: SettleSettings) -> str:
    """Settles every pair of a task; returns what to print."""
    pairs = get_task(settings.task).pairs
    return "\n".join(
        describe(pair, settle_pair(settings.task, pair, settings.tries, settings.seed))
        for pair in pairs
    )


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.settle", SettleSettings, lambda settings: print(run(settings)), __doc__
    )


if __name__ == "__main__":
    sys.exit(main())
