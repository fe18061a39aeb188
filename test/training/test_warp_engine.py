# SPDX-License-Identifier: Apache-2.0
"""MuJoCo Warp against MuJoCo from the same states, and what it refuses.

What compiles kernels is not run by default, for on a fresh machine it takes a minute or two:
pip install -e .[gpu], then pytest -m gpu test/training/test_warp_engine.py
"""

import importlib.util
import sys

import mujoco
import numpy as np
import pytest

from resip_ros.core.errors import ConfigError, ResipError
from training import warp_engine
from training.demonstrators.one_leg import Operator
from training.demonstrators.registry import make_demonstrator
from training.engine import make_engine
from training.env import AssemblyEnv
from training.env_types import Snapshot
from training.evaluate import EvaluateSettings
from training.evaluate import run as evaluate

installed = pytest.mark.skipif(
    importlib.util.find_spec("mujoco_warp") is None,
    reason="mujoco_warp is not installed: pip install -e .[gpu]",
)


def gpu(test):
    """Compiles kernels, or loads what an earlier run has compiled."""
    return pytest.mark.gpu(pytest.mark.timeout(900)(installed(test)))


# ---- refusals


def test_without_the_package_it_says_what_to_install(monkeypatch, tiny_base):
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    with pytest.raises(ConfigError, match=r"pip install resip_ros\[gpu\]"):
        AssemblyEnv("one_leg", 1, engine="warp")
    with pytest.raises(ConfigError, match=r"pip install resip_ros\[gpu\]"):
        evaluate(EvaluateSettings(tiny_base, episodes=1, engine="warp"))


def chain(bodies: int, option: str) -> mujoco.MjModel:
    """Bodies that float beside each other, six degrees of freedom each."""
    body = '<body pos="{} 0 0"><freejoint/><geom size="0.1" mass="1"/></body>'
    text = "".join(body.format(i) for i in range(bodies))
    return mujoco.MjModel.from_xml_string(
        f"<mujoco>{option}<worldbody>{text}</worldbody></mujoco>"
    )


@installed
@pytest.mark.parametrize(
    ("bodies", "option", "reason"),
    [
        (11, '<option jacobian="dense"/>', r"nv > 60 \(nv = 66\)"),
        (1, '<option solver="PGS"/>', "SOL_PGS is unsupported"),
        (1, '<option><flag autoreset="disable"/></option>', "AUTORESET is unsupported"),
    ],
)
def test_what_it_cannot_simulate_is_refused_with_the_reason(bodies, option, reason):
    with pytest.raises(ConfigError, match=rf"cannot simulate this model: .*{reason}"):
        make_engine("warp", chain(bodies, option), 1, 1)


# ---- the same physics


@pytest.fixture(scope="module")
def cpu() -> AssemblyEnv:
    return AssemblyEnv("one_leg", 2, seed=3, num_threads=1, pool_size=1)


@pytest.fixture(scope="module")
def gpu_env() -> AssemblyEnv:
    return AssemblyEnv("one_leg", 2, seed=3, num_threads=1, pool_size=1, engine="warp")


@pytest.fixture(scope="module")
def episode(cpu) -> dict[int, tuple[Snapshot, np.ndarray]]:
    """States and next actions of two demonstrations after some of their steps."""
    cpu.reset(None, cpu.initial_states([0, 1]))
    operators = [Operator(np.random.default_rng((3, i))) for i in range(2)]
    moments = {}
    for step in range(191):
        obs = cpu.observe()
        action = np.stack([op.act(o) for op, o in zip(operators, obs, strict=True)])
        if step in (20, 60, 120, 190):
            moments[step] = cpu.snapshot(np.arange(2)), action
        cpu.step(action)
    return moments


def differences(env: AssemblyEnv, one: Snapshot, two: Snapshot) -> dict[str, float]:
    """Largest differences: joints, rad or m; positions of parts, m; their quaternions."""
    gap = np.abs(one.qpos - two.qpos)
    starts = np.array(list(env._part_qpos.values()))
    return {
        "joints": gap[:, : starts.min()].max(),
        "positions": gap[:, starts[:, None] + np.arange(3)].max(),
        "quaternions": gap[:, starts[:, None] + np.arange(3, 7)].max(),
    }


