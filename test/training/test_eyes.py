# SPDX-License-Identifier: Apache-2.0
"""What a student sees of running simulations: its own one, now, or a step ago in the stand-in."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.mlp import MlpSpec
from resip_ros.sim.gl import NoRenderingError, find_backend
from resip_ros.sim.render import Renderer
from training.env import AssemblyEnv
from training.evaluate import EvaluateSettings, run
from training.eyes import PLAIN, Eyes

from ..bundles import save_student

TASK = "peg_in_hole"


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))
    return AssemblyEnv(TASK, 2, num_threads=1, pool_size=2)


def move(env: AssemblyEnv) -> None:
    action = env.hold_action()
    action[:, 2] -= 0.03
    env.step(action)


def test_pictures_are_of_the_right_simulation_and_time(env):
    env.reset()
    eyes = Eyes(env, PLAIN, seed=0, delay=1)
    try:
        states = []
        for _ in range(3):
            eyes.remember()
            now = env.snapshot(np.arange(2))
            states.append((now.qpos, now.mocap_pos))
            move(env)
        seen = eyes(np.array([1, 0]))
    finally:
        eyes.close()
    with Renderer(TASK) as renderer:
        for row, number in enumerate((1, 0)):
            qpos, mocap = states[-2][0][number], states[-2][1][number]
            expected = renderer.render_policy(qpos, mocap.reshape(-1, 3))
            late = renderer.render_policy(states[-1][0][number], mocap.reshape(-1, 3))
            for name in POLICY_CAMERAS:
                np.testing.assert_array_equal(seen[name][row], expected[name])
            assert not np.array_equal(late["front"], expected["front"])
    assert eyes.drawn == 2


def test_nothing_is_seen_of_the_episode_before(env):
    env.reset()
    eyes = Eyes(env, "standin", seed=0, delay=1)
    try:
        for _ in range(2):
            eyes.remember()
            move(env)
        env.reset(np.array([0]))
        eyes.remember()
        now = env.snapshot(np.arange(2))
        np.testing.assert_array_equal(eyes._states[0][0, :9], now.qpos[0, :9])
        assert np.abs(eyes._states[0][1, :7] - now.qpos[1, :7]).max() > 1e-3
        eyes.episodes = np.array([4, 4])
        one = eyes(np.array([0]))["front"]
        np.testing.assert_array_equal(one, eyes(np.array([0]))["front"])
        eyes.episodes = np.array([5, 4])
        assert not np.array_equal(one, eyes(np.array([0]))["front"])
    finally:
        eyes.close()


def test_unknown_looks_are_refused(env):
    with pytest.raises(ConfigError, match="unknown look 'night'; looks: plain, random"):
        Eyes(env, "night", seed=0)


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Bundle of an untrained student of the task."""
    folder = tmp_path_factory.mktemp("student")
    encoder = EncoderSpec(size=32, width=8, stages=1)
    save_student(folder, TASK, MlpSpec(width=16, blocks=1), 8, encoder)
    return folder


def test_a_student_is_evaluated_by_what_it_sees(student, env, shorten_episodes, capsys):
    shorten_episodes(10)
    settings = EvaluateSettings(student, TASK, episodes=2, envs=2, num_threads=1)
    figures = run(dataclasses.replace(settings, simulation="standin"))
    assert (figures["n"], figures["simulation"]) == (2, "standin")
    assert figures["pictures_per_s"] > 0
    with pytest.raises(ConfigError, match="runs on mujoco only"):
        run(dataclasses.replace(settings, simulation="standin", engine="warp"))


def test_a_policy_that_sees_the_state_has_no_look(tiny_base):
    settings = EvaluateSettings(tiny_base, "one_leg", episodes=1, envs=1, look="plain")
    with pytest.raises(ConfigError, match="sees the state, not pictures"):
        run(settings)
