# SPDX-License-Identifier: Apache-2.0
"""Random actions are legal, and what they do stays finite and without energy out of nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import rotvec_to_matrix
from resip_ros.core.limits import action_violations
from training.random_actions import MOTIONS, RandomActions, RandomSettings, run

CONFIG = load_control_config()
MAX_CONTACT_N = 6000.0
"""An arm link that meets the bench at 0.3 m/s: one in 1 000 steps has more than 1 500 N, and
the largest of 1 000 episodes of peg_in_hole was 4 435 N."""


def test_every_action_is_legal_and_every_motion_moves(rng):
    count = 60
    pos = rng.uniform(CONFIG.workspace_min, CONFIG.workspace_max, (count, 3))
    rot = rotvec_to_matrix(rng.normal(size=(count, 3)))
    actions = RandomActions(CONFIG, count, rng)
    actions.restart(np.arange(count), np.ones(count))
    moved = []
    for _ in range(40):
        action = actions.act(encode_action(pos, rot, np.ones(count)))
        broken = action_violations(CONFIG, action, pos, rot)
        assert not any(bad.any() for bad in broken.values()), broken
        moved.append(np.linalg.norm(action[:, :3] - pos, axis=1))
    largest = np.max(moved, axis=0)
    for i, name in enumerate(MOTIONS):
        mine = largest[actions.motion == i]
        assert len(mine) > 5
        limit = CONFIG.max_jump_m if name == "jump" else CONFIG.leash_m
        assert 0.3 * limit < np.median(mine) <= limit, name


def test_what_random_actions_do_is_bounded(tmp_path: Path):
    out = tmp_path / "figures.json"
    settings = RandomSettings(
        "peg_in_hole", episodes=8, steps=6, demonstrations=1, envs=4, num_threads=1, json=out
    )
    figures = run(settings)
    assert json.loads(out.read_text()) == figures
    row = figures["motions"]["all"]
    assert row["episodes"] == 8
    assert row["steps"] <= 48
    assert row["not_finite"] == row["unstable"] == 0
    assert 0.0 < row["contact_n"]["max"] < MAX_CONTACT_N
    assert row["work_mj"]["max"] < 5.0
    assert sum(figures["motions"][m]["episodes"] for m in MOTIONS if m in figures["motions"]) == 8


@pytest.mark.parametrize("name", ["episodes", "steps", "demonstrations", "envs"])
def test_numbers_below_one_are_refused(name: str):
    with pytest.raises(ConfigError, match=f"--{name}: got 0, expected at least 1"):
        run(RandomSettings("peg_in_hole", **{name: 0}))
