# SPDX-License-Identifier: Apache-2.0
"""Every task has a scene that fits what policies see of it."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import TASKS, get_task
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import Scatter, TaskScene, get_randomness, get_scene


@pytest.mark.parametrize("name", sorted(TASKS))
def test_scene_and_task_name_the_same_bodies(name: str) -> None:
    task, scene = get_task(name), get_scene(name)
    assert set(scene.nominal_poses()) == set(task.parts) == set(scene.scatter)
    assert (scene.fixture_pos is None) == (task.fixture is None)
    model = build_scene(name, load_control_config()).compile()
    for part in task.parts:
        assert model.joint(part).type[0] == mujoco.mjtJoint.mjJNT_FREE
        assert model.body(part).mass[0] == pytest.approx(scene.scatter[part].mass_kg)
    assert model.nmocap == (task.fixture is not None)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="unknown task 'one_log'.*did you mean 'one_leg'"):
        get_scene("one_log")
    with pytest.raises(ConfigError, match="unknown randomness 'hgh'; levels: low, med, high"):
        get_randomness("hgh")


def test_factors_scale_each_parts_own_impulse() -> None:
    light, heavy = Scatter(0.1, 1e-4), Scatter(0.1, 1e-4, force_factor=5.0, torque_factor=3.0)
    parts = {"light": light, "heavy": heavy}
    scene = TaskScene(lambda *_: None, dict, parts)
    rng = np.random.default_rng(0)
    draws = [scene.sample_velocities(get_randomness("low"), rng) for _ in range(2000)]
    speed = {k: max(np.linalg.norm(d[k][0]) for d in draws) for k in parts}
    spin = {k: max(abs(d[k][1][2]) for d in draws) for k in parts}
    assert speed["light"] == pytest.approx(0.2 / 60 / 0.1, rel=0.01)
    assert speed["heavy"] == pytest.approx(5 * speed["light"], rel=0.01)
    assert spin["heavy"] == pytest.approx(3 * spin["light"], rel=0.01)


@pytest.mark.parametrize(
    ("task", "bounds"),
    [
        ("lamp", {"lamp_base": (0.006, 0.03), "bulb": (0.001, 0.02), "hood": (0.003, 0.03)}),
        ("round_table", {"top": (0.008, 0.025), "leg": (0.001, 0.02), "foot": (0.001, 0.03)}),
    ],
)
def test_impulses_move_the_parts_by_the_stated_distances(task, bounds):
    """Low: some millimetres to 2 cm, and what is round does not roll away."""
    low, moved = get_randomness("low"), {name: [] for name in bounds}
    model = build_scene(task, load_control_config()).compile()
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(12):
        mujoco.mj_resetData(model, data)
        mujoco.mj_forward(model, data)
        for name, (linear, angular) in get_scene(task).sample_velocities(low, rng).items():
            rot = data.body(name).xmat.reshape(3, 3)
            data.joint(name).qvel[:] = np.concatenate([linear, rot.T @ angular])
        before = {name: data.joint(name).qpos[:2].copy() for name in moved}
        mujoco.mj_step(model, data, 400)
        for name, start in before.items():
            moved[name].append(np.linalg.norm(data.joint(name).qpos[:2] - start))
    for name, (least, most) in bounds.items():
        assert least < max(moved[name]) < most
