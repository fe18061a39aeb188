# SPDX-License-Identifier: Apache-2.0
"""`resip doctor`: is everything here, does it work, is it fast enough, and how to mend it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ResipError
from resip_ros.core.paths import models_dir

OK, WARN, FAIL = "ok", "warn", "fail"
TESTED_PYTHON = ((3, 11), (3, 12))
PROBE_TIMEOUT_S = 90.0
FCI_PORT = 1337
"""TCP port of the robot's control interface (libfranka)."""
CONNECT_TIMEOUT_S = 2.0
MIN_FREE_MB, GOOD_FREE_MB = 200, 2000
MIN_PHYSICS_STEPS_PER_S = 1000.0
"""Below this the simulated robot, 1 kHz, runs slower than the wall clock."""
POLICY_STEP_MS = 100.0
CHUNK_STEPS = 8
REINSTALL = "install again: 'make setup', or pip install -e '.[ros-wheels,dev]'"


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    status: str
    """ok, warn (something is limited) or fail (the stack cannot run)."""
    what: str
    mend: str = ""
    """What to do about it; empty when there is nothing to do."""
    values: dict[str, Any] = field(default_factory=dict)
    """Numbers behind it, for machines."""


class ProbeFailed(Exception):
    """A trial in a child process did not succeed; the message says how it ended."""


def run_child(command: list[str], timeout_s: float) -> dict[str, Any]:
    """Runs a probe and returns its result, however badly it may end.

    Args:
        command: Program and arguments; its last line of output is the probe's JSON answer.
        timeout_s: It is killed after this time.

    Raises:
        ProbeFailed: if it crashed, hung, or reported an error.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ProbeFailed(f"it did not answer within {timeout_s:.0f} s") from None
    if done.returncode < 0:
        raise ProbeFailed(f"it crashed ({signal.Signals(-done.returncode).name})")
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ProbeFailed(f"it ended with code {done.returncode}: {last}") from None
    if "error" in answer:
        raise ProbeFailed(answer["error"])
    return answer["result"]


def probe(name: str, *arguments: str) -> dict[str, Any]:
    """Runs a trial of resip_ros.probes in a process of its own."""
    command = [sys.executable, "-m", "resip_ros.probes", name, *arguments]
    return run_child(command, PROBE_TIMEOUT_S)


def check_python() -> Iterator[Finding]:
    """Is this a Python that the wheels of all parts were tried with?"""
    version, what = sys.version_info[:2], f"Python {platform.python_version()}"
    if version in TESTED_PYTHON:
        yield Finding("python", OK, what)
    else:
        yield Finding("python", WARN, f"{what}; tried with 3.11 and 3.12", "use one of these")


def check_packages() -> Iterator[Finding]:
    """Are the required packages installed, in versions that setup.py allows?"""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in importlib.metadata.requires("resip_ros") or []]
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", FAIL, "resip_ros is not installed in this Python", REINSTALL)
        return
    bad, versions = False, {}
    for requirement in wanted:
        # An extra's requirement applies when it is asked for; ROS may come from elsewhere.
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        training = requirement.marker is not None and requirement.marker.evaluate(
            {"extra": "train"}
        )
        if not needed and not training:
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        versions[requirement.name] = found
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            bad = True
            got = "is missing" if found is None else f"is {found}"
            what = f"{requirement.name} {got}; expected {requirement.specifier or 'any'}"
            if needed:
                yield Finding("packages", FAIL, what, REINSTALL)
            else:
                yield Finding("packages", WARN, f"{what} (only for training)", REINSTALL)
    if not bad:
        shown = ", ".join(f"{n} {versions.get(n)}" for n in ("mujoco", "torch", "franky-control"))
        yield Finding("packages", OK, f"{len(versions)} as required ({shown})", values=versions)


def check_files() -> Iterator[Finding]:
    """Are the configuration files found and sound?"""
    try:
        config = load_control_config()
    except ResipError as error:
        yield Finding("config", FAIL, str(error), REINSTALL)
    else:
        yield Finding("config", OK, f"control numbers load ({config.rate_hz:g} Hz policy)")


def check_ros() -> Iterator[Finding]:
    """Can two processes talk over ROS 2?"""
    try:
        found = probe("ros")
    except ProbeFailed as failure:
        mend = (
            "without a ROS 2 installation: pip install -e '.[ros-wheels]'; with one: source it "
            "and use its Python; messages lost: check ROS_DOMAIN_ID and the firewall"
        )
        yield Finding("ros", FAIL, f"ROS 2 does not work: {failure}", mend)
        return
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    what = f"{found['middleware']}, domain {domain}, round trip {found['round_trip_ms']:.1f} ms"
    yield Finding("ros", OK, what, values=found)


def check_rendering() -> Iterator[Finding]:
    """Can pictures be rendered without a screen? Only videos and cameras need it."""
    try:
        found = probe("render")
    except ProbeFailed as failure:
        mend = "until then everything runs but cameras and videos; 'make setup' installs Mesa"
        yield Finding("rendering", WARN, str(failure), mend)
        return
    what = f"off-screen pictures by {found['backend']}, {found['picture_ms']:.0f} ms each"
    yield Finding("rendering", OK, what, values=found)


def check_simulated_robot() -> Iterator[Finding]:
    """Does the robot client reach a simulated arm over the robot's own protocol?"""
    try:
        found = probe("robot")
    except ProbeFailed as failure:
        mend = (
            "a library is missing: 'make setup' names or installs it (libgomp1); no connection: "
            "check that 127.0.0.1 is up"
        )
        yield Finding("robot", FAIL, f"no connection to a simulated FR3: {failure}", mend)
        return
    factor = found["realtime_factor"]
    what = f"client and simulated FR3 are connected, at {100 * factor:.0f} % of real time"
    mend = "" if factor > 0.5 else "close what else uses the processor; results stay valid, slower"
    yield Finding("robot", WARN if mend else OK, what, mend, found)


