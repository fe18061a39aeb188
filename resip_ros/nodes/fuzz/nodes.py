# SPDX-License-Identifier: Apache-2.0
"""Wrong messages, settings and starts for everything but the bridge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core.chunking import period_ns
from resip_ros.core.errors import ResipError
from resip_ros.nodes import topics
from resip_ros.nodes.fuzz.good import GoodMessages
from resip_ros.nodes.fuzz.host import Host, Outcome, describe
from resip_ros.nodes.fuzz.judges import Judge
from resip_ros.nodes.fuzz.subjects import ENABLE, good_values, make_node, make_subject
from resip_ros.nodes.fuzz.values import Rng, pick, random_parameter
from resip_ros.nodes.node_main import StackNode
from resip_ros.nodes.recorder_node import LOOK_S
from resip_ros.nodes.table import CHECKPOINT

GOOD_EVERY = 20
"""After so many messages comes one good one on every topic, so that the node acts."""
LIFE_S = 30.0
UNTRIED = {("franka_bridge", "robot.address")}
"""It would be called up, and waited for, for ten seconds."""
SERVICE_SHARE = 0.001
GOOD_SHARE = 0.02
"""Of settings."""


class Sender:
    """Sends to one subject, and notes what gets out of it."""

    def __init__(self, host: Host, good: GoodMessages, rng: Rng, outcome: Outcome) -> None:
        """Takes where to send, what, and where failures go."""
        self._host, self._good, self._rng, self._outcome = host, good, rng, outcome
        self._step_ns = period_ns(good.task.rate_hz)
        self._now_ns = host.now_ns()

    def attempt(self, action: Callable[[], object]) -> None:
        """Does something; whatever gets out of it is a failure."""
        try:
            action()
        except Exception as error:  # noqa: BLE001
            self._outcome.fail(describe(error))

    def send_wrong(self, topic: str) -> None:
        """One message that may be wrong."""
        kind = self._host.inputs()[topic][0].msg_type
        message = self._good.fuzzed(self._rng, topic, kind, self._now_ns)
        self.attempt(lambda: self._host.send(topic, message))
        self._outcome.count += 1

    def send_good(self, names: list[str]) -> None:
        """A good message on every topic, stamped a step later than those of the last time."""
        # faster than the clock runs, or the node would hardly ever have a step to act in
        self._now_ns = max(self._now_ns + self._step_ns, self._host.now_ns())
        for topic in names:
            kind = self._host.inputs()[topic][0].msg_type
            message = self._good.make(self._rng, topic, kind, self._now_ns)
            self.attempt(lambda t=topic, m=message: self._host.send(t, m))


def fuzz_messages(name: str, n: int, rng: Rng, policy: Path, folder: Path) -> Outcome:
    """``n`` messages on every topic that a subject subscribes to, in turn."""
    subject = make_subject(name, policy, folder)
    host = Host(subject.node, subject.end)
    outcome = Outcome(name, "messages")
    try:
        if name.startswith("recorder"):
            # it listens to what somebody publishes
            qos = topics.stream_qos()
            host.sender.create_publisher(JointState, topics.JOINT_STATES, qos)
            host.sender.create_publisher(JointTrajectory, topics.NET_ACTION, qos)
        subject.begin()
        if name.startswith("recorder"):
            host.spin(2 * LOOK_S)
        judge = Judge(host, subject.good.task, outcome)
        sender = Sender(host, subject.good, rng, outcome)
        names = sorted(host.inputs())
        for i in range(n * max(1, len(names))):
            if names:
                sender.send_wrong(names[i % len(names)])
            if subject.services and rng.random() < SERVICE_SHARE:
                service = pick(rng, subject.services)
                sender.attempt(lambda s=service: _call(host, s))
            if i % GOOD_EVERY == 0:
                sender.send_good(names)
                sender.attempt(subject.use)
        outcome.notes.append(f"{len(names)} topics")
        if names and judge.listens and isinstance(subject.node, StackNode):
            outcome.notes.append(f"{judge.count} well-formed messages published meanwhile")
            _require_life(host, sender, judge, names)
    finally:
        host.close()
    return outcome


def _call(host: Host, service: str) -> None:
    """A service of the node, whatever it answers; a switch is switched off and on."""
    if service == ENABLE:
        for on in (False, True):
            host.call(SetBool, service, SetBool.Request(data=on))
    else:
        host.call(Trigger, service, Trigger.Request())


def _require_life(host: Host, sender: Sender, judge: Judge, names: list[str]) -> None:
    """A node that has dropped all that was wrong goes on with what is good."""
    before = judge.count

    def acts() -> bool:
        sender.send_good(names)
        return judge.count > before

    sender.attempt(lambda: host.spin_until(acts, LIFE_S, "to act on good messages again"))


def fuzz_starts(name: str, n: int, rng: Rng, policy: Path, folder: Path) -> Outcome:
    """``n`` starts with one wrong parameter: a node begins, or says in one error why not."""
    outcome, begun = Outcome(name, "starts"), 0
    task, values = good_values(name, policy, folder)
    values = {"task": task} | values
    node = make_node(name, values)
    names = [str(each) for each in node.get_parameters_by_prefix("")]
    names = [each for each in names if (name, each) not in UNTRIED]
    types = {each: node.get_parameter(each).type_ for each in names}
    node.destroy_node()
    # relative paths are among what is tried
    with contextlib.chdir(folder):
        for _ in range(n):
            wrong = _override(rng, names, types)
            try:
                begun += _start(name, values | {wrong.name: wrong.value})
            except Exception as error:  # noqa: BLE001
                outcome.fail(f"{wrong.name} = {wrong.value!r:.60}: {describe(error)}")
            outcome.count += 1
    outcome.notes.append(f"{begun} begun, the others refused")
    return outcome


def _override(rng: Rng, names: list[str], types: dict[str, Parameter.Type]) -> Parameter:
    """A wrong parameter, mostly of the right type.

    Never without a value: neither a command line nor a file can say so, and rclpy refuses it.
    """
    tries, wrong = 0, random_parameter(rng, names)
    while wrong.value is None or (tries < 20 and wrong.type_ != types.get(wrong.name)):
        tries, wrong = tries + 1, random_parameter(rng, names)
    if isinstance(wrong.value, str):
        # nothing is to be written elsewhere
        return Parameter(wrong.name, value=wrong.value.lstrip("/"))
    return wrong


def _start(name: str, values: dict[str, Any]) -> bool:
    """Whether a node begins; an error that is ours is an answer."""
    node: StackNode | None = None
    try:
        node = make_node(name, values)
        node.begin()
        return True
    except ResipError:
        return False
    finally:
        if node is not None:
            node.end()
            node.destroy_node()


def fuzz_parameters(
    host: Host,
    n: int,
    rng: Rng,
    good: dict[str, Any],
    between: Callable[[], object] = lambda: None,
) -> Outcome:
    """``n`` random settings of a node that has begun; what is read-only must not change.

    Args:
        host: With the node.
        n: Settings.
        rng: Source of randomness.
        good: Values that are set now and then, so that not only refusals are tried.
        between: Called after a hundred settings, to act by them.
    """
    node, outcome = host.node, Outcome(host.node.get_name(), "parameters")
    names = [str(each) for each in node.get_parameters_by_prefix("")]
    before = {each: node.get_parameter(each).value for each in names}
    read_only = {each for each in names if node.describe_parameter(each).read_only}
    set_parameters = host.parameter_setter()
    accepted = 0
    for i in range(n):
        parameters = [random_parameter(rng, names) for _ in range(int(rng.integers(1, 4)))]
        if good and rng.random() < GOOD_SHARE:
            key = pick(rng, list(good))
            parameters = [Parameter(key, value=good[key])]
        try:
            accepted += sum(set_parameters(parameters))
            if i % 100 == 0:
                between()
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
    """``n`` random settings of a node; its services are called between them."""
    subject = make_subject(name, policy, folder)
    host = Host(subject.node, subject.end)
    try:
        subject.begin()
        good = {CHECKPOINT: str(policy)} if subject.node.has_parameter(CHECKPOINT) else {}

        def serve() -> None:
            for service in subject.services:
                _call(host, service)

        return fuzz_parameters(host, n, rng, good, serve)
    finally:
        host.close()
