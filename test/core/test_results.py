# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
from pathlib import Path

import pytest

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.results import (
    EpisodeResult,
    RunResult,
    check_folder,
    check_writable,
    percentiles,
    wilson_interval,
    write_json_atomically,
)


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "out.json", "--json")
    check_folder(tmp_path / "new" / "run", "--run-dir")
    check_folder(tmp_path, "--run-dir")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"], "nothing is left"
    for place in (tmp_path / "file" / "x", Path("/proc/x")):
        with pytest.raises(ConfigError, match="--json .*cannot write in"):
            check_writable(place, "--json")
        with pytest.raises(ConfigError, match="--run-dir .*cannot write in"):
            check_folder(place, "--run-dir")
    with pytest.raises(ConfigError, match="--run-dir .*file is a file"):
        check_folder(tmp_path / "file", "--run-dir")


def test_wilson_interval_known_values():
    # 8 of 10: 0.490-0.943 (Brown, Cai, DasGupta 2001, table of Wilson intervals)
    low, high = wilson_interval(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    assert wilson_interval(0, 5)[0] == 0.0
    assert wilson_interval(5, 5)[1] == 1.0
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_interval_narrows_with_n():
    widths = [b - a for a, b in (wilson_interval(n // 2, n) for n in (10, 100, 1000))]
    assert widths[0] > widths[1] > widths[2]
    with pytest.raises(ValueError, match="expected"):
        wilson_interval(3, 2)


def test_document_has_the_stable_keys():
    run = RunResult("one_leg", "models/one_leg", "sim")
    run.episodes.append(EpisodeResult(True, 120, 12.0, 3, "success"))
    run.episodes.append(EpisodeResult(False, 700, 70.0, 4, "time limit"))
    run.chunk_latency_ms = [1.0, 2.0, 3.0]
    document = run.to_dict()
    assert document["success_rate"] == 0.5
    assert document["episodes"][0]["steps"] == 120
    assert document["chunk_latency_ms"]["p50"] == 2.0
    assert {"task", "policy", "ci95", "late_ticks", "action_latency_ms", "realtime_factor"} <= set(
        document
    )
    json.dumps(document, allow_nan=False)


def test_percentiles_of_nothing_are_null():
    assert percentiles([]) == {"p50": None, "p99": None}


def test_json_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "result.json"
    write_json_atomically(path, {"a": 1})
    write_json_atomically(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    assert [p.name for p in path.parent.iterdir()] == ["result.json"]


def test_full_disk_keeps_the_old_file_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_json_atomically(path, {"a": 1})

    def no_space(_fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ResipError, match="No space left"):
        write_json_atomically(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_times_that_are_not_finite_are_left_out():
    assert percentiles([1.0, float("nan"), float("inf")]) == {"p50": 1.0, "p99": 1.0}
    assert percentiles([float("nan")]) == {"p50": None, "p99": None}
