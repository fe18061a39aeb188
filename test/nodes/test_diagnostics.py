# SPDX-License-Identifier: Apache-2.0
import time

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import ERROR, OK, STALE, WARN, Diagnostics, Health, Rate

pytestmark = pytest.mark.ros


def test_limits_decide_the_level_at_the_exact_edge():
    def level(value, kind):
        health = Health()
        if kind == "most":
            health.at_most("x", value, warn=1.0, error=2.0, advice="do this")
        else:
            health.at_least("x", value, warn=2.0, error=1.0, advice="do this")
        assert health.message == "ok" or "do this" in health.message
        return health.level

    assert [level(x, "most") for x in (1.0, 1.001, 2.0, 2.001)] == [OK, WARN, WARN, ERROR]
    assert [level(x, "least") for x in (2.0, 1.999, 1.0, 0.999)] == [OK, WARN, WARN, ERROR]
    assert level(float("nan"), "most") == level(float("nan"), "least") == ERROR


def test_the_worst_comes_first_and_stale_is_worse_than_a_warning():
    health = Health()
    assert (health.level, health.message) == (OK, "ok")
    health.tell(WARN, "slow")
    health.tell(STALE, "silent")
    assert (health.level, health.message) == (STALE, "silent; slow")
    health.tell(ERROR, "broken")
    assert health.level == ERROR


def test_latencies_are_judged_by_their_median():
    health = Health()
    health.latencies("chunk", [], 50.0, "advice")
    health.latencies("chunk", [10.0, 10.0, 900.0], 50.0, "advice")
    assert health.level == OK
    assert health.values == {"chunk max, ms": "900", "chunk p50, ms": "10"}


def test_a_rate_is_that_of_the_stamps():
    rate = Rate()
    assert rate.hz is None
    assert rate.silence_s is None
    for i in range(100):
        rate.add(i * 20_000_000)
    assert rate.hz == pytest.approx(50.0)
    rate.add(0)
    assert rate.hz is None, "the clock was reset"
    assert rate.silence_s < 1.0


def test_told_once_a_second_and_at_once_when_the_level_changes(graph):
    node, level, heard = graph.add(Node("node", namespace="fr3")), [OK], []

    def diagnose(health):
        health.value("temperature", 20.5)
        if level[0] == ERROR:
            raise ValueError("unforeseen")
        health.tell(level[0], "words")

    listener = graph.add(Node("listener"))
    listener.create_subscription(
        DiagnosticArray, topics.DIAGNOSTICS, lambda m: heard.append((time.monotonic(), m)), 10
    )
    Diagnostics(node, diagnose)
    graph.spin_until(lambda: len(heard) == 3)
    gap_s = heard[2][0] - heard[1][0]
    status = heard[2][1].status[0]
    assert (status.name, status.message, status.values[0].value) == ("fr3/node", "words", "20.5")
    assert gap_s > 0.7
    level[0] = WARN
    graph.spin_until(lambda: heard[-1][1].status[0].level == WARN)
    assert len(heard) <= 5
    level[0] = ERROR
    graph.spin_until(lambda: heard[-1][1].status[0].level == ERROR)
    assert "cannot diagnose itself" in heard[-1][1].status[0].message
