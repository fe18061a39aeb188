# SPDX-License-Identifier: Apache-2.0
"""Initial states rest without overlap, and overlap is found where it is."""

import dataclasses
import json
from pathlib import Path

import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.tasks import TASKS, get_task
from resip_ros.sim.initial_states import sample_initial_state
from resip_ros.sim.scene import build_scene
from training import check_states
from training.check_states import CheckSettings, check, measure_overlap


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("randomness", ["low", "high"])
def test_states_rest_without_overlap(task: str, randomness: str, tmp_path: Path) -> None:
    """The 1 000 states of docs/tasks.md, in little."""
    out = tmp_path / "figures.json"
    figures = check(CheckSettings(task, states=4, randomness=randomness, json=out))
    assert figures["overlap_um"]["max"] < 20
    assert json.loads(out.read_text()) == figures


def test_a_part_inside_another_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    config, task = load_control_config(), get_task("peg_in_hole")
    model = build_scene("peg_in_hole", config).compile()
    state = sample_initial_state(model, task, config, "low", 0, 0)
    sunk = {**state.part_qpos, "peg": state.part_qpos["peg"].copy()}
    sunk["peg"][2] -= 0.001
    deep = dataclasses.replace(state, part_qpos=sunk)
    assert measure_overlap(model, deep, 0.03) == pytest.approx(0.001, rel=0.01)
    monkeypatch.setattr(check_states, "sample_initial_state", lambda *_: deep)
    with pytest.raises(ResipError, match=r"bodies overlap by 1\.00 mm in initial state 0"):
        check(CheckSettings("peg_in_hole", states=1))


def test_no_start_has_the_hand_in_the_rack() -> None:
    """At med some joint offsets put a finger or the hand up to 5 mm into the upper peg."""
    config, task = load_control_config(), get_task("mug_rack")
    model = build_scene("mug_rack", config).compile()
    for index in (108, 278, 373):
        state = sample_initial_state(model, task, config, "med", 0, index)
        assert measure_overlap(model, state, config.gripper_max_width_m / 2) < 2e-5


def test_a_wobbly_foot_is_drawn_until_it_rests() -> None:
    """The leaning foot of round_table rocks for seconds after a hard impulse: 23 draws here."""
    config, task = load_control_config(), get_task("round_table")
    model = build_scene("round_table", config).compile()
    state = sample_initial_state(model, task, config, "high", 0, 71)
    assert measure_overlap(model, state, config.gripper_max_width_m / 2) < 2e-5


def test_bad_counts_and_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        check(CheckSettings("one_leg", states=0))
    with pytest.raises(ConfigError, match="unknown randomness"):
        check(CheckSettings("one_leg", states=1, randomness="huge"))
