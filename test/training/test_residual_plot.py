# SPDX-License-Identifier: Apache-2.0
"""Where commands carry a part, which steps are an insertion, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import rotvec_to_matrix
from resip_ros.core.observation import build_proprioception, build_state_observation
from resip_ros.core.tasks import get_task
from resip_ros.policy.bundle import load_policy
from training import residual_plot
from training.env import AssemblyEnv
from training.residual_plot import WatchedActor, carry_tip, cut_insertion, draw, main
from training.view import Episode, run_episode

TASK = get_task("peg_in_hole")
PNG = b"\x89PNG\r\n\x1a\n"
DOWN = np.diag([1.0, -1.0, -1.0])
HOLE = np.array([0.4, -0.05, 0.02])
_LIFT_TO_MOUTH = 0.035
"""Height of the peg's origin over the hole's when its tip is in the mouth: 15 + 20 mm."""


def observe(tip, hand=(0.0, 0.0, 0.03)):
    """Observation with the peg upright, its tip (3,) m from the mouth, the hand `hand` from it."""
    peg = HOLE + np.array([0.0, 0.0, _LIFT_TO_MOUTH]) + tip
    still, upright = np.zeros(3), [0.0, 0.0, 0.0, 1.0]
    proprio = build_proprioception(peg + hand, DOWN, still, still, np.array(0.01))
    poses = {"peg": [*peg, *upright], "hole": [*HOLE, *upright], "fixture": [*HOLE, *upright]}
    return build_state_observation(TASK, proprio, {k: np.array(v) for k, v in poses.items()})


def command(obs, move=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0)):
    """Action that moves the hand of an observation by `move` m, and turns it by `turn` rad."""
    return encode_action(obs[:3] + move, rotvec_to_matrix(np.array(turn)) @ DOWN, np.array(1.0))


@pytest.fixture
def descent():
    """40 steps down to 16 mm inside; the residual moves by (1, 0, -2) mm in every step."""
    depth = np.linspace(0.061, -0.018, 40)
    obs = np.array([observe([0.0, 0.0, z]) for z in depth])
    base = np.array([command(row) for row in obs])
    net = base.copy()
    net[:, :3] += [0.001, 0.0, -0.002]
    return obs, base, net


def test_the_part_goes_where_the_hand_is_sent():
    obs = observe([0.003, 0.0, 0.010])
    actions = [
        command(obs),
        command(obs, move=(0.002, -0.001, -0.01)),
        command(obs, turn=(0, 0.1, 0)),
    ]
    tips = carry_tip(TASK, np.array([obs] * 3), np.array(actions))
    np.testing.assert_allclose(tips[0], [0.003, 0.0, 0.010], atol=1e-9)
    np.testing.assert_allclose(tips[1], [0.005, -0.001, 0.0], atol=1e-9)
    # the tip hangs 55 mm under the hand: 25 mm under the peg's origin, which is 30 mm under it
    swing = 0.055 * np.array([-np.sin(0.1), 0.0, 1 - np.cos(0.1)])
    np.testing.assert_allclose(tips[2], np.array([0.003, 0.0, 0.010]) + swing, atol=1e-9)


def test_insertion_is_from_near_the_mouth_to_well_inside(descent):
    insertion = cut_insertion(TASK, *descent)
    heights = 1e3 * np.linspace(0.061, -0.018, 40)
    first = int(np.flatnonzero(heights < 20)[0])
    complete = int(np.flatnonzero(-heights / 20 > 0.48)[0])
    assert insertion.time_s[0] == pytest.approx(first / 10)
    np.testing.assert_allclose(insertion.tip[:, 2], heights[first : complete + 4], atol=1e-3)
    np.testing.assert_allclose(insertion.base, insertion.tip, atol=1e-3)
    np.testing.assert_allclose(insertion.net - insertion.base, [[1.0, 0.0, -2.0]] * len(
        insertion.tip), atol=1e-3)  # fmt: skip
    assert insertion.correction == pytest.approx((1.0, 2.0), abs=1e-3)
    assert insertion.goal_z == -20.0


def test_an_insertion_that_fails_is_cut_off(descent):
    obs = np.array([observe([0.002, 0.0, 0.001])] * 200)
    base = np.array([command(row) for row in obs])
    assert len(cut_insertion(TASK, obs, base, base).tip) == 60
    assert len(cut_insertion(TASK, obs[:7], base[:7], base[:7]).tip) == 7
    with pytest.raises(ResipError, match="peg never came within 20 mm of its hole.*--seed"):
        cut_insertion(TASK, *(each[:5] for each in descent))


def test_arrows_go_from_base_to_net(descent):
    insertion = cut_insertion(TASK, *descent)
    figure = draw(insertion, "title")
    x_z, y_z = figure.axes[3:]
    [arrows] = [each for each in x_z.collections if hasattr(each, "U")]
    np.testing.assert_allclose(arrows.XY, insertion.base[:, [0, 2]])
    np.testing.assert_allclose(np.c_[arrows.U, arrows.V], [[1.0, -2.0]] * arrows.N, atol=1e-3)
    [arrows] = [each for each in y_z.collections if hasattr(each, "U")]
    np.testing.assert_allclose(np.c_[arrows.U, arrows.V], [[0.0, -2.0]] * arrows.N, atol=1e-3)


def test_the_actor_keeps_what_it_saw(tiny_base):
    env = AssemblyEnv("one_leg", 1, num_threads=1)
    env.episode_steps = 3
    actor = WatchedActor(load_policy(tiny_base), env, 5)
    episode = run_episode(actor, env, 5)
    assert len(actor.seen) == len(episode.net) == 3
    env.reset(states=env.initial_states([0], seed=5))
    np.testing.assert_array_equal(actor.seen[0], env.observe()[0])


def test_an_episode_becomes_a_picture(descent, tmp_path, monkeypatch, capsys):
    obs, base, net = descent

    def run(actor, env, seed):
        actor.seen = list(obs)
        return Episode(base, net, np.zeros(1), np.zeros(1), "assembled")

    residual = SimpleNamespace(card=SimpleNamespace(chunk_steps=1))
    sight = SimpleNamespace(images=())
    policy = SimpleNamespace(task=TASK, base=sight, residual=residual)
    monkeypatch.setattr(residual_plot, "load_policy", lambda _: policy)
    monkeypatch.setattr(residual_plot, "run_episode", run)
    out = tmp_path / "new" / "residual.png"
    assert main(["models/x", "--task", "peg_in_hole", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(PNG)
    assert "mean correction 1.0 mm across the hole's axis, 2.0 mm along" in capsys.readouterr().out
    residual.card.chunk_steps = 8
    assert main(["models/x", "--task", "peg_in_hole", "--out", str(tmp_path / "b.png")]) == 1
    assert "has no residual that corrects every step" in capsys.readouterr().err


def test_bad_input_is_one_line(tiny_base, tmp_path, capsys):
    out = tmp_path / "a.png"
    for arguments, message in (
        (["--out", str(out)], "has no residual that corrects every step"),
        (["--task", "lamp", "--out", str(out)], "is a policy for one_leg, expected lamp"),
        (["--task", "one_lag", "--out", str(out)], "did you mean 'one_leg'"),
        (["--out", str(tmp_path / "a.mp4")], "expected a file that ends in .png"),
    ):
        assert main([str(tiny_base), *arguments]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("training.residual_plot: ")
        assert message in line
    assert main([str(tmp_path / "none"), "--out", str(out)]) == 1
    assert "none" in capsys.readouterr().err
    assert not out.exists()
