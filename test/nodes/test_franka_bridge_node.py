# SPDX-License-Identifier: Apache-2.0
"""The bridge on a robot that only keeps a record of what it is told."""

import dataclasses

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import events, messages
from resip_ros.core.action import encode_action
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.config import load_control_config
from resip_ros.core.kinematics import forward
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import ERROR, OK, WARN, Health
from resip_ros.nodes.franka_bridge_node import FrankaBridgeNode
from resip_ros.nodes.robot_health import assess_robot
from resip_ros.robot import link as module
from resip_ros.robot.arm_state import ArmState, Fault, Phase
from resip_ros.robot.connection import FaultKind
from resip_ros.robot.gripper import GripperGoal, GripperState
from resip_ros.robot.reference_timing import ReferenceTiming

pytestmark = pytest.mark.ros
HOME = np.array(load_control_config().home_joints)
ZERO = np.zeros(7)


class Recorder:
    """Arm, gripper and supervisor at once: notes every call."""

    def __init__(self, calls):
        self.calls = calls
        self.phase = Phase.HOLDING
        self.timed_out, self.fault, self.longest_gap_s = False, None, 0.0

    def __getattr__(self, name):
        return lambda *args: self.calls.append(name)


class Arm(Recorder):
    timing = ReferenceTiming()

    def state(self):
        return ArmState(0.0, HOME, ZERO, ZERO, np.zeros(6), "Move", (), 1.0)

    def reference(self):
        return HOME, ZERO

    def enable(self):
        self.phase = Phase.FOLLOWING

    def hold(self):
        self.calls.append("hold")
        self.phase = Phase.HOLDING


class Gripper(Recorder):
    def state(self):
        return GripperState(0.05, 0.0, GripperGoal.OPEN, False, 0)


@pytest.fixture
def calls():
    return {"arm": [], "order": []}


@pytest.fixture
def bridge(graph, calls, monkeypatch):
    def noting(kind, name):
        made = kind(calls["arm"] if name == "arm" else [])
        closed = f"{name} closed"
        made.close = lambda: calls["order"].append(closed)
        return made

    monkeypatch.setattr(module, "FrankaArm", lambda *_: noting(Arm, "arm"))
    monkeypatch.setattr(module, "GripperWorker", lambda *_: noting(Gripper, "gripper"))
    monkeypatch.setattr(module, "Supervisor", lambda *_: noting(Recorder, "supervisor"))
    bridge = graph.add(FrankaBridgeNode())
    bridge.begin()
    return bridge


class Policy:
    """A residual policy as the bridge sees it."""

    def __init__(self, graph, bridge):
        self.graph, self.bridge = graph, bridge
        self.node = graph.add(Node("policy", namespace="fr3"))
        self.publisher = self.advertise()
        self.told = []
        self.node.create_subscription(
            String,
            topics.EPISODE_EVENT,
            lambda m: self.told.append(events.parse_event(m.data)),
            topics.latched_qos(),
        )
        self.client = self.node.create_client(Trigger, "franka_bridge/start")
        graph.spin_until(lambda: self.publisher.get_subscription_count())
        graph.spin_until(self.client.service_is_ready)

    def advertise(self):
        return self.node.create_publisher(JointTrajectory, topics.NET_ACTION, topics.stream_qos())

    def start(self):
        future = self.client.call_async(Trigger.Request())
        self.graph.spin_until(future.done)
        return future.result()

    def send(self, shift_m=0.0):
        pos, rot = forward(HOME)
        action = encode_action(pos + np.array([shift_m, 0, 0]), rot, np.array(-1.0))
        stamp_ns = self.node.get_clock().now().nanoseconds
        message = JointTrajectory()
        chunk = ActionChunk(stamp_ns, action[None], 10.0)
        messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint)
        self.publisher.publish(message)


@pytest.fixture
def policy(graph, bridge):
    return Policy(graph, bridge)


def test_an_action_is_followed_and_a_wrong_one_is_not(graph, calls, policy):
    assert policy.start().success
    policy.send()
    graph.spin_until(lambda: "follow" in calls["arm"])
    policy.send(shift_m=0.5)
    graph.spin_briefly()
    policy.send()
    graph.spin_until(lambda: calls["arm"].count("follow") == 2)
    graph.spin_briefly()
    assert calls["arm"].count("follow") == 2


def test_a_second_publisher_ends_the_episode_and_prevents_the_next(graph, calls, policy):
    assert policy.start().success
    second = policy.advertise()
    graph.spin_until(lambda: policy.bridge.count_publishers(topics.NET_ACTION) == 2)
    policy.send()
    graph.spin_until(lambda: any(e.kind == events.FAULT for e in policy.told))
    assert calls["arm"][-1] == "hold"
    assert "follow" not in calls["arm"]
    assert "2 publishers on /fr3/residual_policy/action" in policy.start().message
    policy.node.destroy_publisher(second)
    graph.spin_until(lambda: policy.bridge.count_publishers(topics.NET_ACTION) == 1)
    assert policy.start().success


