# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

import pytest

from resip_ros.core.errors import CheckpointMismatch, ConfigError
from training import bench


def test_env_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def fake(task: str, num_envs: int, steps: int, scaling: bool) -> dict[str, object]:
        seen.append((task, num_envs, steps, scaling))
        return {"overhead": 0.2, "within_limit": False}

    monkeypatch.setattr(bench, "bench_env", fake)
    file = tmp_path / "deep" / "env.json"
    assert bench.main("env", num_envs=2, steps=3, scaling=True, json_file=file) == 1
    assert seen == [("one_leg", 2, 3, True)]
    expected = {"bench": "env", "task": "one_leg", "overhead": 0.2, "within_limit": False}
    assert json.loads(file.read_text()) == expected


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
