# SPDX-License-Identifier: Apache-2.0
"""What each node says about itself on /diagnostics: numbers against stated limits, and advice."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node

from resip_ros.core.chunking import NS_PER_S
from resip_ros.nodes import topics

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)
# nothing to judge from is worse than a warning, and an error says more
_RISING = (OK, WARN, STALE, ERROR)
LOOK_S = 0.2
"""How soon a change is told."""
PERIOD_S = 1.0
WINDOW = 50
"""Messages over which a rate is taken."""


class Health:
    """One report; the worst level wins, and its words come first."""

    def __init__(self) -> None:
        self.told: list[tuple[bytes, str]] = []
        self.values: dict[str, str] = {}

    @property
    def level(self) -> bytes:
        """The worst level that was told."""
        return max((level for level, _ in self.told), key=_RISING.index, default=OK)

    @property
    def message(self) -> str:
        """What was told, worst first; "ok" when nothing was."""
        by_level = sorted(self.told, key=lambda pair: -_RISING.index(pair[0]))
        return "; ".join(text for _, text in by_level) or "ok"

    def tell(self, level: bytes, text: str) -> None:
        """Something a person should know: what is wrong and what to do."""
        self.told.append((level, text))

    def value(self, name: str, value: object) -> None:
        """A number or word without a limit."""
        self.values[name] = f"{value:.4g}" if isinstance(value, float) else str(value)

    def at_most(
        self, name: str, value: float, *, warn: float, error: float = np.inf, advice: str
    ) -> None:
        """A number that should stay at or below its limits; not a number is told as an error."""
        self._judge(name, value, value <= warn, value <= error, f"limit {warn:g}", advice)

    def at_least(
        self, name: str, value: float, *, warn: float, error: float = -np.inf, advice: str
    ) -> None:
        """A number that should not fall below its limits."""
        self._judge(name, value, value >= warn, value >= error, f"at least {warn:g}", advice)

    def latencies(self, name: str, values_ms: list[float], warn_ms: float, advice: str) -> None:
        """Median and greatest of the newest values; judged by the median, a single one may lag."""
        if values_ms:
            newest = values_ms[-WINDOW:]
            self.value(f"{name} max, ms", max(newest))
            median = float(np.median(newest))
            self.at_most(f"{name} p50, ms", median, warn=warn_ms, advice=advice)

    def _judge(
        self, name: str, value: float, good: bool, bearable: bool, limit: str, advice: str
    ) -> None:
        self.value(name, float(value))
        if not good:
            text = f"{name} is {value:.3g}, {limit}: {advice}"
            self.tell(WARN if bearable else ERROR, text)


class Rate:
    """How often messages come by their stamps, and for how long none has."""

    def __init__(self) -> None:
        self._stamps_ns: deque[int] = deque(maxlen=WINDOW)
        self._heard_s: float | None = None

    def add(self, stamp_ns: int) -> None:
        """Takes a message's stamp; a clock that was reset begins anew."""
        if self._stamps_ns and stamp_ns < self._stamps_ns[-1]:
            self._stamps_ns.clear()
        self._stamps_ns.append(stamp_ns)
        self._heard_s = time.monotonic()

    @property
    def silence_s(self) -> float | None:
        """Time since the last message, s on the monotonic clock; None before the first."""
        return None if self._heard_s is None else time.monotonic() - self._heard_s

    @property
    def hz(self) -> float | None:
        """Messages per second of their own clock; None for too few."""
        stamps = list(self._stamps_ns)
        if len(stamps) < 2 or stamps[-1] == stamps[0]:
            return None
        return (len(stamps) - 1) * NS_PER_S / (stamps[-1] - stamps[0])


class Diagnostics:
    """Publishes a node's health once a second, and at once when it changes."""

    def __init__(self, node: Node, diagnose: Callable[[Health], None]) -> None:
        """Opens topic and timer.

        Args:
            node: Whose health it is.
            diagnose: Fills in a report; called on the node's executor, so that a node that hangs
                falls silent here too.
        """
        self._node, self._diagnose = node, diagnose
        self._publisher = node.create_publisher(
            DiagnosticArray, topics.DIAGNOSTICS, topics.stream_qos(10)
        )
        self._told: tuple[bytes, str] | None = None
        self._due_s = 0.0
        # the ROS clock may stand still, and then people look here
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(LOOK_S, self._look, clock=steady)

    def _look(self) -> None:
        health = Health()
        try:
            self._diagnose(health)
        except Exception:  # noqa: BLE001, a report must not end the node
            self._node.get_logger().error(traceback.format_exc(), throttle_duration_sec=5.0)
            health.tell(ERROR, "the node cannot diagnose itself; see its log")
        now_s, told = time.monotonic(), (health.level, health.message)
        if now_s < self._due_s and self._told is not None and told[0] == self._told[0]:
            return
        self._told, self._due_s = told, now_s + PERIOD_S - LOOK_S / 2
        name = self._node.get_fully_qualified_name().strip("/")
        status = DiagnosticStatus(level=told[0], name=name, message=told[1])
        status.values = [KeyValue(key=k, value=v) for k, v in health.values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
