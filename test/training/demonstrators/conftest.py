# SPDX-License-Identifier: Apache-2.0
"""What tests of operators share: an observation of parts at their nominal poses, whole runs."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import (
    matrix_to_quat_wxyz,
    matrix_to_quat_xyzw,
    matrix_to_rot6d,
    quat_wxyz_to_matrix,
    rotation_z,
)
from resip_ros.core.kinematics import forward
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task
from resip_ros.sim.parts import Thread
from resip_ros.sim.task_scene import get_scene
from training.demonstrators.motion import ScriptedOperator
from training.env import AssemblyEnv


class View:
    """An observation of one arm's task that a test writes, SI, base frame."""

    def __init__(self, task_name: str) -> None:
        """The arm at home with an open hand, every part at its nominal pose."""
        self.names = observation_names(get_task(task_name))
        self.obs = np.zeros(len(self.names))
        self.obs[15] = load_control_config().gripper_max_width_m
        self.put_hand(*forward(np.asarray(load_control_config().home_joints)))
        for name, (pos, rot) in get_scene(task_name).nominal_poses().items():
            self.put(name, pos, rot)

    def put_hand(self, pos: np.ndarray, rot: np.ndarray) -> None:
        """Move the hand to a position (3,) and R (3, 3)."""
        self.obs[:3], self.obs[3:9] = pos, matrix_to_rot6d(rot)

    def put(self, part: str, pos: np.ndarray | None, rot: np.ndarray) -> None:
        """Move a part to a position (3,), or leave it there, turned to R (3, 3)."""
        start = self.names.index(f"{part}_x")
        if pos is not None:
            self.obs[start : start + 3] = pos
        self.obs[start + 3 : start + 7] = matrix_to_quat_xyzw(rot)


@pytest.fixture
def make_view() -> Callable[[str], View]:
    return View


def run(
    env: AssemblyEnv, operator: ScriptedOperator, steps: int, until: str = ""
) -> tuple[float, list[str]]:
    """Reward until it comes, a phase begins or the steps are over; the phases on the way."""
    phases, reward = [operator.phase], 0.0
    for _ in range(steps):
        result = env.step(operator.act(env.observe()[0])[None])
        assert not result.refused.any()
        assert not operator.gave_up, operator.phase
        assert result.failure[0] == "", result.failure[0]
        reward = float(result.reward[0])
        if operator.phase != phases[-1]:
            phases.append(operator.phase)
        if reward > 0 or operator.phase == until:
            break
    return reward, phases


@pytest.fixture
def work() -> Callable[..., tuple[float, list[str]]]:
    return run


def start_screwed(env: AssemblyEnv, index: int, heights: dict[str, float]) -> None:
    """Start with children so much above their seats, m, turned as their threads want it."""
    state = env.initial_states([index])[0]
    parts = dict(state.part_qpos)
    for pair in env.task.pairs:
        if pair.child not in heights:
            continue
        parent, height = parts[pair.parent], heights[pair.child]
        seat = np.array(pair.positions[0]) + np.array([0.0, 0.0, height])
        turn = rotation_z(np.array(2 * np.pi * height / Thread().lead))
        rot = quat_wxyz_to_matrix(parent[3:])
        parts[pair.child] = np.concatenate(
            [parent[:3] + rot @ seat, matrix_to_quat_wxyz(rot @ turn)]
        )
    env.reset(None, [replace(state, part_qpos=parts)])
    env.step(env.hold_action())


@pytest.fixture
def screwed() -> Callable[[AssemblyEnv, int, dict[str, float]], None]:
    return start_screwed
