# SPDX-License-Identifier: Apache-2.0
"""Episodes of policies and demonstrators: what ran, what is drawn, what is refused."""

import re
from pathlib import Path
from types import SimpleNamespace

import imageio.v3 as imageio
import numpy as np
import pytest

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.mlp import MlpSpec
from resip_ros.sim.gl import NoRenderingError, find_backend
from training import view
from training.env import AssemblyEnv
from training.view import DemonstratorActor, PolicyActor, ViewSettings, run, run_episode

from ..bundles import save_student


@pytest.fixture
def can_render() -> None:
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def short_episodes(shorten_episodes) -> None:
    shorten_episodes(4)


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    env = AssemblyEnv("one_leg", 1, num_threads=1)
    env.episode_steps = 10
    return env


def test_episode_repeats_and_without_residual_net_is_base(tiny_base: Path, env) -> None:
    policy = load_policy(tiny_base)
    first, again, other = (
        run_episode(PolicyActor(policy, env, seed), env, seed) for seed in (5, 5, 6)
    )
    assert np.array_equal(first.net, first.base)
    assert len(first.qpos) == len(first.net) + 1 == 11
    assert np.array_equal(first.qpos, again.qpos)
    assert not np.array_equal(first.qpos[0], other.qpos[0])
    assert first.outcome == "time is up"


def test_policy_plans_once_a_chunk_and_its_residual_shows(
    tiny_base: Path, env, monkeypatch
) -> None:
    policy, plans = load_policy(tiny_base), []
    predict = policy.base.predict_chunk
    monkeypatch.setattr(
        policy.base, "predict_chunk", lambda *args: plans.append(1) or predict(*args)
    )
    monkeypatch.setattr(type(policy), "correct", lambda _, obs, base: np.full_like(base, 0.01))
    actor = PolicyActor(policy, env, 0)
    obs = np.zeros(58)
    actions = [actor.act(obs) for _ in range(policy.base.action_steps + 1)]
    assert len(plans) == 2
    assert all(abs(net[0] - base[0]) > 1e-4 for base, net in actions)
    assert np.abs(actions[0][0] - actions[1][0]).max() > 0, "it goes on in its plan"


def test_demonstrator_moves_and_may_give_up(env, monkeypatch) -> None:
    actor = DemonstratorActor("one_leg", 2)
    episode = run_episode(actor, env, 2)
    assert np.array_equal(episode.net, episode.base)
    assert np.linalg.norm(np.diff(episode.net[:, :3], axis=0), axis=-1).max() > 0.005
    monkeypatch.setattr(type(actor._operator), "gave_up", True)
    episode = run_episode(actor, env, 2)
    assert (episode.outcome, len(episode.net)) == ("gave up", 1)


@pytest.mark.usefixtures("can_render", "short_episodes")
@pytest.mark.parametrize("who", ["policy", "demonstrator"])
def test_video_has_a_frame_for_every_state(tiny_base: Path, tmp_path: Path, capsys, who) -> None:
    out = tmp_path / "deep" / "episode.mp4"
    run(ViewSettings("one_leg", policy=tiny_base if who == "policy" else None, out=out))
    frames = imageio.imread(out)
    assert frames.shape == (5, 480, 1360, 3)
    assert frames[:, :, :640].std() > 5.0
    expected = "demonstrator" if who == "demonstrator" else str(tiny_base)
    assert f"{expected}, seed 0: time is up after 4 steps\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one_lag", "--out", "a.mp4"], "unknown task 'one_lag'.*did you mean 'one_leg'"),
        (["one_leg", "--out", "a.gif"], r"--out: got a.gif, expected a file that ends in \.mp4"),
        (["one_leg", "--out", "a.mp4", "--policy", "none"], "none"),
        (["one_leg", "--out", "a.mp4", "--randomness", "huge"], "unknown randomness 'huge'"),
        (["one_leg", "--out", "/proc/no_such_folder/a.mp4"], "choose another --out"),
        (["one_leg"], r"no display.*give --out FILE\.mp4"),
    ],
)
@pytest.mark.usefixtures("no_display", "can_render")
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["view", *arguments])
    assert view.main() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("training.view: ")
    assert re.search(message, line)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("can_render")
def test_policy_of_another_task_is_refused(tiny_base: Path, tmp_path, monkeypatch) -> None:
    policy = SimpleNamespace(task=SimpleNamespace(name="lamp"))
    monkeypatch.setattr(view, "load_policy", lambda _, images: policy)
    with pytest.raises(ConfigError, match="is a policy for lamp, expected one_leg"):
        run(ViewSettings("one_leg", policy=tiny_base, out=tmp_path / "a.mp4"))


def test_no_rendering_is_said_before_the_episode_runs(tmp_path, monkeypatch) -> None:
    def none() -> str:
        raise NoRenderingError("no off-screen rendering")

    monkeypatch.setattr(view, "find_backend", none)
    monkeypatch.setattr(view, "run_episode", lambda *_: pytest.fail("it ran"))
    with pytest.raises(ResipError, match="no off-screen rendering"):
        run(ViewSettings("one_leg", out=tmp_path / "a.mp4"))


@pytest.mark.usefixtures("short_episodes")
def test_without_a_file_it_plays_in_a_window(monkeypatch) -> None:
    played = []
    monkeypatch.setattr(view, "find_viewer", lambda: "viewer")
    monkeypatch.setattr(view, "play", lambda *args: played.append(args))
    run(ViewSettings("one_leg", seed=4))
    ((viewer, task, qpos, mocap_pos, rate_hz),) = played
    assert (viewer, task, len(qpos), rate_hz) == ("viewer", "one_leg", 5, 10.0)
    expected = AssemblyEnv("one_leg", 1, num_threads=1).initial_states([0], seed=4)[0]
    np.testing.assert_array_equal(mocap_pos, expected.mocap_pos)


def test_a_student_is_shown_its_pictures(can_render, short_episodes, tmp_path: Path, capsys):
    encoder = EncoderSpec(size=32, width=8, stages=1)
    save_student(tmp_path, "peg_in_hole", MlpSpec(width=16, blocks=1), 8, encoder)
    run(ViewSettings("peg_in_hole", policy=tmp_path, out=tmp_path / "student.mp4"))
    # an untrained one may ask for what is refused until the episode is held
    told = re.search(r"(?:time is up|held) after ([34]) steps", capsys.readouterr().out)
    assert told is not None
    assert len(imageio.imread(tmp_path / "student.mp4")) == int(told[1]) + 1
