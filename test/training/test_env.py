# SPDX-License-Identifier: Apache-2.0
"""The environment: replays, gate, failures, time limit, reward once, independence."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.action import decode_action, encode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import rotation_z
from resip_ros.core.kinematics import forward
from resip_ros.core.observation import observation_names
from resip_ros.core.reference_check import LEAD
from resip_ros.core.tasks import ONE_LEG
from training import perturbation
from training.env import AssemblyEnv, Snapshot

NAMES = observation_names(ONE_LEG)
LEG = NAMES.index("leg4_x")
LEFT = np.array([0.0, 1.0, 0.0])


def make(count: int, **more) -> AssemblyEnv:
    env = AssemblyEnv("one_leg", count, seed=5, num_threads=1, pool_size=2, **more)
    env.reset(None, env.initial_states(list(range(count))))
    return env


@pytest.fixture(scope="module")
def shared() -> AssemblyEnv:
    return make(2)


@pytest.fixture
def env(shared) -> AssemblyEnv:
    """Two environments at their initial states 0 and 1."""
    shared.episode_steps = 700
    shared.reset(None, shared.initial_states([0, 1]))
    return shared


def wander(env: AssemblyEnv, rng: np.random.Generator) -> np.ndarray:
    """Actions a few centimetres around the hands."""
    pos, rot, _ = decode_action(env.hold_action())
    turn = rotation_z(rng.normal(size=env.num_envs) * 0.1)
    close = rng.choice([-1.0, 1.0], env.num_envs)
    return encode_action(pos + rng.normal(size=pos.shape) * 0.02, turn @ rot, close)


def part_columns(snapshot: Snapshot, env: AssemblyEnv, part: str) -> slice:
    start = int(env.model.joint(part).qposadr[0])
    return slice(start, start + 7)


def seated(env: AssemblyEnv, ids: list[int]) -> Snapshot:
    """The state of some environments with leg4 screwed into the top."""
    state = env.snapshot(np.array(ids))
    top = state.qpos[:, part_columns(state, env, "top")]
    yaw = 2 * np.arctan2(top[:, 6], top[:, 3])
    leg = top.copy()
    offset = rotation_z(yaw) @ np.array(ONE_LEG.pairs[0].positions[1])
    leg[:, :3] += offset
    state.qpos[:, part_columns(state, env, "leg4")] = leg
    return state


def test_observation_is_the_state(env):
    obs = env.observe()
    assert obs.shape == (2, 58) == (env.num_envs, env.obs_dim)
    state = env.initial_states([0])[0]
    pos, rot = forward(state.joints)
    np.testing.assert_allclose(obs[0, :3], pos, atol=1e-12)
    np.testing.assert_allclose(obs[0, 3:9], rot[:2].ravel(), atol=1e-12)
    np.testing.assert_array_equal(obs[0, 9:15], 0.0)
    assert obs[0, 15] == pytest.approx(env.config.gripper_max_width_m)
    np.testing.assert_allclose(obs[0, LEG : LEG + 3], state.part_qpos["leg4"][:3], atol=1e-12)
    np.testing.assert_allclose(obs[0, -7:-4], state.mocap_pos[0], atol=1e-12)
    np.testing.assert_array_equal(obs[:, -4:], [[0, 0, 0, 1]] * 2)


def test_velocity_is_that_of_the_hand(env):
    pos, rot, gripper = decode_action(env.hold_action())
    for _ in range(6):
        pos = pos + np.array([0.0, 0.01, 0.01])
        result = env.step(encode_action(pos, rot, gripper))
    np.testing.assert_allclose(result.obs[:, 10:12], 0.1, atol=0.02)
    np.testing.assert_array_equal(result.obs, env.observe())


def test_restored_snapshot_replays(env, rng):
    """As it went before to a micrometre (parts asleep then are awake now); then bit for bit."""
    for _ in range(4):
        env.step(wander(env, rng))
    saved = env.snapshot(np.arange(2))
    actions = [wander(env, rng) for _ in range(6)]
    first = [env.step(action) for action in actions]
    second = resume(env, saved, actions)
    third = resume(env, saved, actions)
    for before, again, once_more in zip(first, second, third, strict=True):
        np.testing.assert_allclose(again.obs, before.obs, rtol=0, atol=1e-6)
        np.testing.assert_allclose(again.force, before.force, rtol=0, atol=1e-3)
        assert once_more.obs.tobytes() == again.obs.tobytes()
        assert once_more.force.tobytes() == again.force.tobytes()
    env.reset(np.array([1]), saved[np.array([0])])
    np.testing.assert_array_equal(env.t, [10, 4])
    # now both slots hold what slot 0 held: a state may be resumed anywhere
    env.reset(np.array([0]), saved[:1])
    swapped = env.step(actions[0][[0, 0]])
    np.testing.assert_array_equal(swapped.obs[0], swapped.obs[1])
    assert swapped.obs[0].tobytes() == second[0].obs[0].tobytes()


def resume(env: AssemblyEnv, saved: Snapshot, actions: list) -> list:
    env.reset(np.arange(2), saved)
    np.testing.assert_array_equal(env.t, saved.t)
    return [env.step(action) for action in actions]


def test_environments_are_independent(env, rng):
    saved = env.snapshot(np.arange(2))
    calm, wild = env.hold_action(), env.hold_action()
    wild[1] = wander(env, rng)[1]
    for _ in range(3):
        alone = env.step(calm).obs[0].copy()
    env.reset(np.arange(2), saved)
    for _ in range(3):
        result = env.step(wild)
    assert result.obs[0].tobytes() == alone.tobytes()
    assert np.abs(result.obs[1, :3] - saved_hand(env, saved)).max() > 1e-3


def saved_hand(env: AssemblyEnv, saved: Snapshot) -> np.ndarray:
    joints = [int(env.model.joint(f"fr3_joint{i}").qposadr[0]) for i in range(1, 8)]
    return forward(saved.qpos[1, joints])[0]


def test_hand_goes_where_the_action_says(env):
    pos, rot, _ = decode_action(env.hold_action())
    target = pos + np.array([0.01, -0.01, 0.015])
    for _ in range(12):
        result = env.step(encode_action(target, rot, np.ones(2)))
    np.testing.assert_allclose(result.obs[:, :3], target, atol=5e-4)
    assert (result.obs[:, 15] < 0.002).all(), "an empty hand closes"
    assert not result.refused.any()
    assert result.force.max() < 1.0
    for _ in range(8):
        result = env.step(encode_action(target, rot, -np.ones(2)))
    np.testing.assert_allclose(result.obs[:, 15], env.config.gripper_max_width_m, atol=1e-3)


@pytest.mark.parametrize("fault", ["nan", "rotation", "jump"])
def test_refused_action_stops_that_arm(env, fault):
    pos, rot, gripper = decode_action(env.hold_action())
    for i in range(4):
        env.step(encode_action(pos + 0.012 * (i + 1) * LEFT, rot, gripper))
    bad = encode_action(pos + 0.06 * LEFT, rot, gripper)
    if fault == "nan":
        bad[0, 4] = np.nan
    elif fault == "rotation":
        bad[0, 3:9] = 0.0
    else:
        bad[0, 2] -= env.config.max_jump_m + 0.05
    moving = np.linalg.norm(env.observe()[0, 9:12])
    result = env.step(bad)
    assert result.refused.tolist() == [True, False]
    assert result.failure.tolist() == ["", ""]
    result = env.step(bad)
    assert result.failure.tolist() == ["held", ""], "the bridge's time-out ends the episode"
    assert result.terminated.tolist() == [True, False]
    for _ in range(6):
        result = env.step(bad)
    assert moving > 0.05
    assert np.linalg.norm(result.obs[0, 9:12]) < 0.01 * moving
    assert np.isfinite(result.obs).all()
    # it goes on from where it stopped
    result = env.step(env.hold_action())
    assert not result.refused.any()
    assert result.failure.tolist() == ["", ""]


def test_a_snapshot_has_how_long_nothing_was_accepted(env):
    env.step(env.hold_action())
    bad = np.full_like(env.hold_action(), np.nan)
    env.step(bad)
    saved = env.snapshot(np.arange(2))
    env.reset()
    assert env.step(bad).failure.tolist() == ["", ""], "a new episode has its whole time"
    env.reset(np.arange(2), saved)
    assert env.step(bad).failure.tolist() == ["held", "held"]


def test_a_reference_that_the_bridge_would_refuse_is_refused_here(env):
    """The target may be followed, the reference may not: it leads too far before a stuck hand."""
    q_ref = env._path.q_ref
    reach = np.linalg.norm(env.observe()[0, :2])
    q_ref[0, 0] += (LEAD + 3.0) * env.config.leash_m / reach
    before = q_ref[0].copy()
    result = env.step(env.hold_action())
    assert result.refused.tolist() == [True, False]
    assert result.failure.tolist() == ["", ""]
    assert np.abs(env._path.q_ref[0] - before).max() < 1e-9, "the reference stands still"


def test_pushing_down_is_bounded_by_the_leash(env):
    result = press_down(env, 80, step=0.015)
    assert result["force"].max() > 5.0, "the hand never arrived"
    result = press_down(env, 10, step=0.09)
    assert result["force"].max() < env.config.force_threshold_n
    assert result["failure"] == ["", ""]


def press_down(env: AssemblyEnv, steps: int, step: float) -> dict:
    """Push the hand down onto the top, asking for ``step`` m below where it is."""
    pos, rot, gripper = decode_action(env.hold_action())
    force, failure = [], ["", ""]
    for _ in range(steps):
        now = env.observe()[:, :3]
        pos[:, 2] = np.maximum(now[:, 2] - step, env.config.workspace_min[2])
        result = env.step(encode_action(pos, rot, gripper))
        force.append(result.force)
        failure = [a or str(b) for a, b in zip(failure, result.failure, strict=True)]
    return {"force": np.array(force), "failure": failure}


@pytest.mark.parametrize("off", ["force_threshold_n", "torque_threshold_nm"])
def test_pushing_hard_is_a_reflex(off):
    """By the force and by the joint torque, each with the other threshold out of reach."""
    config = dataclasses.replace(
        load_control_config(),
        leash_m=0.2,
        max_jump_m=0.5,
        workspace_min=(0.2, -0.4, -0.15),
        **{off: 1e6},
    )
    env = make(2, config=config)
    result = press_down(env, 15, step=0.15)
    assert "reflex" in result["failure"]
    assert result["force"].max() > load_control_config().force_threshold_n


def test_thrown_part_is_a_failure(env):
    state = env.snapshot(np.arange(2))
    state.qpos[1, part_columns(state, env, "leg2")][2] = 0.7
    env.reset(np.arange(2), state)
    result = env.step(env.hold_action())
    assert result.failure.tolist() == ["", "thrown"]
    assert result.terminated.tolist() == [False, True]
    assert result.reward.tolist() == [0.0, 0.0]


def test_time_limit_truncates(env):
    env.episode_steps = 3
    env.reset(np.array([1]), env.initial_states([1]))
    for step in range(1, 4):
        result = env.step(env.hold_action())
        assert result.truncated.tolist() == [step == 3] * 2
        assert not result.terminated.any()
    env.reset(np.array([0]), env.initial_states([0]))
    assert env.t.tolist() == [0, 3]


def test_success_pays_once_and_ends(env):
    state = seated(env, [1])
    env.reset(np.array([1]), state)
    result = env.step(env.hold_action())
    assert result.success.tolist() == [False, True]
    assert result.reward.tolist() == [0.0, 1.0]
    assert result.reward.dtype == np.float32
    assert result.terminated.tolist() == [False, True]
    assert result.truncated.tolist() == [False, False]
    assert result.failure.tolist() == ["", ""]
    # the caller resets what ended; the new episode pays nothing by itself
    env.reset(np.array([1]), env.initial_states([1]))
    assert env.step(env.hold_action()).reward.tolist() == [0.0, 0.0]


def test_success_at_the_time_limit_is_no_truncation(env):
    env.episode_steps = 1
    env.reset(np.array([0]), seated(env, [0]))
    result = env.step(env.hold_action())
    assert result.terminated.tolist() == [True, False]
    assert result.truncated.tolist() == [False, True]


def test_pool_draws_repeat_with_the_seed():
    first, second, other = (
        AssemblyEnv("one_leg", 2, seed=seed, num_threads=1, pool_size=3) for seed in (1, 1, 2)
    )
    for env in (first, second, other):
        env.reset()
    np.testing.assert_array_equal(first.observe(), second.observe())
    assert np.abs(first.observe() - other.observe()).max() > 1e-3


def rest(env: AssemblyEnv, steps: int) -> np.ndarray:
    """Observations (steps, N, D) of hands that hold still."""
    hold = env.hold_action()
    return np.array([env.step(hold).obs for _ in range(steps)])


def test_perturbation_moves_sleeping_parts(monkeypatch):
    env = make(2, perturb=True)
    monkeypatch.setattr(perturbation, "CHANCE", 0.0)
    still = rest(env, 4)[:, :, 16:-7].reshape(4, 2, -1, 7)
    np.testing.assert_allclose(still[-1], still[0], atol=1e-5)
    asleep = env._engine._batch.bind("tree_asleep")
    assert (asleep[:, 1:] >= 0).all(), "parts at rest sleep"
    monkeypatch.setattr(perturbation, "CHANCE", 1.0)
    pushed = rest(env, 3)[-1, :, 16:-7].reshape(2, -1, 7)
    monkeypatch.setattr(perturbation, "CHANCE", 0.0)
    moved = np.linalg.norm((pushed - still[-1])[..., :3], axis=-1)
    assert (moved > 1e-3).all(), moved
    assert moved.max() < 0.15
    assert env.step(env.hold_action()).failure.tolist() == ["", ""]
    ended = rest(env, 8)[-1, :, 16:-7].reshape(2, -1, 7)
    assert np.linalg.norm((ended - pushed)[..., :3], axis=-1).max() < 0.1
    assert (asleep[:, 1:] >= 0).all(), "and they sleep again"


def test_perturbation_repeats_with_the_seed_and_is_off_by_default(monkeypatch):
    monkeypatch.setattr(perturbation, "CHANCE", 1.0)
    first, second, off = make(2, perturb=True), make(2, perturb=True), make(2)
    one, two = rest(first, 3), rest(second, 3)
    assert one.tobytes() == two.tobytes()
    calm = rest(off, 3)
    assert np.abs(calm - one).max() > 1e-3
    monkeypatch.setattr(perturbation, "CHANCE", 0.0)
    assert rest(make(2, perturb=True), 3).tobytes() == calm.tobytes()
    # a numbered episode: the same impulses in the other environment
    monkeypatch.setattr(perturbation, "CHANCE", 1.0)
    first.reset(None, first.initial_states([0, 0]), np.array([5, 5]))
    third = rest(first, 2)
    np.testing.assert_array_equal(third[:, 0], third[:, 1])


def test_wrong_use_is_explained(env):
    with pytest.raises(ConfigError, match="num_envs: got 0"):
        AssemblyEnv("one_leg", 0)
    with pytest.raises(ConfigError, match="unknown task 'two_leg'"):
        AssemblyEnv("two_leg", 1)
    with pytest.raises(ConfigError, match="reset of 2 environments got 1 states"):
        env.reset(None, env.initial_states([0]))
    env.reset(np.array([], dtype=np.int64))
