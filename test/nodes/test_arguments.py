# SPDX-License-Identifier: Apache-2.0
import argparse
import signal

import pytest

from resip_ros.nodes.arguments import end_as_by_ctrl_c, natural, positive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_closed_terminal_end_as_ctrl_c_does(number):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        end_as_by_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def test_numbers():
    assert (natural("0"), natural("7"), positive("1")) == (0, 7, 1)


@pytest.mark.parametrize("text", ["-1", "1.5", "x", ""])
def test_what_is_no_number_is_refused(text):
    for kind in (natural, positive):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
            kind(text)
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive("0")
