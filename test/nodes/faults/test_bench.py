# SPDX-License-Identifier: Apache-2.0
"""A short version of the bench: real processes, real client, simulated robot and time."""

import io
import json

import pytest
from rich.console import Console

from resip_ros.core.errors import ResipError
from resip_ros.nodes.faults import bench

pytestmark = pytest.mark.ros


@pytest.mark.timeout(300)
def test_the_arm_stays_safe(ros_domain_id, monkeypatch, tmp_path):
    """A wrong action, silence, and a bridge that hangs, one after the other."""
    names = ("action_nan", "action_silent", "bridge_hung")
    faults = tuple(bench.find_faults(name)[0] for name in names)
    monkeypatch.setattr(bench, "find_faults", lambda only: faults)
    file = tmp_path / "faults.json"
    options = bench.FaultOptions(n=1, json=file, log_dir=tmp_path, domain=ros_domain_id)
    report = bench.run(options, Console(file=io.StringIO()))
    assert json.loads(file.read_text()) == report
    assert [row["name"] for row in report["faults"]] == list(names)
    for row in report["faults"]:
        assert row["safe"], row
        assert row["n"] == 1
        assert row["hold_ms"]["p50"] <= row["allowed"]["hold_ms"]
        # the arm was truly moving, so the hold is worth something
        assert row["speed_mm_s"][0] >= 80
    logs = [file.read_text() for file in tmp_path.glob("stack*/franka_bridge.log")]
    assert any("killed, so that the robot's control ends" in log for log in logs)


def test_report_that_cannot_be_written_is_found_before_anything_starts(tmp_path):
    options = bench.FaultOptions(json=tmp_path / "none" / "faults.json")
    with pytest.raises(ResipError, match="no such folder"):
        bench.run(options, Console(file=io.StringIO()))
