# SPDX-License-Identifier: Apache-2.0
"""Lines typed on a terminal, carried out on the node's thread."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TextIO

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node

POLL_S = 0.1


class Keyboard:
    """Reads lines in a thread of its own; a timer of the node runs what they stand for."""

    def __init__(
        self, node: Node, actions: Mapping[str, Callable[[], None]], stream: TextIO = sys.stdin
    ) -> None:
        """Begins to read.

        Args:
            node: Owner of the timer and the log.
            actions: Typed text, without the Enter, to what it does.
            stream: Where lines come from.
        """
        self._node, self._actions, self._stream = node, actions, stream
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True, name="keyboard").start()
        node.create_timer(POLL_S, self._poll, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line.strip().lower())

    def _poll(self) -> None:
        while not self._lines.empty():
            text = self._lines.get()
            if text in self._actions:
                self._actions[text]()
            else:
                known = ", ".join(key or "Enter" for key in self._actions)
                self._node.get_logger().warning(f"{text!r} means nothing here; keys: {known}")
