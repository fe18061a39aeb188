# SPDX-License-Identifier: Apache-2.0
import os
import pty
import termios
import time

import pytest

from resip_ros.nodes.teleop.terminal_keys import TerminalKeys


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_keys_come_without_enter_and_arrows_as_letters(terminal, wait_for):
    ours, theirs = terminal
    keys = TerminalKeys(theirs)
    before_s = time.monotonic()
    os.write(ours, b"Wx \x1b[A\x1b[C\x1b[3~\r")
    found = []
    wait_for(lambda: len(found.extend(keys.take()) or found) >= 6)
    assert [key for key, _ in found] == ["w", "x", " ", "w", "d", "\n"]
    assert all(before_s <= when_s <= time.monotonic() for _, when_s in found)
    assert keys.take() == []
    keys.close()


@pytest.mark.parametrize("cut", [1, 2])
def test_half_an_arrow_waits_for_the_other_half(terminal, wait_for, cut):
    ours, theirs = terminal
    keys = TerminalKeys(theirs)
    found = []
    os.write(ours, b"x" + b"\x1b[A"[:cut])
    wait_for(lambda: found.extend(keys.take()) or found)
    os.write(ours, b"\x1b[A"[cut:])
    wait_for(lambda: len(found.extend(keys.take()) or found) > 1)
    assert [key for key, _ in found] == ["x", "w"]
    keys.close()


def test_the_terminal_is_given_back(terminal):
    _, theirs = terminal
    before = termios.tcgetattr(theirs)
    keys = TerminalKeys(theirs)
    assert termios.tcgetattr(theirs) != before
    keys.close()
    keys.close()
    assert termios.tcgetattr(theirs) == before


def test_the_end_of_a_pipe_is_no_error(wait_for):
    out, into = os.pipe()
    keys = TerminalKeys(out)
    os.write(into, b"q")
    os.close(into)
    wait_for(lambda: [key for key, _ in keys.take()] == ["q"])
    keys.close()
    os.close(out)
