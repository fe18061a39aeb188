# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import numpy as np
import pytest

from resip_ros.core.errors import CheckpointMismatch, ConfigError
from training import bench
from training.env import AssemblyEnv


def test_bare_stepping_repeats_the_env(rng: np.random.Generator) -> None:
    env = AssemblyEnv("one_leg", 2, num_threads=1, pool_size=2)
    env.reset()
    held = env.snapshot(np.arange(2))
    bare = bench.BareSimulation(env.model, 2, 1, 50)
    assert 0.0 < bare.time_step(held) < 10.0
    # same states, same held controls: at rest the bench stays as it was
    moved = bare.positions() - held.qpos
    assert np.abs(moved).max() < 1e-2
    assert np.abs(moved).max() > 0.0


def test_env_report(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "env.json"
    code = bench.main("env", num_envs=2, steps=2, json_file=file)
    report = json.loads(file.read_text())
    assert report["bench"] == "env"
    assert report["mj_steps_per_s"] == pytest.approx(50 * report["env_steps_per_s"])
    assert report["within_limit"] == (report["overhead"] <= report["overhead_limit"])
    assert code == (0 if report["within_limit"] else 1)


@pytest.mark.parametrize(("limit", "code"), [(1e6, 0), (0.0, 1)])
def test_policy_report_obeys_its_limit(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float, code: int
) -> None:
    monkeypatch.setattr(bench, "CHUNK_LIMIT_MS", limit)
    file = tmp_path / "policy.json"
    assert bench.main("policy", policy=tiny_base, steps=3, json_file=file) == code
    report = json.loads(file.read_text())
    assert 0.0 < report["chunk_latency_ms"]["p50"] <= report["chunk_latency_ms"]["p99"]
    assert "correction_latency_ms" not in report


def test_cloning_report(tmp_path: Path) -> None:
    file = tmp_path / "bc.json"
    code = bench.main("bc", steps=1, json_file=file)
    report = json.loads(file.read_text())
    assert report["step_ms"]["p50"] > 0.0
    assert code == (0 if report["step_ms"]["p50"] <= report["step_limit_ms"] else 1)


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one_lag"):
        bench.main("env", task="one_lag")
    with pytest.raises(CheckpointMismatch):
        bench.main("policy", policy=tmp_path / "none")
