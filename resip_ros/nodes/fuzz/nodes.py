# SPDX-License-Identifier: Apache-2.0
"""Wrong messages and parameters for the policies and the recorder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import events, messages
from resip_ros.core.action import encode_action
from resip_ros.core.chunking import ActionChunk, tick_of, tick_start_ns
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import forward
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.base_policy_node import BasePolicyNode
from resip_ros.nodes.fuzz.host import Host, Outcome, describe
from resip_ros.nodes.fuzz.values import Rng, mutate, random_parameter
from resip_ros.nodes.node_main import StackNode
from resip_ros.nodes.policy_slot import CHECKPOINT, ActivePolicy
from resip_ros.nodes.recorder_node import RecorderNode
from resip_ros.nodes.residual_policy_node import ResidualPolicyNode

TASK = get_task("one_leg")
GOOD_SHARE, GARBAGE_SHARE = 0.25, 0.2
GOOD_EVERY = 20
"""After so many messages comes one good one on every topic, so that the node acts."""
HOME = np.array(load_control_config().home_joints)


def make_node(name: str, policy: Path, folder: Path) -> StackNode:
    """A node by name, not begun."""
    values: dict[str, Any] = {CHECKPOINT: str(policy)}
    if name == "recorder":
        values = {"record.directory": str(folder / "bags")}
    overrides = [Parameter(key, value=value) for key, value in values.items()]
    node = {
        "base_policy": BasePolicyNode,
        "residual_policy": ResidualPolicyNode,
        "recorder": RecorderNode,
    }[name](parameter_overrides=overrides)
    # tens of thousands of refusals
    node.get_logger().set_level(LoggingSeverity.FATAL)
    return node


def action_message(stamp_ns: int, actions: Array) -> JointTrajectory:
    """Actions (Ta, 10) from a time on."""
    message = JointTrajectory()
    messages.fill_chunk_inplace(
        message, ActionChunk(stamp_ns, actions, TASK.rate_hz), JointTrajectoryPoint
    )
    return message


def good_message(rng: Rng, topic: str, kind: type, now_ns: int) -> Any:
    """What the rest of the graph would send now."""
    name = topic.removeprefix(f"/{topics.NAMESPACE}/")
    message = kind()
    if kind is JointState:
        names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
        position = np.r_[HOME + rng.normal(0, 0.01, 7), 0.03, 0.03]
        messages.fill_joint_state_inplace(message, now_ns, names, position, np.zeros(9))
    elif kind is PoseStamped:
        messages.fill_header_inplace(message.header, now_ns, messages.BASE_FRAME)
        values = np.r_[0.5, rng.normal(0, 0.1), 0.02, 0.0, 0.0, 0.0, 1.0]
        messages.fill_pose_inplace(message.pose, values)
    elif kind is JointTrajectory:
        steps = 8 if name == topics.ACTION_CHUNK else 1
        pos, rot = forward(HOME)
        action = encode_action(pos + rng.normal(0, 0.003, 3), rot, np.array(-1.0))
        tick = tick_of(now_ns, TASK.rate_hz)
        message = action_message(tick_start_ns(tick, TASK.rate_hz), np.tile(action, (steps, 1)))
    elif kind is String and name == topics.POLICY_ACTIVE:
        active = ActivePolicy("base_policy", "anywhere", "", "")
        message = String(data=json.dumps(dataclasses.asdict(active)))
    elif kind is String:
        kinds = [events.STARTED] * 4 + [events.STOPPED, events.FAULT, events.HOMED]
        event = str(rng.choice(kinds))
        message = String(data=events.EpisodeEvent(event, now_ns).to_json())
    elif kind is Bool:
        message = Bool(data=bool(rng.integers(2)))
    return message


def fuzzed(rng: Rng, topic: str, kind: type, now_ns: int) -> Any:
    """A good message, one with wrong places, or garbage."""
    draw = rng.random()
    if draw < GARBAGE_SHARE:
        message = kind()
        for _ in range(4):
            message = mutate(rng, message)
        return message
    message = good_message(rng, topic, kind, now_ns)
    return message if draw < GARBAGE_SHARE + GOOD_SHARE else mutate(rng, message)


def _watch_outputs(host: Host, outcome: Outcome) -> list[int]:
    """Judges what a policy publishes; gives the number of well-formed messages, in a list."""
    count = [0]

    def judged(decode: Callable[[Any, float], object]) -> Callable[[JointTrajectory], None]:
        def callback(message: JointTrajectory) -> None:
            try:
                decode(message, TASK.rate_hz)
                count[0] += 1
            except ResipError as error:
                outcome.fail(f"published: {error}")

        return callback

    for topic, decode in (
        (topics.ACTION_CHUNK, messages.decode_chunk),
        (topics.NET_ACTION, messages.decode_action_message),
    ):
        if any(p.topic_name.endswith(topic) for p in host.node.publishers):
            host.sender.create_subscription(
                JointTrajectory, topic, judged(decode), topics.stream_qos(10)
            )
    return count


def fuzz_messages(name: str, n: int, rng: Rng, policy: Path, folder: Path) -> Outcome:
    """``n`` messages on every topic that a node subscribes to, in turn."""
    host = Host(make_node(name, policy, folder))
    outcome = Outcome(name, "messages")
    try:
        if name == "recorder":
            # it listens to what somebody publishes
            qos = topics.stream_qos()
            host.sender.create_publisher(JointState, topics.JOINT_STATES, qos)
            host.sender.create_publisher(JointTrajectory, topics.NET_ACTION, qos)
        host.node.begin()
        host.spin(1.0)
        published = _watch_outputs(host, outcome)
        names = sorted(host.inputs())

        def send(topic: str, message: Any) -> None:
            try:
                host.send(topic, message)
            except Exception as error:  # noqa: BLE001, whatever gets out of a callback
                outcome.fail(describe(error))

        for i in range(n * len(names)):
            topic = names[i % len(names)]
            kind = host.inputs()[topic].msg_type
            send(topic, fuzzed(rng, topic, kind, host.now_ns()))
            outcome.count += 1
            if i % GOOD_EVERY == 0:
                now_ns = host.now_ns()
                for each in names:
                    kind = host.inputs()[each].msg_type
                    send(each, good_message(rng, each, kind, now_ns))
        outcome.notes.append(f"{len(names)} topics")
        if name != "recorder":
            outcome.notes.append(f"{published[0]} well-formed actions published meanwhile")
    finally:
        host.close()
    return outcome


def fuzz_parameters(host: Host, n: int, rng: Rng, good: dict[str, Any]) -> Outcome:
    """``n`` random settings of a node that has begun; what is read-only must not change.

    Args:
        host: With the node.
        n: Settings.
        rng: Source of randomness.
        good: Values that are set now and then, so that not only refusals are tried.
    """
    node, outcome = host.node, Outcome(host.node.get_name(), "parameters")
    names = [str(each) for each in node.get_parameters_by_prefix("")]
    before = {each: node.get_parameter(each).value for each in names}
    read_only = {each for each in names if node.describe_parameter(each).read_only}
    set_parameters = host.parameter_setter()
    accepted = 0
    for _ in range(n):
        parameters = [random_parameter(rng, names) for _ in range(int(rng.integers(1, 4)))]
        if good and rng.random() < 0.02:
            key = str(rng.choice(list(good)))
            parameters = [Parameter(key, value=good[key])]
        try:
            accepted += sum(set_parameters(parameters))
        except Exception as error:  # noqa: BLE001
            outcome.fail(f"{[p.name for p in parameters]}: {describe(error)}")
        outcome.count += 1
    for each in names:
        value = node.get_parameter(each).value
        if each in (read_only | {"use_sim_time"}) and value != before[each]:
            outcome.fail(f"{each} changed from {before[each]!r} to {value!r}")
        if type(value) is not type(before[each]):
            outcome.fail(f"{each} became {value!r}")
    for each in node.get_parameters_by_prefix(""):
        if each not in names:
            outcome.fail(f"{each} was declared by a setting")
    outcome.notes.append(f"{accepted} values accepted, all of live parameters")
    return outcome


def fuzz_node_parameters(name: str, n: int, rng: Rng, policy: Path, folder: Path) -> Outcome:
    """``n`` random settings of a policy or the recorder."""
    host = Host(make_node(name, policy, folder))
    try:
        host.node.begin()
        good = {} if name == "recorder" else {CHECKPOINT: str(policy)}
        return fuzz_parameters(host, n, rng, good)
    finally:
        host.close()