@gpu
@pytest.mark.parametrize(
    ("step", "joints", "positions", "quaternions"),
    [
        (20, 2e-6, 1e-6, 1e-6),
        (60, 1e-4, 1e-4, 5e-3),
        (120, 1.5e-4, 2e-4, 3e-3),
        (190, 1e-4, 1e-4, 5e-4),
    ],
    ids=["free space", "leg in the hand", "leg starts in the thread", "leg turns in the thread"],
)
def test_one_policy_step_agrees(cpu, gpu_env, episode, step, joints, positions, quaternions):
    """Measured on Warp's CPU device, joints, positions and quaternions in turn.

    Free space 3.4e-7, 2.9e-8, 1.2e-7; in the hand 2.7e-5, 2.8e-5, 1.2e-3 (single precision
    finds 24 of 26 contacts: a line contact of pad and leg loses points); start of the thread
    3.3e-5, 5.0e-5, 7.0e-4; turning in it 2.2e-5, 1.9e-5, 9.6e-5. MuJoCo itself moves by up to
    1e-3 in a quaternion when a leg that was let go stands in the thread and its state is rounded
    to single precision.
    """
    start, action = episode[step]
    ends, results = [], []
    for env in (cpu, gpu_env):
        env.reset(None, start)
        results.append(env.step(action))
        ends.append(env.snapshot(np.arange(2)))
    assert np.abs(ends[0].qpos - start.qpos).max() > 1e-3, "something moves"
    gap = differences(cpu, *ends)
    assert gap["joints"] < joints
    assert gap["positions"] < positions
    assert gap["quaternions"] < quaternions
    np.testing.assert_allclose(results[1].force, results[0].force, rtol=0.01, atol=0.01)
    for name in ("reward", "terminated", "failure", "refused"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))


@gpu
@pytest.mark.parametrize(
    ("task", "start"),
    [("peg_in_hole", 30), ("peg_in_hole", 60), ("one_leg", 40)],
    ids=["peg: grasp, lift", "peg: insert", "leg: grasp, lift"],
)
def test_two_seconds_of_an_episode_agree(task, start):
    """The same 20 actions on both engines, from the same states of two demonstrations.

    Measured on Warp's CPU device after 1, 5, 10 and 20 steps, joints in rad / positions in mm:
    peg, grasp and lift 7e-7, 3e-7, 2e-5, 6e-7 / 0.000, 0.000, 0.090, 0.064; peg, insert 3e-7,
    3e-7, 1e-4, 8e-5 / 0.000, 0.000, 0.086, 0.047 (in between, while the rim catches the peg, one
    engine is up to 4e-3 rad ahead); leg, grasp and lift 5e-7, 1e-5, 2e-6, 8e-7 / 0.000, 0.044,
    0.072, 0.072. What differs comes in with a contact and stays.
    """
    make = {"seed": 3, "num_threads": 1, "pool_size": 1}
    envs = [AssemblyEnv(task, 2, **make), AssemblyEnv(task, 2, **make, engine="warp")]
    cpu, pair = envs[0], np.arange(2)
    cpu.reset(None, cpu.initial_states([0, 1]))
    operators = [make_demonstrator(task, np.random.default_rng((3, i))) for i in range(2)]
    actions = []
    for step in range(start + 20):
        if step == start:
            moment = cpu.snapshot(pair)
        obs = cpu.observe()
        actions.append(np.stack([op.act(o) for op, o in zip(operators, obs, strict=True)]))
        cpu.step(actions[-1])
    for env in envs:
        env.reset(None, moment)
    for action in actions[start:]:
        one, two = (env.step(action) for env in envs)
        for name in ("success", "failure", "refused"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    gap = differences(cpu, *(env.snapshot(pair) for env in envs))
    assert gap["joints"] < 5e-4
    assert gap["positions"] < 3e-4
    assert np.abs(cpu.snapshot(pair).qpos - moment.qpos).max() > 1e-2, "something moves"


@gpu
def test_reset_touches_only_its_simulation(gpu_env, episode):
    start, action = episode[60]
    gpu_env.reset(None, start)
    gpu_env.step(action)
    moved = gpu_env.snapshot(np.arange(2))
    gpu_env.reset(np.array([1]), start[1:])
    now = gpu_env.snapshot(np.arange(2))
    np.testing.assert_array_equal(now.qpos[0], moved.qpos[0])
    np.testing.assert_array_equal(now.qpos[1], start.qpos[1])
    both = gpu_env.step(action).obs
    gpu_env.reset(None, Snapshot.concatenate([moved[:1], start[1:]]))
    again = gpu_env.step(action).obs
    np.testing.assert_allclose(both, again, atol=1e-5)


@gpu
def test_a_simulation_that_blows_up_fails_alone(gpu_env, episode):
    start, action = episode[20]
    gpu_env.reset(None, start)
    sound = gpu_env.step(action)
    gpu_env.reset(None, start)
    gpu_env._qvel[0, 3] = np.nan
    result = gpu_env.step(action)
    assert result.failure.tolist() == ["unstable", ""]
    assert np.isfinite(result.obs).all()
    np.testing.assert_allclose(result.obs[1], sound.obs[1], atol=1e-5)
    gpu_env.reset(None, start)
    np.testing.assert_allclose(gpu_env.step(action).obs, sound.obs, atol=1e-5)


@gpu
def test_contacts_that_do_not_fit_are_an_error(monkeypatch, cpu, episode):
    start, _ = episode[60]
    monkeypatch.setattr(warp_engine, "ROWS_PER_ENV", 32)
    engine = make_engine("warp", cpu.model, 2, 1)
    engine.qpos[:], engine.ctrl[:] = start.qpos, start.ctrl
    engine.mocap_pos[:] = start.mocap_pos
    with pytest.raises(ResipError, match="contacts of simulation 0 did not fit; raise CONTACTS"):
        engine.rollout(start.ctrl[:, None])
