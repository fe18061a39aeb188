# SPDX-License-Identifier: Apache-2.0
"""The CPU engine: exactly what mujoco.batch.Batch does, and what is asked of every engine."""

import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch

from resip_ros.core.errors import ConfigError
from training.demonstrators.one_leg import Operator
from training.engine import ENGINES, DelayedEngine, MujocoEngine, delayed_engine, make_engine
from training.env import AssemblyEnv

FIELDS = ("qpos", "qvel", "ctrl", "qacc_warmstart", "mocap_pos")


class BareBatch:
    """The calls on Batch that the env once made itself."""

    def __init__(self, model: mujoco.MjModel, count: int) -> None:
        self.batch = Batch(model, count, nthread=1, persistent=True)
        for name in FIELDS:
            setattr(self, name, self.batch.bind(name))

    def reset(self, ids):
        self.batch.reset(ids=ids, stage=mujoco.mjtStage.mjSTAGE_NONE)

    def forward(self, ids):
        self.batch.forward(ids=ids)

    def rollout(self, control):
        return self.batch.rollout(
            control.shape[1],
            control,
            control_spec=mujoco.mjtState.mjSTATE_CTRL,
            record=("qfrc_constraint",),
        )["qfrc_constraint"]


def demonstrate(env: AssemblyEnv, steps: int) -> bytes:
    """Observations and forces of the first steps of two demonstrations, every bit of them."""
    env.reset(None, env.initial_states([0, 1]))
    operators = [Operator(np.random.default_rng((3, i))) for i in range(2)]
    seen = []
    for _ in range(steps):
        obs = env.observe()
        result = env.step(np.stack([op.act(o) for op, o in zip(operators, obs, strict=True)]))
        seen += [obs.tobytes(), result.obs.tobytes(), result.force.tobytes()]
    return b"".join(seen)


def test_cpu_engine_changes_no_bit(monkeypatch):
    """The same episodes with Batch called directly, through the first contact of the hand."""
    arguments = {"seed": 3, "num_threads": 1, "pool_size": 1}
    through_engine = demonstrate(AssemblyEnv("one_leg", 2, **arguments), 60)
    monkeypatch.setattr("training.env.make_engine", lambda _, model, n, __: BareBatch(model, n))
    direct = AssemblyEnv("one_leg", 2, **arguments)
    assert isinstance(direct._engine, BareBatch)
    assert demonstrate(direct, 60) == through_engine


def test_reset_and_writes_touch_only_their_simulations():
    model = mujoco.MjModel.from_xml_string(BALL)
    engine = make_engine("mujoco", model, 3, 1)
    assert isinstance(engine, MujocoEngine)
    everyone = np.arange(3)
    engine.reset(everyone)
    engine.qvel[1, 2] = 1.0
    engine.forward(everyone)
    forces = engine.rollout(np.zeros((3, 4, 1)))
    assert forces.shape == (3, 4, 6)
    assert engine.qpos[1, 2] > engine.qpos[0, 2] == engine.qpos[2, 2] < 1.0
    before = engine.qpos.copy()
    engine.reset(np.array([1]))
    engine.forward(np.array([1]))
    np.testing.assert_array_equal(engine.qpos[1], model.qpos0)
    np.testing.assert_array_equal(engine.qpos[[0, 2]], before[[0, 2]])


def test_controls_are_applied_step_by_step():
    engine = make_engine("mujoco", mujoco.MjModel.from_xml_string(BALL), 1, 1)
    engine.reset(np.array([0]))
    engine.rollout(np.array([[[0.0], [0.0], [5.0]]]))
    assert engine.ctrl[0, 0] == 5.0
    late = engine.qvel[0, 0]
    engine.reset(np.array([0]))
    engine.rollout(np.array([[[5.0], [5.0], [5.0]]]))
    assert engine.qvel[0, 0] == pytest.approx(3 * late, rel=1e-6)


def test_an_unknown_engine_is_refused():
    model = mujoco.MjModel.from_xml_string(BALL)
    with pytest.raises(ConfigError, match="engine: got 'physx', expected one of: mujoco, warp"):
        make_engine("physx", model, 1, 1)
    with pytest.raises(ConfigError, match="'physx'"):
        AssemblyEnv("one_leg", 1, engine="physx")
    assert ENGINES[0] == "mujoco"


BALL = """
<mujoco><worldbody>
  <body name="ball" pos="0 0 1"><freejoint name="ball"/><geom size="0.05" mass="1"/>
    <site name="middle"/></body>
</worldbody><actuator><motor site="middle" gear="1 0 0 0 0 0"/></actuator></mujoco>
"""


def test_each_simulation_has_its_own_delay_also_after_a_reset():
    env = AssemblyEnv("peg_in_hole", 1, num_threads=1, pool_size=1)
    engine = DelayedEngine(env.model, np.array([0, 2, 5]) * env.model.opt.timestep, 1)
    seen = []
    engine._batch = type("Batch", (), {})()
    engine._batch.rollout = lambda steps, control, **_: (
        seen.append(control[:, :, 0].copy()) or {"qfrc_constraint": control}
    )
    engine._batch.forward = lambda ids: None
    engine.ctrl[:] = 7.0
    engine.forward(np.arange(3))
    control = np.zeros((3, 8, env.model.nu))
    control[:, :, 0] = np.arange(8)
    engine.rollout(control)
    engine.rollout(control + 8)
    assert seen[0].tolist() == [[*range(8)], [7, 7, *range(6)], [7] * 5 + [0, 1, 2]]
    assert seen[1].tolist() == [[*range(8 - d, 16 - d)] for d in (0, 2, 5)]
    engine.forward(np.array([2]))
    engine.rollout(control)
    assert seen[2][:, 0].tolist() == [0, 14, 7]


def test_the_first_of_delayed_simulations_is_the_undelayed_one():
    def step(engine) -> np.ndarray:
        env = AssemblyEnv("peg_in_hole", 2, seed=1, num_threads=1, pool_size=1, engine=engine)
        env.reset(None, env.initial_states([0, 0]))
        action = env.hold_action()
        action[:, 2] += 0.02
        return np.stack([env.step(action).obs for _ in range(3)])

    plain, delayed = step("mujoco"), step(delayed_engine(0.05))
    np.testing.assert_array_equal(delayed[:, 0], plain[:, 0])
    assert (plain[0, 1, 2] - delayed[0, 1, 2]) > 1e-3, "after one step the late one is behind"
