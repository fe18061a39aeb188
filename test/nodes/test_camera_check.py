# SPDX-License-Identifier: Apache-2.0
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from resip_ros.core.errors import StaleStreamError
from resip_ros.nodes.camera_check import Listener, count_lost, delivery
from resip_ros.nodes.camera_node import DIAGNOSTIC, NEWEST, PUBLISHED

MS = 1_000_000


def test_missing_pictures_are_counted_by_their_stamps():
    stamps = [0, 33, 67, 167, 200, 233]
    found = delivery("front", [s * MS for s in stamps], [5 * MS] * 6, 600_000)
    assert (found.received, found.skipped, found.lost) == (6, 2, None)
    assert found.longest_gap_ms == 100.0
    assert found.rate_hz == pytest.approx(5 / 0.233, abs=0.01)
    assert (found.age_p50_ms, found.megabytes_per_s) == (5.0, pytest.approx(2.58))
    whole = delivery("front", [i * 33 * MS for i in range(30)], [0] * 30, 1)
    assert whole.skipped == 0


def test_no_camera_is_said():
    with pytest.raises(StaleStreamError, match="0 pictures; .*is the camera node running"):
        delivery("front", [], [], 0)


def test_stamps_that_stand_still_are_said():
    with pytest.raises(StaleStreamError, match="same stamp"):
        delivery("front", [5, 5, 5, 5], [0] * 4, 1)


def test_lost_pictures_are_those_that_the_publisher_counted():
    stamps = [10, 20, 30, 50, 60]
    assert count_lost(stamps, [(1, 10), (6, 60)]) == 1
    assert count_lost([*stamps, 40], [(1, 10), (6, 60)]) == 0
    # told while pictures 5 and 6 were still on their way, and before the first came
    assert count_lost([10, 20, 30, 40], [(0, 0), (1, 10), (3, 30), (6, 60)]) == 0
    assert count_lost(stamps, []) is None
    assert count_lost([], [(1, 10), (6, 60)]) is None


@pytest.mark.ros
def test_a_report_without_counts_is_left_out(graph):
    node = graph.add(Node("check", namespace="fr3"))
    listener = Listener(node, "front", jpeg=False)
    publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    graph.spin_until(publisher.get_subscription_count)
    for values in ({}, {PUBLISHED: "many", NEWEST: "1"}, {PUBLISHED: "2", NEWEST: "7"}):
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        status = DiagnosticStatus(name=f"{DIAGNOSTIC}front", values=pairs)
        publisher.publish(DiagnosticArray(status=[status]))
    graph.spin_until(lambda: listener.counts == [(2, 7)])
