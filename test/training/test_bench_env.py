# SPDX-License-Identifier: Apache-2.0
"""The env's bench: whole demonstrations, and a twin that repeats them to the bit."""

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError
from training import bench_env


@pytest.fixture(scope="module")
def demonstrations() -> list[bench_env.Demonstration]:
    """Peg grasped and carried, from the first contact of the fingers on."""
    whole = bench_env.record_demonstrations("peg_in_hole", 2, 1, max_steps=45)
    return [bench_env.Demonstration(d.states[25:], d.actions[25:], d.success) for d in whole]


def test_recording_follows_the_episodes(demonstrations):
    for play in demonstrations:
        assert len(play) == len(play.states) == 20
        np.testing.assert_array_equal(play.states.t, np.arange(25, 45))
        assert not play.success
    assert (demonstrations[0].actions != demonstrations[1].actions).any()


def test_the_twin_does_what_the_env_does(demonstrations):
    replay = bench_env.Replay("peg_in_hole", demonstrations, 3, 1)
    # spread: one begins a third, one two thirds into its demonstration
    np.testing.assert_array_equal(replay.env.t, [25, 31, 38])
    begin = replay.env.snapshot(np.arange(3)).qpos
    held = 0
    for _ in range(10):
        env_s, alone_s = replay.step()
        assert 0.0 < alone_s < env_s + 10.0
        assert replay.engine.difference() == 0.0
        held = max(held, int(replay.engine.contacts().max()))
    assert held >= 8
    moved = np.abs(replay.env.snapshot(np.arange(3)).qpos - begin).max(-1)
    assert (moved > 1e-3).all()
    # the third came to its end and began anew
    np.testing.assert_array_equal(replay.env.t, [35, 41, 28])


def test_report(demonstrations, monkeypatch):
    monkeypatch.setattr(bench_env, "record_demonstrations", lambda *_: demonstrations)
    monkeypatch.setattr(bench_env, "SCALING_ENVS", (1, 2))
    report = bench_env.bench_env("peg_in_hole", 2, 2, scaling=True)
    assert report["mj_steps_per_s"] == pytest.approx(50 * report["env_steps_per_s"])
    assert report["timestep_s"] == 0.002
    assert 0.0 < report["contacts"]["mean"] <= report["contacts"]["max"]
    assert report["within_limit"] == (report["overhead"] <= report["overhead_limit"])
    assert report["demonstrations"] == {"episodes": 2, "successes": 0, "steps": 40}
    assert [row["num_envs"] for row in report["scaling"]][:2] == [1, 2]
    assert {row["threads"] for row in report["scaling"]} >= {1}


def test_bad_numbers_are_refused():
    with pytest.raises(ConfigError, match="num-envs.*got 0 and 3"):
        bench_env.bench_env("peg_in_hole", 0, 3, scaling=False)
