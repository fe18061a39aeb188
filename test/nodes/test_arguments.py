# SPDX-License-Identifier: Apache-2.0
import argparse

import pytest

from resip_ros.nodes.arguments import natural, positive


def test_numbers():
    assert (natural("0"), natural("7"), positive("1")) == (0, 7, 1)


@pytest.mark.parametrize("text", ["-1", "1.5", "x", ""])
def test_what_is_no_number_is_refused(text):
    for kind in (natural, positive):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
            kind(text)
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive("0")