def test_the_stop_is_the_last_command(graph, calls, policy):
    """Holds before it waits for anything; the supervisor watches to the end."""
    assert policy.start().success
    calls["arm"].clear()
    policy.bridge.end()
    assert (calls["arm"][0], calls["arm"][-1]) == ("hold", "stop")
    assert calls["order"] == ["gripper closed", "arm closed", "supervisor closed"]


def ask(policy, service, request):
    client = policy.node.create_client(SetBool, service)
    policy.graph.spin_until(client.service_is_ready)
    future = client.call_async(request)
    policy.graph.spin_until(future.done)
    return future.result()


def test_shadow_mode_holds_first_and_its_end_starts_nothing(graph, calls, policy, bridge):
    assert policy.start().success
    policy.send()
    graph.spin_until(lambda: "follow" in calls["arm"])
    calls["arm"].clear()
    assert ask(policy, "franka_bridge/shadow", SetBool.Request(data=True)).success
    assert "hold" in calls["arm"]
    assert bridge.get_parameter("shadow").value is True
    graph.spin_until(lambda: policy.told[-1].kind == events.STOPPED)
    assert policy.start().message.startswith("shadow")
    calls["arm"].clear()
    policy.send()
    graph.spin_until(lambda: bridge._counts["commands"] == 1)
    assert ask(policy, "franka_bridge/shadow", SetBool.Request(data=False)).success
    policy.send()
    graph.spin_briefly(30)
    assert "follow" not in calls["arm"]
    assert "enable" not in calls["arm"]


def test_an_inactive_bridge_refuses_to_move_and_says_why(graph, calls, policy, bridge):
    assert policy.start().success
    bridge.trigger_deactivate()
    assert calls["arm"][-1] == "stop"
    graph.spin_until(lambda: policy.told[-1].kind == events.STOPPED)
    calls["arm"].clear()
    answer = policy.start()
    assert not answer.success
    assert "franka_bridge is inactive, expected active" in answer.message
    policy.send()
    graph.spin_briefly()
    assert calls["arm"] == []


def test_diagnostics_tell_the_fault_and_what_to_do(graph, policy, bridge):
    heard = []
    policy.node.create_subscription(
        DiagnosticArray,
        topics.DIAGNOSTICS,
        lambda m: heard.extend(s for s in m.status if s.name == "fr3/franka_bridge"),
        10,
    )
    graph.spin_until(lambda: heard)
    assert {"phase", "shadow", "commands", "lifecycle"} <= {v.key for v in heard[-1].values}
    bridge._robots.links[0].arm.fault = Fault(FaultKind.REFLEX, "cartesian_reflex")
    bridge._robots.links[0].arm.phase = Phase.FAULT
    graph.spin_until(lambda: heard[-1].level == DiagnosticStatus.ERROR)
    assert "cartesian_reflex; free the arm, then call ~/recover" in heard[-1].message


def test_a_fault_of_one_arm_holds_the_other_and_is_told(graph, calls, monkeypatch):
    arms = []

    def connect(*_):
        arms.append(Arm([]))
        return arms[-1]

    monkeypatch.setattr(module, "FrankaArm", connect)
    monkeypatch.setattr(module, "GripperWorker", lambda *_: Gripper([]))
    monkeypatch.setattr(module, "Supervisor", lambda *_: Recorder([]))
    overrides = [
        Parameter("task", value="biman_insert"),
        Parameter("robot.address", value="10.0.0.1,10.0.0.2"),
    ]
    bridge = graph.add(FrankaBridgeNode(parameter_overrides=overrides))
    bridge.begin()
    policy = Policy(graph, bridge)
    assert policy.start().success
    assert [arm.phase for arm in arms] == [Phase.FOLLOWING] * 2
    arms[1].fault, arms[1].phase = Fault(FaultKind.REFLEX, "cartesian_reflex"), Phase.FAULT
    graph.spin_until(lambda: policy.told and policy.told[-1].kind == events.FAULT)
    assert "cartesian_reflex; call ~/recover" in policy.told[-1].detail
    assert arms[0].calls[-1] == "hold"
    assert bridge.get_publishers_info_by_topic("/fr3/right/joint_states")


@pytest.mark.parametrize(
    ("is_sim", "share", "level"),
    [
        (False, 0.98, OK),
        (False, 0.97, WARN),
        (False, 0.89, ERROR),
        (True, 0.1, OK),
    ],
)
def test_missed_commands_are_judged_on_a_real_robot(graph, bridge, is_sim, share, level):
    link, states = bridge._robots.links[0], bridge._states[0]
    graph.spin_until(lambda: states.rate.hz is not None)
    bridge._closing.set()
    for thread in bridge._threads:
        thread.join()
    states.newest = dataclasses.replace(states.newest, success_rate=share)
    health = Health()
    assess_robot(health, link, states, is_sim=is_sim)
    judged = [told for told in health.told if "in time" in told[1]]
    assert (judged[0][0] if judged else OK) == level
    assert health.values["control commands in time, share"] == f"{share:.4g}"
