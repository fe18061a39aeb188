# SPDX-License-Identifier: Apache-2.0
"""The recorder on a real graph; what it recorded becomes what a policy saw, to the last bit."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterEvent, ParameterType, ParameterValue
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_parameter_events
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.bags import layout, sidecar
from resip_ros.bags.reader import Bag
from resip_ros.bags.sidecar import load_episode
from resip_ros.core import events, live_observation, messages
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import get_task
from resip_ros.nodes import observation_input, topics
from resip_ros.nodes.keyboard import Keyboard
from resip_ros.nodes.node_parameters import NodeParameters
from resip_ros.nodes.observation_input import ObservationInput
from resip_ros.nodes.recorder_node import RecorderNode
from training.bag_steps import read_steps

pytestmark = pytest.mark.ros

TASK = get_task("one_leg")
MS = 1_000_000
STEP_NS = 100 * MS


def overrides(directory, **more):
    values = {"record.directory": str(directory), "record.pre_roll_s": 5.0, **more}
    return [Parameter(name, value=value) for name, value in values.items()]


class Bench:
    """Arm, parts, bridge and a policy in one node, on a clock of their own."""

    def __init__(self, graph, part_period_ms=20):
        self.graph = graph
        self.node = graph.add(Node("bench", namespace="fr3"))
        qos, make = topics.stream_qos(5), self.node.create_publisher
        self.joints = make(JointState, topics.JOINT_STATES, qos)
        self.parts = {n: make(PoseStamped, topics.part_pose(n), qos) for n in TASK.observed}
        self.actions = make(JointTrajectory, topics.NET_ACTION, qos)
        self.events = make(String, topics.EPISODE_EVENT, topics.latched_qos())
        self.part_period_ms = part_period_ms
        self.now_ns = time.time_ns() // STEP_NS * STEP_NS
        self.rng = np.random.default_rng(0)
        self.q = np.array([0.1, -0.4, 0.05, -2.3, 0.02, 1.9, 0.8])
        self.seen, self.sent = [], []
        policy = graph.add(Node("policy", namespace="fr3"))
        self.input = ObservationInput(
            policy, TASK, self.act, robot_max_age_s=0.05, parts_max_age_s=0.1
        )

    def act(self, _, observation):
        """A policy whose actions show what it saw."""
        self.seen.append(observation)
        self.sent.append(observation.values[:10] + self.rng.normal(0, 0.01, 10))
        message = JointTrajectory()
        chunk = ActionChunk(observation.stamp_ns, self.sent[-1][None], TASK.rate_hz)
        messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint)
        self.actions.publish(message)

    def event(self, kind, detail=""):
        text = events.EpisodeEvent(kind, self.now_ns, detail).to_json()
        self.events.publish(String(data=text))
        self.graph.spin_briefly()

    def run(self, ms):
        """Joints at 100 Hz and parts at their rate, all moving."""
        for _ in range(ms // 10):
            self.now_ns += 10 * MS
            self.q += self.rng.normal(0, 1e-3, 7)
            names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
            state = JointState()
            position = np.r_[self.q, 0.03, 0.03]
            velocity = np.r_[self.rng.normal(0, 0.1, 7), 0, 0]
            messages.fill_joint_state_inplace(state, self.now_ns, names, position, velocity)
            self.joints.publish(state)
            has_parts = self.now_ns // MS % self.part_period_ms < 10
            if has_parts:
                self.publish_parts()
            # nothing is overtaken on a machine under load
            self.graph.spin_until(lambda has_parts=has_parts: self.has_arrived(has_parts))

    def has_arrived(self, has_parts):
        """Whether the policy has this instant's messages."""
        streams = self.input._streams
        return self.input._newest_ns == self.now_ns and (
            not has_parts or streams.common_ns() == self.now_ns
        )

    def publish_parts(self):
        for publisher in self.parts.values():
            pose = PoseStamped()
            messages.fill_header_inplace(pose.header, self.now_ns, messages.BASE_FRAME)
            values = np.r_[self.rng.normal(0.4, 0.1, 3), 0, 0, 0, 1.0]
            messages.fill_pose_inplace(pose.pose, values)
            publisher.publish(pose)

    def wait_for_discovery(self, recorder):
        publishers = [self.joints, *self.parts.values(), self.actions, self.events]
        # the policy listens too
        wanted = [2] * (1 + len(self.parts)) + [1, 2]

        def connected():
            recorder._look()
            return all(
                p.get_subscription_count() >= n for p, n in zip(publishers, wanted, strict=True)
            )

        self.graph.spin_until(connected)
        # what happens from here on is after the recorder's beginning, by its clock too
        self.now_ns = -(-time.time_ns() // STEP_NS) * STEP_NS


@pytest.fixture
def make_recorder(graph, tmp_path):
    def make(**more):
        recorder = graph.add(RecorderNode(parameter_overrides=overrides(tmp_path, **more)))
        recorder.begin()
        return recorder

    return make


def call(graph, recorder, service):
    client = graph.nodes[0].create_client(Trigger, f"/fr3/recorder/{service}")
    graph.spin_until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    graph.spin_until(future.done)
    return future.result()


def bags_in(folder):
    return sorted(p for p in Path(folder).iterdir() if p.is_dir() and p.name[0] != ".")


@pytest.mark.parametrize("part_period_ms", [20, 60], ids=["on the grid", "slow tracker"])
def test_what_is_recorded_is_what_the_policy_saw_to_the_last_bit(
    graph, make_recorder, tmp_path, part_period_ms
):
    bench = Bench(graph, part_period_ms)
    recorder = make_recorder()
    bench.wait_for_discovery(recorder)
    bench.run(350)
    bench.seen.clear(), bench.sent.clear()
    bench.event(events.STARTED)
    bench.run(700)
    graph.spin_until(lambda: recorder.received[layout.JOINT_STATES] == 105)
    bench.event(events.STOPPED)
    graph.spin_until(lambda: bags_in(tmp_path) and recorder._recorder.episode is None)
    graph.spin_until(lambda: load_episode(bags_in(tmp_path)[0]).state == sidecar.SAVED)
    (bag,) = bags_in(tmp_path)
    steps, _ = read_steps(bag, TASK)
    assert len(bench.seen) >= 6
    assert steps.stamps_ns == [observation.stamp_ns for observation in bench.seen]
    np.testing.assert_array_equal(steps.observations, [o.values for o in bench.seen])
    np.testing.assert_array_equal(steps.actions, bench.sent)


def test_services_record_save_and_discard(graph, make_recorder, tmp_path):
    bench = Bench(graph)
    recorder = make_recorder(**{"record.operator": "mia"})
    bench.wait_for_discovery(recorder)
    bench.run(100)
    answer = call(graph, recorder, "start")
    assert answer.success
    assert "WARNING" not in answer.message
    assert not call(graph, recorder, "start").success
    bench.run(100)
    graph.spin_until(lambda: recorder.received[layout.JOINT_STATES] == 20)
    answer = call(graph, recorder, "save")
    assert answer.success
    assert "saved and read back" in answer.message
    (bag,) = bags_in(tmp_path)
    kept = load_episode(bag)
    assert (kept.state, kept.operator, kept.success) == (sidecar.SAVED, "mia", False)
    assert kept.parameters["bench"]["use_sim_time"] is False
    # pre-roll and episode
    assert kept.topics[layout.JOINT_STATES].count == 20
    call(graph, recorder, "start")
    assert call(graph, recorder, "discard").success
    assert bags_in(tmp_path) == [bag]
    assert not call(graph, recorder, "save").success


def test_a_shadow_episode_is_recorded_and_no_demonstration(graph, make_recorder, tmp_path):
    bench = Bench(graph)
    recorder = make_recorder()
    bench.wait_for_discovery(recorder)
    bench.run(100)
    bench.event(events.STARTED, events.SHADOW)
    bench.run(300)
    bench.event(events.STOPPED)
    graph.spin_until(lambda: bags_in(tmp_path) and recorder._recorder.episode is None)
    graph.spin_until(lambda: load_episode(bags_in(tmp_path)[0]).state == sidecar.SAVED)
    (bag,) = bags_in(tmp_path)
    kept = load_episode(bag)
    assert (kept.success, kept.outcome) == (False, "shadow")
    assert "shadow mode" in kept.problems[0]
    assert kept.topics["/fr3/residual_policy/action"].count >= 2, "what it would have done"


def test_missing_streams_are_said_at_the_start(graph, make_recorder, tmp_path):
    recorder = make_recorder()
    answer = call(graph, recorder, "start")
    assert answer.success
    assert "WARNING: nobody published joint_states, parts/top/pose" in answer.message
    recorder.end()
    (bag,) = bags_in(tmp_path)
    assert load_episode(bag).success is None


def test_a_simulated_clock_is_followed(graph, make_recorder, tmp_path):
    """Events are of the ROS clock, which may be decades from the system's."""
    clock = graph.add(Node("world", namespace="fr3")).create_publisher(Clock, "/clock", 1)
    recorder = make_recorder(use_sim_time=True)
    stamp = Time(sec=50)
    bench = Bench(graph)
    bench.now_ns = 50 * 10**9

    def ticked():
        clock.publish(Clock(clock=stamp))
        return recorder.get_clock().now().nanoseconds == bench.now_ns

    graph.spin_until(ticked)
    bench.event(events.STARTED)
    graph.spin_until(lambda: bags_in(tmp_path))


def events_in(bag):
    """Kinds, in order of receipt."""
    with Bag(bag) as opened:
        records = opened.records([layout.EPISODE_EVENT])
        return [events.parse_event(record.decode().data).kind for record in records]


def test_events_of_before_the_recorder_are_in_no_bag(graph, make_recorder, tmp_path):
    """Else the converter would see a second start, and refuse the episode."""
    bench = Bench(graph)
    active = bench.node.create_publisher(String, topics.POLICY_ACTIVE, topics.latched_qos())
    active.publish(String(data='{"node": "base_policy"}'))
    bench.now_ns -= 60 * 10**9
    for kind in (events.HOMED, events.STARTED, events.STOPPED):
        bench.event(kind)
    recorder = make_recorder()
    bench.wait_for_discovery(recorder)
    # what was latched comes, and is within the pre-roll of 5 s
    graph.spin_until(lambda: recorder.received[layout.POLICY_ACTIVE])
    bench.run(350)
    graph.spin_briefly(30)
    bench.event(events.STARTED)
    bench.run(400)
    bench.event(events.STOPPED)
    graph.spin_until(lambda: bags_in(tmp_path) and recorder._recorder.episode is None)
    graph.spin_until(lambda: load_episode(bags_in(tmp_path)[0]).state == sidecar.SAVED)
    (bag,) = bags_in(tmp_path)
    assert events_in(bag) == ["started", "stopped"]
    assert read_steps(bag, TASK)[0].stamps_ns
    assert load_episode(bag).topics[layout.POLICY_ACTIVE].count == 1


def test_an_episode_that_goes_on_when_the_recorder_comes_has_its_start(
    graph, make_recorder, tmp_path
):
    bench = Bench(graph)
    bench.now_ns -= 60 * 10**9
    bench.event(events.STARTED)
    bench.now_ns += 57 * 10**9
    for kind in (events.STOPPED, events.STARTED):
        bench.event(kind)
    recorder = make_recorder(**{"record.pre_roll_s": 2.0})
    bench.wait_for_discovery(recorder)
    graph.spin_until(lambda: recorder._recorder.episode is not None)
    bench.run(200)
    bench.event(events.STOPPED)
    graph.spin_until(lambda: recorder._recorder.episode is None)
    (bag,) = bags_in(tmp_path)
    graph.spin_until(lambda: load_episode(bag).state == sidecar.SAVED)
    assert events_in(bag) == ["started", "stopped"]
    assert "recording began" in load_episode(bag).problems[-1]


def test_starts_of_long_ago_are_not_recorded(graph, make_recorder, tmp_path):
    bench = Bench(graph)
    bench.now_ns -= 60 * 10**9
    bench.event(events.STARTED)
    recorder = make_recorder()
    bench.wait_for_discovery(recorder)
    bench.run(50)
    graph.spin_briefly(30)
    assert recorder._recorder.episode is None


@pytest.mark.parametrize("kinds", [("undone", "fault"), ("fault", "undone")])
def test_an_episode_that_was_undone_goes_on_in_its_bag(graph, make_recorder, tmp_path, kinds):
    recorder = make_recorder()
    bench = Bench(graph)
    bench.wait_for_discovery(recorder)
    bench.event(events.STARTED)
    graph.spin_until(lambda: bags_in(tmp_path))
    for kind in (*kinds, events.STARTED):
        bench.event(kind)
    time.sleep(0.6)
    graph.spin_briefly()
    bench.event(events.STOPPED)
    (folder,) = bags_in(tmp_path)
    graph.spin_until(lambda: load_episode(folder).state == sidecar.SAVED)
    assert load_episode(folder).outcome == "stopped"


def test_the_episode_after_one_that_ended_undone_is_recorded(graph, make_recorder, tmp_path):
    recorder = make_recorder()
    bench = Bench(graph)
    bench.wait_for_discovery(recorder)
    for kind in (events.STARTED, events.UNDONE, events.FAULT, events.STOPPED):
        bench.event(kind)
    graph.spin_until(lambda: bags_in(tmp_path) and recorder._recorder.episode is None)
    bench.event(events.STARTED)
    graph.spin_until(lambda: recorder._recorder.episode is not None)


def test_keys_are_carried_out_on_the_node_s_thread(graph):
    node, done = graph.add(Node("typed", namespace="fr3")), []
    actions = {"s": lambda: done.append("start"), "": lambda: done.append("save")}
    Keyboard(node, actions, io.StringIO("S\nwhat\n\n"))
    graph.spin_until(lambda: len(done) == 2)
    assert done == ["start", "save"]


def test_no_folder_is_refused(graph):
    recorder = graph.add(RecorderNode())
    with pytest.raises(ConfigError, match="record.directory"):
        recorder.begin()


def test_names_in_bags_are_the_graph_s():
    prefix = f"/{topics.NAMESPACE}"
    assert prefix == layout.NAMESPACE
    for name in ("JOINT_STATES", "NET_ACTION", "BASE_ACTION", "EPISODE_EVENT", "POLICY_ACTIVE"):
        assert getattr(layout, name) == f"{prefix}/{getattr(topics, name)}"
    assert layout.part_pose("top") == f"{prefix}/{topics.part_pose('top')}"
    assert live_observation.patience_ns is observation_input.patience_ns


def test_an_image_and_a_string_arrive_undecoded(graph, make_recorder, tmp_path):
    """The bytes in the bag are those on the wire."""
    from rclpy.serialization import serialize_message

    node = graph.add(Node("other", namespace="fr3"))
    publisher = node.create_publisher(String, "note", topics.stream_qos(5))
    recorder = make_recorder(**{"record.follow_episodes": False})

    def connected():
        recorder._look()
        return publisher.get_subscription_count() == 1

    graph.spin_until(connected)
    call(graph, recorder, "start")
    publisher.publish(String(data="one"))
    graph.spin_briefly(20)
    call(graph, recorder, "save")
    with Bag(bags_in(tmp_path)[0]) as bag:
        (record,) = bag.records(["/fr3/note"])
    assert record.data == serialize_message(String(data="one"))
    assert record.decode().data == "one"


def test_a_parameter_of_an_unknown_type_is_left_out(graph):
    node = graph.add(Node("listener", namespace="fr3"))
    parameters = NodeParameters(node)
    parameters.values["camera"] = {}
    publisher = node.create_publisher(
        ParameterEvent, "/parameter_events", qos_profile_parameter_events
    )
    graph.spin_until(publisher.get_subscription_count)
    for kind in (255, ParameterType.PARAMETER_INTEGER):
        value = ParameterValue(type=kind, integer_value=3)
        changed = [ParameterMessage(name="seed", value=value)]
        publisher.publish(ParameterEvent(node="/fr3/camera", changed_parameters=changed))
    graph.spin_until(lambda: parameters.values["camera"] == {"seed": 3})
