# SPDX-License-Identifier: Apache-2.0
"""The meter on a ball whose forces are known, and that it changes no bit of the simulation."""

import mujoco
import numpy as np
import pytest

from training.engine import MujocoEngine
from training.force_meter import MeteredEngine

MASS_KG, DROP_M, GRAVITY = 0.5, 0.2, 9.81
BALL = f"""
<mujoco><option gravity="0 0 -{GRAVITY}" timestep="0.002"/><worldbody>
  <geom type="plane" size="1 1 0.1" solref="0.004 1"/>
  <body pos="0 0 0.05"><freejoint/><geom size="0.05" mass="{MASS_KG}" solref="0.004 1"/>
    <site name="tcp"/></body>
</worldbody><actuator><motor site="tcp" gear="0 0 1 0 0 0"/></actuator></mujoco>
"""


def spec() -> mujoco.MjSpec:
    return mujoco.MjSpec.from_string(BALL)


def drop(engine: MujocoEngine, steps: int) -> np.ndarray:
    """Ball 0 rests, ball 1 falls; forces of all steps."""
    both = np.arange(2)
    engine.reset(both)
    engine.qpos[1, 2] += DROP_M
    engine.forward(both)
    return engine.rollout(np.zeros((2, steps, 1)))


def test_forces_speed_overlap_and_work_are_those_of_a_falling_ball():
    engine = MeteredEngine(spec(), 2, 1)
    drop(engine, 400)
    peaks = engine.take()
    weight, speed = MASS_KG * GRAVITY, np.sqrt(2 * GRAVITY * DROP_M)
    assert peaks.contact_n[1] > 20 * weight
    assert peaks.speed_m_s[1] == pytest.approx(speed, rel=0.02)
    assert peaks.speed_m_s[0] < 0.03
    assert 0.0 < peaks.overlap_m[0] < 1e-4 < peaks.overlap_m[1] < 0.01
    # all that it fell with is gone, and the contact never gave anything
    assert peaks.work_j[1] == pytest.approx(-weight * DROP_M, rel=0.02)
    assert abs(peaks.work_j[0]) < 1e-4
    engine.rollout(np.zeros((2, 50, 1)))
    later = engine.take()
    np.testing.assert_allclose(later.contact_n, weight, rtol=0.01)
    assert np.abs(later.work_j).max() < 1e-6, "of these steps alone"


def test_energy_that_a_contact_gives_is_seen():
    """A ball put 1 cm into the plane is pushed out."""
    engine = MeteredEngine(spec(), 2, 1)
    drop(engine, 10)
    engine.qpos[0, 2] -= 0.01
    engine.forget()
    engine.rollout(np.zeros((2, 100, 1)))
    assert engine.take().work_j[0] > 0.01


def test_it_changes_no_bit():
    plain, metered = MujocoEngine(spec().compile(), 2, 1), MeteredEngine(spec(), 2, 1)
    np.testing.assert_array_equal(drop(plain, 300), drop(metered, 300))
    for name in ("qpos", "qvel", "qacc_warmstart"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(metered, name))
