# SPDX-License-Identifier: Apache-2.0
"""A second process that ends the motion when the process that leads the arm hangs.

franky's 1 kHz thread is C++: it tracks the last reference for as long as its process lives, even
if Python holds the GIL or is deadlocked, and nothing inside that process could notice. So a
child watches for a sign of life from the reference thread and kills the process; the robot stops
by itself after 20 missed commands. Nothing but the standard library is imported here, so that
the child starts fast and shares no fault with what it watches.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

from resip_ros.core.errors import ResipError

_ALIVE, _RESTING = b"1", b"0"
_BEAT_PERIOD_S = 0.02
_TURN_S = 0.05
"""The child counts silent turns of this length instead of reading a clock: when the whole
machine hangs for a while, the child hangs with it and does not blame its parent."""


class SupervisorGone(ResipError):
    """The supervising process has ended or does not read."""


class Supervisor:
    """Parent's side: starts the child and gives signs of life, from one thread."""

    def __init__(self, timeout_s: float) -> None:
        """Starts the child.

        Args:
            timeout_s: Silence after which this process is killed, while it leads the arm.
        """
        command = [sys.executable, "-m", __name__, str(os.getpid()), str(timeout_s)]
        # a session of its own: what stops or ends the parent's group must not stop the child
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        assert self._child.stdin is not None  # asked for above
        self._pipe = self._child.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._beaten_s = 0.0
        self.longest_gap_s = 0.0
        """Longest time between two signs of life while the arm was led."""

    def beat(self) -> None:
        """A sign of life; the first one begins the watch.

        Raises:
            SupervisorGone: nobody watches any more.
        """
        now_s = time.monotonic()
        gap_s = now_s - self._beaten_s
        if gap_s >= _BEAT_PERIOD_S:
            self.longest_gap_s = max(self.longest_gap_s, gap_s if self._beaten_s else 0.0)
            self._beaten_s = now_s
            self._send(_ALIVE)

    def rest(self) -> None:
        """Ends the watch until the next beat: the arm is not led any more."""
        self._beaten_s = 0.0
        self._send(_RESTING)

    def close(self) -> None:
        """Ends the child."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(2.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _send(self, sign: bytes) -> None:
        try:
            os.write(self._pipe, sign)
        except (BrokenPipeError, BlockingIOError) as error:
            raise SupervisorGone(
                "the supervising process has ended or hangs, so nobody would stop the arm if "
                "this process hung; start the bridge again"
            ) from error


def watch(parent: int, timeout_s: float) -> int:
    """Child's side: kill the parent when it was silent for too long.

    Returns:
        Exit status: 0 when the parent has ended or closed the pipe, 1 after killing it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    is_led, silent = False, 0
    while True:
        ready, _, _ = select.select([0], [], [], _TURN_S if is_led else None)
        if ready:
            signs = os.read(0, 4096)
            if not signs:
                return 0
            is_led, silent = signs[-1:] == _ALIVE, 0
            continue
        silent += 1
        if silent * _TURN_S >= timeout_s:
            sys.stderr.write(
                f"supervisor: process {parent} led the arm and gave no sign of life for "
                f"{timeout_s} s; killed, so that the robot's control ends with it\n"
            )
            if os.getppid() == parent:
                os.kill(parent, signal.SIGKILL)
            return 1


if __name__ == "__main__":
    sys.exit(watch(int(sys.argv[1]), float(sys.argv[2])))
