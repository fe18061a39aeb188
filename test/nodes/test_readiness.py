# SPDX-License-Identifier: Apache-2.0
import time

import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from resip_ros.core.errors import ResipError
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.nodes import topics
from resip_ros.nodes.launcher import NodeCrashed
from resip_ros.nodes.operator import Operator
from resip_ros.nodes.readiness import TookTooLong, wait_for_recorder
from resip_ros.nodes.table import Graph

pytestmark = pytest.mark.ros


@pytest.fixture
def nodes(graph):
    return [graph.add(Node(name, namespace="fr3")) for name in ("operator", "recorder")]


def listen(recorder, part):
    recorder.create_subscription(
        PoseStamped, topics.part_pose(part), lambda _: None, topics.stream_qos(5)
    )


def test_the_recorder_has_to_listen_to_every_part_and_not_only_to_watch_for_success(nodes, graph):
    operator, recorder = nodes
    pair = PEG_IN_HOLE.pairs[0]
    watched = (pair.parent, pair.child)
    seen = []

    def wait(done, timeout_s, what):
        for part in (*watched, *PEG_IN_HOLE.observed):
            graph.spin_briefly(2)
            seen.append(done())
            listen(recorder, part)
        end_s = time.monotonic() + 20
        while not done():
            assert time.monotonic() < end_s, what
            graph.spin_briefly(2)

    wait_for_recorder(operator, PEG_IN_HOLE, "recorder", wait)
    assert not any(seen)


def test_only_a_time_out_is_survived(nodes, capfd):
    def wait(error):
        def fail(*_):
            raise error

        return fail

    wait_for_recorder(nodes[0], PEG_IN_HOLE, "recorder", wait(TookTooLong("30 s")))
    assert "without part poses in the recording: 30 s" in capfd.readouterr().err
    for error in (NodeCrashed("the bridge ended"), ResipError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            wait_for_recorder(nodes[0], PEG_IN_HOLE, "recorder", wait(error))


def test_the_operator_waits_in_these_words(ros_domain_id, graph):
    """What it raises on time-out is what the others survive; a crash comes through."""
    crash = []

    def check():
        if crash:
            raise crash[0]

    operator = Operator(Graph("peg_in_hole", "sim", ""), PEG_IN_HOLE, check)
    with pytest.raises(TookTooLong, match="the recorder took longer than 0 s"):
        operator.wait(lambda: False, 0.1, "the recorder")
    crash.append(NodeCrashed("the bridge ended"))
    with pytest.raises(NodeCrashed, match="the bridge ended"):
        operator.wait(lambda: False, 5.0, "the recorder")
    operator.close()
