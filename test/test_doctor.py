# SPDX-License-Identifier: Apache-2.0
import importlib.metadata
import json
import shutil
import socket
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from resip_ros import doctor
from resip_ros.doctor import FAIL, OK, WARN, Finding, ProbeFailed


def child(code: str, timeout_s: float = 20.0) -> dict:
    return doctor.run_child([sys.executable, "-c", code], timeout_s)


def failing(message: str):
    def probe(*_arguments: str) -> dict:
        raise ProbeFailed(message)

    return probe


def test_child_answers_with_its_last_line() -> None:
    assert child("print('chatter'); print('{\"result\": {\"a\": 1}}')") == {"a": 1}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ('print(\'{"error": "no display"}\')', "no display"),
        ("raise SystemExit('driver missing')", "driver missing"),
        ("pass", "code 0"),
    ],
)
def test_child_that_fails_is_reported(code: str, message: str) -> None:
    with pytest.raises(ProbeFailed, match=message):
        child(code)


def test_child_that_hangs_is_killed() -> None:
    with pytest.raises(ProbeFailed, match="did not answer"):
        child("import time; time.sleep(60)", timeout_s=0.5)


def test_installed_packages_fit() -> None:
    (finding,) = doctor.check_packages()
    assert finding.status == OK, finding.what
    assert finding.values["torch"].startswith("2.13.0")


def test_wrong_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=99", "resip-no-such-package", 'resip-none-either; extra == "train"']
    wanted.append('resip-not-asked-for; extra == "ros-wheels"')
    monkeypatch.setattr(importlib.metadata, "requires", lambda _name: wanted)
    too_old, missing, optional = doctor.check_packages()
    assert too_old.status == FAIL
    assert "numpy is" in too_old.what
    assert missing.status == FAIL
    assert "resip-no-such-package is missing" in missing.what
    assert optional.status == WARN
    assert "resip-none-either" in optional.what


@pytest.mark.ros
def test_ros_ping_between_processes(ros_domain_id: int) -> None:
    (finding,) = doctor.check_ros()
    assert finding.status == OK, finding.what
    assert f"domain {ros_domain_id}" in finding.what
    assert finding.values["round_trip_ms"] > 0.0


def test_ros_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe", failing("ModuleNotFoundError: rclpy"))
    (finding,) = doctor.check_ros()
    assert finding.status == FAIL
    assert "rclpy" in finding.what
    assert "ros-wheels" in finding.mend


def test_rendering_never_ends_the_doctor() -> None:
    (finding,) = doctor.check_rendering()
    assert finding.status in (OK, WARN)
    assert finding.status == OK or finding.mend


def test_unusable_graphics_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe", failing("it crashed (SIGSEGV)"))
    (finding,) = doctor.check_rendering()
    assert finding.status == WARN
    assert finding.what == "it crashed (SIGSEGV)"
    assert "make setup" in finding.mend


@pytest.mark.ros
def test_simulated_robot_connects() -> None:
    (finding,) = doctor.check_simulated_robot()
    assert finding.status in (OK, WARN), finding.what
    assert len(finding.values["joints"]) == 7


@pytest.mark.parametrize(("speed", "status"), [(999.0, WARN), (1000.0, OK)])
def test_slow_physics_warns(monkeypatch: pytest.MonkeyPatch, speed: float, status: str) -> None:
    monkeypatch.setattr(doctor, "probe", lambda *_: {"steps_per_s": speed})
    (finding,) = doctor.check_physics()
    assert finding.status == status


@pytest.mark.parametrize(("chunk_ms", "status"), [(100.0, OK), (101.0, WARN), (801.0, FAIL)])
def test_slow_policy_is_judged_by_its_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, chunk_ms: float, status: str
) -> None:
    (tmp_path / "one_leg" / "base").mkdir(parents=True)
    monkeypatch.setattr(doctor, "models_dir", lambda: tmp_path)
    answer = {"task": "one_leg", "residual": False, "chunk_ms": chunk_ms}
    monkeypatch.setattr(doctor, "probe", lambda *_: answer)
    (finding,) = doctor.check_models()
    assert finding.status == status


def test_missing_and_damaged_models_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "models_dir", lambda: tmp_path)
    (missing,) = doctor.check_models()
    assert missing.status == FAIL
    assert str(tmp_path) in missing.what
    (tmp_path / "one_leg" / "base").mkdir(parents=True)
    (damaged,) = doctor.check_models()
    assert damaged.status == FAIL
    assert "CheckpointMismatch" in damaged.what


@pytest.mark.parametrize(("free_mb", "status"), [(199, FAIL), (200, WARN), (2000, OK)])
def test_disk_space(monkeypatch: pytest.MonkeyPatch, free_mb: int, status: str) -> None:
    usage = namedtuple("usage", "total used free")(0, 0, free_mb * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    (finding,) = doctor.check_disk()
    assert finding.status == status


def test_robot_address() -> None:
    with socket.create_server(("127.0.17.1", doctor.FCI_PORT)):
        (reached,) = doctor.check_address("127.0.17.1")
    (refused,) = doctor.check_address("127.0.17.2")
    assert reached.status == OK
    assert refused.status == FAIL
    assert "FCI" in refused.mend


@pytest.mark.parametrize(("status", "code"), [(OK, 0), (WARN, 0), (FAIL, 1)])
def test_exit_code_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str, code: int
) -> None:
    check = lambda: iter([Finding("thing", status, "what", "mend", {"n": 1})])  # noqa: E731
    monkeypatch.setattr(doctor, "CHECKS", (check,))
    assert doctor.main(["--json"]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] == (code == 0)
    assert report["findings"][0] == {
        "name": "thing",
        "status": status,
        "what": "what",
        "mend": "mend",
        "values": {"n": 1},
    }
    assert doctor.main([]) == code
    text = capsys.readouterr().out
    assert "thing" in text
    assert "-> mend" in text
