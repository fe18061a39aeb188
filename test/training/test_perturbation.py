# SPDX-License-Identifier: Apache-2.0
"""Impulses: how often, how strong, in which frame, and which episode meets which."""

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_quat_wxyz, rotvec_to_matrix
from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim.one_leg import SCENE
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import IMPULSE_S, RANDOMNESS
from training import perturbation
from training.perturbation import Perturbation


@pytest.fixture(scope="module")
def model():
    return build_scene("one_leg", load_control_config()).compile()


@pytest.fixture
def always(monkeypatch):
    """Every part is pushed at every step."""
    monkeypatch.setattr(perturbation, "CHANCE", 1.0)


def make(model, count: int, *, randomness: str = "low", seed: int = 3) -> Perturbation:
    made = Perturbation(model, "one_leg", randomness, seed, count)
    made.restart(np.arange(count))
    return made


def upright(model, count: int) -> np.ndarray:
    """Positions (count, nq) in which the parts' frames are the world's."""
    qpos = np.tile(model.qpos0, (count, 1))
    for name in ONE_LEG.parts:
        start = int(model.joint(name).qposadr[0])
        qpos[:, start + 3 : start + 7] = 1.0, 0.0, 0.0, 0.0
    return qpos


def pushes(model, made: Perturbation, count: int, steps: int) -> np.ndarray:
    """Velocity changes (steps, count, parts, 6) of upright parts."""
    dofs = [int(model.joint(name).dofadr[0]) for name in ONE_LEG.parts]
    qpos, changes = upright(model, count), []
    for _ in range(steps):
        qvel = np.zeros((count, model.nv))
        made.push(qpos, qvel)
        part = np.stack([qvel[:, dof : dof + 6] for dof in dofs], axis=1)
        assert np.count_nonzero(qvel) == np.count_nonzero(part), "only parts are pushed"
        changes.append(part)
    return np.array(changes)


def test_each_part_is_pushed_once_in_a_hundred_steps(model):
    hit = pushes(model, make(model, 40), 40, 250).any(-1)
    expected = 0.01 * hit[..., 0].size
    counts = hit.sum((0, 1))
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected)).all(), counts
    together = hit.sum(-1)[hit.any(-1)]
    assert (together == 1).mean() > 0.9, "parts are pushed independently"


@pytest.mark.parametrize("randomness", ["low", "med"])
def test_impulse_has_the_law_of_the_initial_states(model, always, randomness):
    change = pushes(model, make(model, 4, randomness=randomness), 4, 100).reshape(400, -1, 6)
    level = RANDOMNESS[randomness]
    for part, name in enumerate(ONE_LEG.parts):
        law = SCENE.scatter[name]
        top_speed = level.impulse_force_n * law.force_factor * IMPULSE_S / law.mass_kg
        top_spin = level.impulse_torque_nm * law.torque_factor * IMPULSE_S / law.inertia_z
        speed = np.linalg.norm(change[:, part, :2], axis=-1)
        spin = np.abs(change[:, part, 5])
        for value, limit in ((speed, top_speed), (spin, top_spin)):
            assert 0.95 * limit < value.max() <= limit
            assert value.mean() == pytest.approx(0.5 * limit, rel=0.15)
    np.testing.assert_allclose(change[..., 2:5], 0.0, atol=1e-12)


def test_impulse_adds_to_the_velocity_in_the_frames_of_a_free_joint(model, always):
    """A part that is tilted spins about the vertical, not about its own z axis."""
    start, dof = int(model.joint("leg2").qposadr[0]), int(model.joint("leg2").dofadr[0])
    rot = rotvec_to_matrix(np.array([0.4, 1.1, -0.7]))
    straight, tilted = upright(model, 1), upright(model, 1)
    tilted[0, start + 3 : start + 7] = matrix_to_quat_wxyz(rot)
    added = []
    for qpos in (straight, tilted):
        qvel = np.full((1, model.nv), 0.25)
        make(model, 1).push(qpos, qvel)
        added.append(qvel[0, dof : dof + 6] - 0.25)
    world, body = added
    assert abs(world[5]) > 0.01
    np.testing.assert_allclose(world[2:5], 0.0, atol=1e-12)
    np.testing.assert_allclose(body[:3], world[:3], atol=1e-12)
    np.testing.assert_allclose(rot @ body[3:], world[3:], atol=1e-12)
    assert np.abs(body[3:] - world[3:]).max() > 0.01


def test_impulses_do_not_depend_on_other_environments(model, always):
    few, many = (pushes(model, make(model, count), count, 3) for count in (1, 3))
    assert few[:, 0].tobytes() == many[:, 0].tobytes()
    assert np.abs(many[:, 0] - many[:, 1]).max() > 0.01
    other = pushes(model, make(model, 1, seed=4), 1, 3)
    assert np.abs(other - few).max() > 0.01


def test_an_environment_meets_new_impulses_in_every_episode(model, always):
    made = make(model, 2)
    first = pushes(model, made, 2, 2)
    made.restart(np.array([1]))
    second = pushes(model, made, 2, 2)
    again = make(model, 2)
    # how long the first episode lasted makes no difference to the second
    pushes(model, again, 2, 7)
    again.restart(np.array([1]))
    repeated = pushes(model, again, 2, 2)
    assert np.abs(first[:, 1] - second[:, 1]).max() > 0.01
    assert second[:, 1].tobytes() == repeated[:, 1].tobytes()


def test_a_numbered_episode_is_the_same_in_any_environment(model, always):
    made = make(model, 3)
    made.restart(np.array([0, 2]), np.array([8, 9]))
    first = pushes(model, made, 3, 2)
    made.restart(np.array([1, 2]), np.array([9, 8]))
    second = pushes(model, made, 3, 2)
    assert second[:, 1].tobytes() == first[:, 2].tobytes()
    assert second[:, 2].tobytes() == first[:, 0].tobytes()
    assert np.abs(first[:, 0] - first[:, 2]).max() > 0.01


def test_the_chance_is_per_time_and_not_per_step():
    """At 50 Hz each part is pushed in one of 500 steps: with chance 1 in 0.1 s, in one of 5."""
    model = build_scene("biman_insert", load_control_config()).compile()
    made = Perturbation(model, "biman_insert", "low", 3, 10)
    made.restart(np.arange(10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perturbation, "CHANCE", 1.0)
        qpos = np.tile(model.qpos0, (10, 1))
        hits = 0
        for _ in range(100):
            qvel = np.zeros((10, model.nv))
            made.push(qpos, qvel)
            hits += np.count_nonzero(qvel[:, [-6, -12]])
    assert hits == pytest.approx(400, rel=0.2)
