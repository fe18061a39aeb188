# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.policy.bundle import load_policy
from resip_ros.sim.gl import NoRenderingError, find_backend
from training import render
from training.env import AssemblyEnv


@pytest.fixture
def can_render() -> None:
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))


def test_episode_repeats_and_without_residual_net_is_base(tiny_base: Path) -> None:
    policy = load_policy(tiny_base)
    env = AssemblyEnv("one_leg", 1, num_threads=1)
    first = render.run_episode(policy, env, seed=5, steps=10)
    again = render.run_episode(policy, env, seed=5, steps=10)
    other = render.run_episode(policy, env, seed=6, steps=10)
    assert np.array_equal(first.net, first.base)
    assert len(first.qpos) == len(first.net) + 1
    assert np.array_equal(first.qpos, again.qpos)
    assert not np.array_equal(first.qpos[0], other.qpos[0])


@pytest.mark.usefixtures("can_render")
def test_video_has_a_frame_for_every_state(tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "episode.mp4"
    render.main(tiny_base, out, steps=4)
    frames = imageio.imread(out)
    assert frames.shape == (5, 480, 1360, 3)
    assert frames[:, :, :640].std() > 5.0


def test_bad_input_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.mp4"):
        render.main(tiny_base, tmp_path / "episode.gif")
    with pytest.raises(ConfigError, match="one_lag"):
        render.main(tiny_base, tmp_path / "a.mp4", task="one_lag")
    with pytest.raises(ResipError, match="none"):
        render.main(tmp_path / "none", tmp_path / "a.mp4")


@pytest.mark.usefixtures("can_render")
def test_unwritable_place_is_one_clear_error(tiny_base: Path) -> None:
    with pytest.raises(ResipError, match="choose another --out"):
        render.main(tiny_base, Path("/proc/no_such_folder/a.mp4"), steps=1)
