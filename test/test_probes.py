# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys

import pytest


def run(*arguments: str) -> dict:
    command = [sys.executable, "-m", "resip_ros.probes", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_a_failing_probe_says_why() -> None:
    assert "KeyError" in run("no_such_probe")["error"]


def test_a_bundle_that_is_not_there_is_refused() -> None:
    assert "CheckpointMismatch" in run("policy", "no/such/folder")["error"]


def test_physics_is_measured() -> None:
    assert run("physics")["result"]["steps_per_s"] > 10.0


@pytest.mark.ros
def test_robot_runs_about_as_fast_as_the_clock() -> None:
    assert 0.05 < run("robot")["result"]["realtime_factor"] < 1.2
