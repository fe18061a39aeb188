# SPDX-License-Identifier: Apache-2.0
"""Control numbers: every shipped file loads, every wrong value is refused by its name."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import config_path

FIELDS = [field.name for field in dataclasses.fields(ControlConfig)]
SHIPPED = sorted(config_path("robots/fr3.yaml").parent.glob("*.yaml"))


@pytest.fixture
def numbers() -> dict:
    return yaml.safe_load(config_path("robots/fr3.yaml").read_text())


def _load(tmp_path: Path, data: object) -> ControlConfig:
    path = tmp_path / "robot.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_control_config(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_robot_loads(path, numbers):
    config = load_control_config(path)
    assert config.step_s == pytest.approx(0.1)
    assert (config.joint_low < config.home_joints).all()
    assert (config.home_joints < config.joint_high).all()


def test_values_are_those_of_the_file(tmp_path, numbers):
    config = _load(tmp_path, numbers)
    for name in FIELDS:
        expected = tuple(numbers[name]) if isinstance(numbers[name], list) else numbers[name]
        assert getattr(config, name) == expected


def test_joint_range_keeps_its_margin(config):
    np.testing.assert_allclose(config.joint_low - config.joint_min, config.joint_margin_rad)
    np.testing.assert_allclose(config.joint_max - config.joint_high, config.joint_margin_rad)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", ["fast", None, {"a": 1}, float("nan"), True, -1.0])
def test_wrong_values_are_refused_by_name(tmp_path, numbers, name, value):
    with pytest.raises(ConfigError, match=name):
        _load(tmp_path, numbers | {name: value})


@pytest.mark.parametrize("name", ["stiffness", "workspace_min"])
@pytest.mark.parametrize("value", ["1234567", [1.0] * 4, [1.0] * 8, ["a"] * 7, [float("inf")] * 7])
def test_wrong_vectors_are_refused_by_name(tmp_path, numbers, name, value):
    with pytest.raises(ConfigError, match=name):
        _load(tmp_path, numbers | {name: value})


@pytest.mark.parametrize("value", [0, float("inf")])
def test_zero_and_infinity_are_refused(tmp_path, numbers, value):
    with pytest.raises(ConfigError, match="leash_m: got"):
        _load(tmp_path, numbers | {"leash_m": value})


def test_iterations_are_whole(tmp_path, numbers):
    assert _load(tmp_path, numbers | {"ik_iterations": 4.0}).ik_iterations == 4
    with pytest.raises(ConfigError, match=r"ik_iterations: got 2\.5, expected a whole number"):
        _load(tmp_path, numbers | {"ik_iterations": 2.5})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference_hz": 205.0}, "reference_hz.*multiple of rate_hz"),
        ({"joint_min": [9.0] * 7}, "joint_min must be below joint_max"),
        ({"workspace_max": [0.75, -0.4, 0.6]}, "workspace_min must be below workspace_max"),
    ],
)
def test_values_must_fit_each_other(tmp_path, numbers, change, message):
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, numbers | change)


def test_unknown_and_missing_keys_are_named(tmp_path, numbers):
    with pytest.raises(ConfigError, match=r"unknown keys \['leesh_m'\]"):
        _load(tmp_path, numbers | {"leesh_m": 1.0})
    with pytest.raises(ConfigError, match="unknown keys.*7"):
        _load(tmp_path, numbers | {7: 1.0})
    del numbers["leash_m"]
    with pytest.raises(ConfigError, match=r"missing keys \['leash_m'\]"):
        _load(tmp_path, numbers)


def test_unreadable_files(tmp_path):
    with pytest.raises(ConfigError, match="cannot read.*nothing.yaml"):
        load_control_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="expected a mapping.*list"):
        _load(tmp_path, [1, 2])
    broken = tmp_path / "broken.yaml"
    for content in (b"a: [1", b"\xff\xfe"):
        broken.write_bytes(content)
        with pytest.raises(ConfigError, match="cannot read"):
            load_control_config(broken)
    with pytest.raises(ConfigError, match="cannot read.*null"):
        load_control_config(Path("\0"))


def test_another_rate_changes_the_step_alone(config):
    fast = config.at_rate(50.0)
    assert fast.step_s == pytest.approx(0.02)
    assert fast.at_rate(config.rate_hz) == config
    with pytest.raises(ConfigError, match="reference_hz"):
        config.at_rate(60.0)
