# SPDX-License-Identifier: Apache-2.0
"""The supervisor kills a process that hangs while it leads the arm, and only such a one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from resip_ros.robot.supervisor import Supervisor, SupervisorGone

TIMEOUT_S = 0.3
# ctypes.PyDLL keeps the GIL: every Python thread hangs, threads of C++ would go on
PARENT = f"""
import ctypes, sys, threading, time
from resip_ros.robot.supervisor import Supervisor
supervisor = Supervisor({TIMEOUT_S})
def beat():
    while True:
        supervisor.beat()
        time.sleep(0.005)
if sys.argv[1] != "resting":
    threading.Thread(target=beat, daemon=True).start()
    time.sleep(0.2)
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[1] == "stall":
    ctypes.PyDLL(None).usleep(20_000_000)
time.sleep(1.0)
supervisor.close()
"""


def start(mode):
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def test_a_process_that_holds_the_gil_is_killed_and_the_log_says_why():
    process = start("stall")
    go(process)
    begin = time.monotonic()
    assert process.wait(10) == -signal.SIGKILL
    assert time.monotonic() - begin > 0.5 * TIMEOUT_S
    assert "gave no sign of life" in process.stderr.read()


def test_a_stopped_process_is_killed():
    process = start("stop")
    process.send_signal(signal.SIGSTOP)
    assert process.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("mode", ["beating", "resting"])
def test_others_live(mode):
    process = start(mode)
    go(process)
    assert process.wait(20) == 0


@pytest.fixture
def supervisor():
    supervisor = Supervisor(5.0)
    yield supervisor
    supervisor.close()


def test_rest_ends_the_watch():
    quick = Supervisor(0.1)
    quick.beat()
    quick.rest()
    time.sleep(0.5)
    quick.beat()
    quick.rest()
    quick.close()


def test_without_its_supervisor_nobody_leads(supervisor):
    child = supervisor._child  # nobody else may know its number
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with pytest.raises(SupervisorGone, match="start the bridge again"):
        supervisor.beat()
