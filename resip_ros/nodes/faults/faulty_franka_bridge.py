# SPDX-License-Identifier: Apache-2.0
"""The bridge, in which a signal makes Python hang while franky's own thread goes on."""

from __future__ import annotations

import ctypes
import signal
import sys

from resip_ros.nodes.faults.switch import STALL_SIGNAL
from resip_ros.nodes.franka_bridge_node import FrankaBridgeNode
from resip_ros.nodes.node_main import run_node

STALL_US = 20_000_000


def stall(*_: object) -> None:
    """Called through PyDLL, C keeps the interpreter's lock: no Python thread runs meanwhile."""
    ctypes.PyDLL(None).usleep(STALL_US)


if __name__ == "__main__":
    signal.signal(STALL_SIGNAL, stall)
    sys.exit(run_node(FrankaBridgeNode))
