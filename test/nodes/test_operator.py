# SPDX-License-Identifier: Apache-2.0
"""The person of `resip up` beside a world that a test plays; whole episodes: test_up.py."""

import time

import numpy as np
import pytest
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import messages
from resip_ros.core.errors import ResipError
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.nodes import operator, topics
from resip_ros.nodes.fuzz.good import action_message, home_action
from resip_ros.nodes.operator import Operator
from resip_ros.nodes.table import Graph

pytestmark = pytest.mark.ros


class World(Node):
    """Places parts by a seed below 100; says whatever it is told to say."""

    def __init__(self):
        super().__init__(operator.WORLD, namespace="fr3")
        self.declare_parameter("seed", 0)
        self.add_on_set_parameters_callback(self._check)
        self.create_service(Trigger, "~/place_parts", self._place)
        self.answer = Trigger.Response(success=True, message="placed")

    def _check(self, parameters):
        too_large = any(p.name == "seed" and p.value >= 100 for p in parameters)
        return SetParametersResult(successful=not too_large, reason="seed is over 99")

    def _place(self, _, response):
        response.success, response.message = self.answer.success, self.answer.message
        return response


class SlowBench(Node):
    """Clock and bridge, and a policy whose first action comes a second after the start."""

    def __init__(self):
        super().__init__(operator.BRIDGE, namespace="fr3")
        self._clock_topic = self.create_publisher(Clock, topics.CLOCK, topics.stream_qos())
        self._actions = self.create_publisher(
            JointTrajectory, f"/fr3/{topics.NET_ACTION}", topics.stream_qos()
        )
        self.create_service(Trigger, "~/start", self._start)
        self.create_service(Trigger, "~/stop", self._stop)
        self._started_s = None
        self._sent = 0
        self.create_timer(0.01, self._tick)

    def _start(self, _, response):
        self._started_s = time.monotonic()
        response.success = True
        return response

    def _stop(self, _, response):
        self._started_s = None
        response.success = True
        return response

    def _tick(self):
        now_ns = time.monotonic_ns()
        clock = Clock()
        messages.fill_stamp_inplace(clock.clock, now_ns)
        self._clock_topic.publish(clock)
        if self._started_s is None:
            return
        if time.monotonic() - self._started_s > 1.0 + self._sent / PEG_IN_HOLE.rate_hz:
            action = home_action(PEG_IN_HOLE, np.zeros(3))
            self._actions.publish(action_message(PEG_IN_HOLE, now_ns, action[None]))
            self._sent += 1


@pytest.fixture
def world(graph):
    return graph.add(World())


@pytest.fixture
def person(graph, world):
    person = Operator(
        Graph("peg_in_hole", robot="sim", policy=""), PEG_IN_HOLE, lambda: graph.spin_briefly(1)
    )
    yield person
    person.close()


def test_calls_and_seeds_reach_the_world(person, world):
    assert person.call(operator.WORLD, "place_parts") == "placed"
    person._set_seed(operator.WORLD, 7)
    assert world.get_parameter("seed").value == 7


def test_a_refusal_is_told_with_its_reason(person, world):
    world.answer = Trigger.Response(success=False, message="the gripper is closed")
    with pytest.raises(ResipError, match=r"place_parts failed: the gripper is closed"):
        person.call(operator.WORLD, "place_parts")
    with pytest.raises(ResipError, match="sim_world refused the seed 100: seed is over 99"):
        person._set_seed(operator.WORLD, 100)


def test_the_time_limit_counts_from_the_first_action(person, graph, monkeypatch):
    """A policy that hears late of the start has as many steps as any other."""
    monkeypatch.setattr(operator, "REPORT_TIMEOUT_S", 0.1)
    graph.add(SlowBench())
    result, recording, _ = person.run_episode(0, 5, lambda share: None)
    assert len(recording.net) >= 3
    assert result.reason == "time limit"
    assert result.seconds > 1.4


def test_a_thousand_episodes_need_no_more_clients_than_one(person, world):
    """Every process of the graph keeps a record of every client that there ever was."""

    def prepare():
        person.call(operator.WORLD, "place_parts")
        person._set_seed(operator.WORLD, 1)
        return list(person._node.clients)

    assert prepare() == prepare()


@pytest.mark.parametrize(
    ("cameras", "shown"),
    [("", "overview"), ("sim_cameras.yaml", "front")],
)
def test_the_video_is_of_a_camera_that_is_there(graph, cameras, shown):
    bench = Graph("peg_in_hole", "sim", "", camera_config=cameras)
    operator = Operator(bench, PEG_IN_HOLE, lambda: None)
    try:
        asked = [s.topic for s in operator._node.subscriptions if "image" in s.topic]
    finally:
        operator.close()
    assert asked == [topics.image(shown)]
