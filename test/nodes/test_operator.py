# SPDX-License-Identifier: Apache-2.0
"""The person of `resip up` beside a world that a test plays; whole episodes: test_up.py."""

import pytest
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from std_srvs.srv import Trigger

from resip_ros.core.errors import ResipError
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.nodes import operator
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


def test_a_thousand_episodes_need_no_more_clients_than_one(person, world):
    """Every process of the graph keeps a record of every client that there ever was."""

    def prepare():
        person.call(operator.WORLD, "place_parts")
        person._set_seed(operator.WORLD, 1)
        return list(person._node.clients)

    assert prepare() == prepare()