def check_physics() -> Iterator[Finding]:
    """Is the processor fast enough for the simulated bench?"""
    try:
        speed = probe("physics")["steps_per_s"]
    except ProbeFailed as failure:
        yield Finding("physics", FAIL, f"the one_leg scene does not run: {failure}", REINSTALL)
        return
    slow = speed < MIN_PHYSICS_STEPS_PER_S
    cores = len(os.sched_getaffinity(0))
    what = f"one_leg: {speed:.0f} steps of 1 ms per second and core, {cores} cores"
    mend = "the live simulation will run slower than real time; its result is the same"
    values = {"steps_per_s": speed, "limit": MIN_PHYSICS_STEPS_PER_S, "cores": cores}
    yield Finding("physics", WARN if slow else OK, what, mend if slow else "", values)


def check_models() -> Iterator[Finding]:
    """Do the shipped policies load, and is a chunk computed in time?"""
    folders = sorted(p for p in models_dir().glob("*") if (p / "base").is_dir())
    if not folders:
        mend = "fetch the complete repository, or train: README, Training"
        yield Finding("models", FAIL, f"no policy folder in {models_dir()}", mend)
    for folder in folders:
        name = f"models/{folder.name}"
        try:
            found = probe("policy", str(folder))
        except ProbeFailed as failure:
            yield Finding("models", FAIL, f"{name}: {failure}", "fetch the file again, or retrain")
            continue
        chunk_ms = found["chunk_ms"]
        parts = "base and residual" if found["residual"] else "base"
        what = f"{name}: {parts}, a chunk in {chunk_ms:.0f} ms on one core"
        mend = ""
        if chunk_ms > POLICY_STEP_MS:
            mend = "longer than a 100 ms step: use a smaller preset, or a faster processor"
        late = chunk_ms > CHUNK_STEPS * POLICY_STEP_MS
        status = FAIL if late else WARN if mend else OK
        yield Finding("models", status, what, mend, found)


def check_realtime() -> Iterator[Finding]:
    """Does this kernel keep the 1 ms deadline of a real arm?"""
    marker = Path("/sys/kernel/realtime")
    realtime = marker.is_file() and marker.read_text().strip() == "1"
    priority = resource.getrlimit(resource.RLIMIT_RTPRIO)[0]
    allowed = priority in (resource.RLIM_INFINITY, 99) or os.geteuid() == 0
    values = {"realtime_kernel": realtime, "rtprio_limit": priority}
    if realtime and allowed:
        yield Finding("realtime", OK, "PREEMPT_RT kernel, real-time priority allowed", "", values)
    elif realtime:
        mend = "give your user 'rtprio 99' in /etc/security/limits.d and log in again"
        yield Finding("realtime", WARN, "real-time priority is not allowed", mend, values)
    else:
        mend = "only for a real arm: install a PREEMPT_RT kernel (Ubuntu: the real-time kernel)"
        yield Finding("realtime", WARN, "no PREEMPT_RT kernel", mend, values)


def check_disk() -> Iterator[Finding]:
    """Is there room for results and recordings where we are?"""
    free_mb = shutil.disk_usage(".").free // 2**20
    status = FAIL if free_mb < MIN_FREE_MB else WARN if free_mb < GOOD_FREE_MB else OK
    mend = "" if status == OK else "free some space, or write results elsewhere with --out"
    yield Finding("disk", status, f"{free_mb} MB free here", mend, {"free_mb": free_mb})


def check_address(address: str) -> Iterator[Finding]:
    """Does a real robot answer on its control port? Takes no control of it."""
    try:
        with socket.create_connection((address, FCI_PORT), CONNECT_TIMEOUT_S):
            yield Finding("address", OK, f"{address} answers on port {FCI_PORT}")
    except OSError as error:
        mend = "check cable and address, and that FCI is activated in the robot's web interface"
        yield Finding("address", FAIL, f"{address} port {FCI_PORT}: {error}", mend)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_files,
    check_disk,
    check_realtime,
    check_ros,
    check_rendering,
    check_simulated_robot,
    check_physics,
    check_models,
)


def show(finding: Finding) -> None:
    """Prints one finding, in colour on a terminal."""
    mark = f"{finding.status:>4}"
    if sys.stdout.isatty():
        mark = f"\033[{ {OK: 32, WARN: 33, FAIL: 31}[finding.status] }m{mark}\033[0m"
    print(f"{mark}  {finding.name:<10} {finding.what}", flush=True)
    if finding.mend:
        print(f"{'':16} -> {finding.mend}", flush=True)


def main(args: list[str] | None = None) -> int:
    """Runs all checks; returns 1 if any failed, else 0."""
    parser = argparse.ArgumentParser(
        prog="resip doctor",
        description="Checks what is installed, works and is fast enough, in about 20 seconds. "
        "'warn' limits something, 'fail' keeps the stack from running.",
    )
    parser.add_argument("--json", action="store_true", help="print all findings as JSON")
    parser.add_argument("--robot", metavar="IP", help="also try a real robot's control port")
    options = parser.parse_args(args)
    checks = list(CHECKS)
    if options.robot:
        checks.append(lambda: check_address(options.robot))
    findings = []
    for check in checks:
        for finding in check():
            findings.append(finding)
            if not options.json:
                show(finding)
    failed = any(finding.status == FAIL for finding in findings)
    if options.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        counts = {status: sum(f.status == status for f in findings) for status in (OK, WARN, FAIL)}
        print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
