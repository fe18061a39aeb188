# SPDX-License-Identifier: Apache-2.0
"""A run by the minute: what is watched and judged; a run by episodes is left alone."""

import json
import mmap
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from resip_ros.core.results import RunResult
from resip_ros.nodes import soak
from resip_ros.nodes.soak import ITSELF, Soak, find_nodes, read_usage

READY = "from pathlib import Path\nPath(__file__).with_suffix('.ready').touch()\n"
LEAK = """
import time
held = []
while True:
    held.append(bytearray(200_000))
    time.sleep(0.02)
"""


def make_result():
    return RunResult("one_leg", "p", "sim")


def test_a_run_by_episodes_watches_nothing(tmp_path):
    run = Soak(None, make_result())
    assert list(run.indices(3)) == [0, 1, 2]
    assert run.label(0, 3) == "episode 1 of 3"
    assert run.write(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_usage_of_this_process_is_plausible():
    usage = read_usage(os.getpid())
    assert 5 < usage.memory_mb < 20_000
    assert usage.shared_mb >= 0
    assert usage.threads >= 1
    assert usage.cpu_s > 0
    with Path(os.devnull).open() as one, Path(os.devnull).open() as two:
        assert one.fileno() != two.fileno()
        assert read_usage(os.getpid()).files == usage.files + 2


def test_memory_is_that_of_the_process_alone():
    before = read_usage(os.getpid())
    with mmap.mmap(-1, 40_000_000) as shared:
        shared.write(b"x" * 40_000_000)
        during = read_usage(os.getpid())
    own = b"x" * 40_000_000
    after = read_usage(os.getpid())
    assert during.shared_mb > before.shared_mb + 35
    assert after.memory_mb > before.memory_mb + 35
    assert len(own) == 40_000_000


def test_a_process_that_has_ended_has_no_usage():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert read_usage(process.pid) is None


def test_a_node_that_leaks_is_told_from_one_that_does_not(tmp_path, monkeypatch):
    """Two children in place of nodes; one grows by 10 MB a second."""
    package = tmp_path / "pretended"
    package.mkdir()
    (package / "leaky_node.py").write_text(READY + LEAK)
    (package / "calm_node.py").write_text(READY + "import time\ntime.sleep(60)\n")
    monkeypatch.setattr(soak, "SAMPLE_S", 0.05)
    children = [
        subprocess.Popen([sys.executable, "-m", f"pretended.{name}_node"], cwd=tmp_path)
        for name in ("leaky", "calm")
    ]
    try:
        while len(list(package.glob("*.ready"))) < 2:
            time.sleep(0.02)
        assert set(find_nodes()) >= {ITSELF, "leaky", "calm"}
        result = make_result()
        run = Soak(2.0 / 60.0, result)
        for index in run.indices(1):
            assert run.label(index, 1).endswith("of 0.0333333 min")
            result.chunk_latency_ms += [10.0 + index, 11.0 + index, 12.0 + index]
            time.sleep(0.1)
    finally:
        for child in children:
            child.kill()
            child.wait()
    table = run.write(tmp_path)
    document = json.loads((tmp_path / soak.SOAK_FILE).read_text())
    leaky, calm = document["processes"]["leaky"], document["processes"]["calm"]
    assert leaky["memory_mb"]["verdict"] == "grows"
    assert leaky["memory_mb"]["ci95"][0] > 1000.0
    assert calm["memory_mb"]["verdict"] == "steady"
    assert calm["threads"]["per_hour"] == calm["files"]["per_hour"] == 0.0
    assert document["latencies"]["chunk_latency_ms"]["verdict"] == "grows"
    assert document["latencies"]["action_latency_ms"]["verdict"] == "too short"
    assert document["episodes"] == len(document["episode_latencies"]) >= 10
    assert table.row_count == 4 * len(document["processes"]) + 3


def test_a_run_of_no_time_still_leaves_a_report(tmp_path):
    run = Soak(0.0, make_result())
    assert list(run.indices(5)) == []
    run.write(tmp_path)
    assert json.loads((tmp_path / soak.SOAK_FILE).read_text())["episodes"] == 0


def test_an_error_in_an_episode_ends_the_watch():
    before = threading.active_count()
    indices = Soak(1.0, make_result()).indices(1)
    assert next(indices) == 0
    assert threading.active_count() == before + 1
    indices.close()
    assert threading.active_count() == before
