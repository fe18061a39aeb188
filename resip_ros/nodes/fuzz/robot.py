# SPDX-License-Identifier: Apache-2.0
"""The bridge on the simulated robot: wrong input, transitions, and many starts and stops."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lifecycle_msgs.srv import ChangeState
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events
from resip_ros.core.chunking import NS_PER_S, period_ns
from resip_ros.core.errors import DataError
from resip_ros.core.kinematics import forward
from resip_ros.core.live_observation import decode_joints
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.faults.switch import TRUTH_TOPIC
from resip_ros.nodes.faults.verdict import Trace, time_to_rest_ms
from resip_ros.nodes.franka_bridge_node import FrankaBridgeNode
from resip_ros.nodes.fuzz.good import action_message, home_action
from resip_ros.nodes.fuzz.host import Host, Outcome, describe
from resip_ros.nodes.fuzz.subjects import TWO, TWO_ARMS
from resip_ros.nodes.fuzz.values import Rng, mutate, random_parameter
from resip_ros.nodes.table import simulated_address
from resip_ros.nodes.topics import NAMESPACE

WRONG_PER_S = 200
"""Wrong actions between the good ones, of simulated time."""
SWING_M, SWING_S = 0.04, 4.0
MAX_SPEED_RAD_S = 2.0
"""Of the true arm. The reference's own limit is 1.7 rad/s; the arm may overshoot it a little."""
MAX_OUTSIDE_M = 0.03
"""Of the true hand, beyond the workspace."""
REST_RAD_S = 0.05
SETTLE_S = 0.6
CYCLE_WARM_UP = 20
ACTION = f"/{NAMESPACE}/{topics.NET_ACTION}"


class Bench:
    """A simulated world in a process of its own, and the real bridge in this one."""

    def __init__(self, folder: Path, task: str = "one_leg") -> None:
        self.task = get_task(task)
        address = ",".join(simulated_address(i) for i in range(len(self.task.arms)))
        values = {"use_sim_time": "true", "robot.address": f'"{address}"', "task": task}
        command = [sys.executable, "-m", "resip_ros.nodes.faults.faulty_sim_world", "--ros-args"]
        command += ["-r", f"__ns:=/{NAMESPACE}"]
        for name, value in values.items():
            command += ["-p", f"{name}:={value}"]
        with (folder / "world.log").open("wb") as log:
            self._world = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        overrides = [
            Parameter("use_sim_time", value=True),
            Parameter("robot.address", value=address),
            Parameter("task", value=task),
        ]
        self.bridge = FrankaBridgeNode(parameter_overrides=overrides)
        self.bridge.get_logger().set_level(LoggingSeverity.FATAL)
        self.host = Host(self.bridge, self.bridge.end)
        self.truth: list[list[float]] = []
        """Rows [time s, q (7,) rad, dq (7,) rad/s] of the first arm itself."""
        self.told: dict[str, list[list[float]]] = {arm.name: [] for arm in self.task.arms}
        """The same of every arm, as the bridge publishes it."""
        self.is_following = False
        self.faults: list[str] = []
        create = self.host.sender.create_subscription
        create(Float64MultiArray, TRUTH_TOPIC, self._on_truth, topics.stream_qos(100))
        for arm in self.task.arms:
            topic = topics.of_arm(arm, topics.JOINT_STATES)
            create(JointState, topic, self._note(self.told[arm.name]), topics.stream_qos(100))
        create(String, topics.EPISODE_EVENT, self._on_event, topics.latched_qos())
        self.actions = self.host.sender.create_publisher(
            JointTrajectory, topics.NET_ACTION, topics.stream_qos(10)
        )
        self.host.adopt(ACTION, self.actions)
        self.bridge.begin()
        self.host.spin_until(lambda: len(self.truth) > 10, 60.0, "the world's clock")

    def close(self) -> None:
        """Ends bridge and world."""
        self.host.close()
        self._world.terminate()
        self._world.wait(20.0)

    def _on_truth(self, message: Float64MultiArray) -> None:
        self.truth.append(list(message.data))

    def _note(self, rows: list[list[float]]) -> Callable[[JointState], None]:
        def callback(message: JointState) -> None:
            stamp_ns, joints = decode_joints(message)
            rows.append([stamp_ns / NS_PER_S, *joints.q, *joints.dq])

        return callback

    def forget(self) -> None:
        """The judgement begins here."""
        for rows in (self.truth, *self.told.values()):
            rows.clear()

    def _on_event(self, message: String) -> None:
        try:
            event = events.parse_event(message.data)
        except DataError as error:
            raise AssertionError(f"the bridge told {message.data!r}") from error
        if event.kind == events.FAULT:
            self.faults.append(event.detail)
        if event.kind in (events.STARTED, events.STOPPED, events.FAULT):
            self.is_following = event.kind == events.STARTED

    def trigger(self, service: str) -> Trigger.Response:
        """Calls one of the bridge's services."""
        return self.host.call(Trigger, service, Trigger.Request())

    def good_action(self) -> JointTrajectory:
        """Swings to and fro before the home pose, with all arms."""
        now_ns = self.host.now_ns()
        phase = 2 * np.pi * now_ns / NS_PER_S / SWING_S
        shift = np.array([0.0, SWING_M * np.sin(phase), 0.0])
        return action_message(self.task, now_ns, home_action(self.task, shift)[None])

    def pass_time(self, seconds: float) -> None:
        """Runs callbacks for so much simulated time."""
        end_ns = self.host.now_ns() + round(seconds * NS_PER_S)
        self.host.spin_until(lambda: self.host.now_ns() >= end_ns, 60.0, "simulated time")

    def judge(self, outcome: Outcome) -> None:
        """What the arms did against the limits."""
        self._judge(outcome, "true arm", self.truth)
        for name, rows in self.told.items():
            if name:
                self._judge(outcome, f"{name} arm, as told", rows)

    def _judge(self, outcome: Outcome, name: str, rows: list[list[float]]) -> None:
        trace = Trace.of(rows, rows[0][0])
        config = self.bridge.config
        pos, _ = forward(trace.q)
        low, high = np.array(config.workspace_min), np.array(config.workspace_max)
        outside = float(np.maximum(low - pos, pos - high).max())
        speed = float(np.abs(trace.dq).max())
        if speed > MAX_SPEED_RAD_S or outside > MAX_OUTSIDE_M:
            outcome.fail(f"{name}: moved at {speed:.2f} rad/s, {outside:.3f} m outside")
        joints = np.minimum(trace.q - config.joint_min, config.joint_max - trace.q).min()
        if joints < 0:
            outcome.fail(f"{name}: a joint was {-joints:.3f} rad beyond its range")
        if time_to_rest_ms(trace) is None:
            outcome.fail(f"{name}: did not come to rest at the end")
        where = "in the workspace" if outside <= 0 else f"{1e3 * outside:.0f} mm outside"
        outcome.notes.append(
            f"{name} over {trace.time_s[-1] - trace.time_s[0]:.0f} s: "
            f"at most {speed:.2f} rad/s, hand {where}"
        )


def run(part: str, n: int, rng: Rng, folder: Path) -> Iterator[Outcome]:
    """One of the parts that need the robot."""
    bench = Bench(folder, TWO_ARMS if part == "group" else "one_leg")
    try:
        bench.trigger("home")
        bench.pass_time(6.0)
        if part in ("robot", "group"):
            yield _fuzz(bench, n, rng)
        elif part == "lifecycle":
            yield _abuse(bench, max(1, n // 100), rng)
        else:
            yield _cycle(bench, max(1, n // 10))
    finally:
        bench.close()


def _fuzz(bench: Bench, n: int, rng: Rng) -> Outcome:
    """Good actions, and many wrong ones, settings and calls between them."""
    name = "franka_bridge" + ("" if len(bench.task.arms) == 1 else TWO)
    outcome, starts = Outcome(name, "actions, settings, calls"), 0
    set_parameters = bench.host.parameter_setter()
    names = [str(each) for each in bench.bridge.get_parameters_by_prefix("")]
    read_only = {name: bench.bridge.get_parameter(name).value for name in names}
    read_only.pop("shadow")
    bench.forget()
    step_ns = period_ns(bench.task.rate_hz)
    per_step = round(WRONG_PER_S * step_ns / NS_PER_S)
    while outcome.count < n:
        if not bench.is_following:
            bench.trigger("recover")
            bench.host.call(SetBool, "shadow", SetBool.Request(data=False))
            starts += bench.trigger("start").success
        next_ns = bench.host.now_ns() + step_ns
        message: Any = bench.good_action()
        for i in range(per_step):
            try:
                bench.host.send(ACTION, message)
                if rng.random() < 0.05:
                    set_parameters([random_parameter(rng, names)])
                if rng.random() < 0.002:
                    bench.trigger(str(rng.choice(["stop", "home", "recover", "start"])))
            except Exception as error:  # noqa: BLE001
                outcome.fail(describe(error))
            outcome.count += 1
            message = mutate(rng, bench.good_action() if i % 2 else JointTrajectory())
        bench.host.spin_until(
            lambda due=next_ns: bench.host.now_ns() >= due, 60.0, "the next step"
        )
    bench.trigger("stop")
    bench.pass_time(3.0)
    for name, value in read_only.items():
        if bench.bridge.get_parameter(name).value != value:
            outcome.fail(f"{name} changed to {bench.bridge.get_parameter(name).value!r}")
    outcome.notes.append(f"{starts} starts")
    bench.judge(outcome)
    return outcome


def _abuse(bench: Bench, n: int, rng: Rng) -> Outcome:
    """Every transition in every state, while actions come and ~/start is called."""
    outcome, refusals = Outcome("franka_bridge", "transitions"), 0
    change = bench.host.sender.create_client(ChangeState, "franka_bridge/change_state")
    bench.forget()
    for _ in range(n):
        request = ChangeState.Request()
        # configure, cleanup, activate, deactivate, unknown
        request.transition.id = int(rng.choice([1, 2, 3, 3, 4, 99]))
        future = change.call_async(request)
        bench.host.spin_until(future.done, 90.0, "a transition")
        outcome.count += 1
        has_services = any(s.srv_name.endswith("/start") for s in bench.bridge.services)
        if has_services:
            answer = bench.trigger("start")
            refusals += not answer.success
            if answer.success != bench.bridge.is_active and not bench.is_following:
                outcome.fail(f"~/start answered {answer.message!r}")
        begin_s = bench.truth[-1][0] if bench.truth else 0.0
        for _ in range(round(SETTLE_S / 0.1)):
            bench.actions.publish(bench.good_action())
            bench.pass_time(0.1)
        rows = [row for row in bench.truth if row[0] > begin_s + SETTLE_S / 2]
        moved = max((float(np.abs(row[8:]).max()) for row in rows), default=0.0)
        if not bench.bridge.is_active and moved > REST_RAD_S:
            outcome.fail(f"an arm that nobody may lead moved at {moved:.2f} rad/s")
    outcome.notes.append(f"~/start refused {refusals} times")
    _shut_down_in_motion(bench)
    outcome.count += 1
    bench.judge(outcome)
    return outcome


def _shut_down_in_motion(bench: Bench) -> None:
    """From active, while the arm is led; afterwards the simulated robot holds by itself."""
    for trigger in (bench.bridge.trigger_configure, bench.bridge.trigger_activate):
        trigger()
    bench.trigger("start")
    for _ in range(10):
        bench.actions.publish(bench.good_action())
        bench.pass_time(0.1)
    bench.bridge.trigger_shutdown()
    bench.pass_time(2.0)


def _cycle(bench: Bench, n: int) -> Outcome:
    """Start, lead the arm, stop; again and again, and nothing may pile up."""
    outcome = Outcome("franka_bridge", "starts and stops")
    bench.forget()
    warm_up = min(CYCLE_WARM_UP, n // 2)
    _start_and_stop(bench, outcome, warm_up)
    grown = _start_and_stop(bench, outcome, n - warm_up)
    if _has_grown(grown):
        # DDS may open a file once, when it is late to hear of a peer; a leak grows again
        grown = _start_and_stop(bench, outcome, n - warm_up)
    if _has_grown(grown):
        outcome.fail(f"grown twice in {n - warm_up} starts and stops: {grown}")
    outcome.notes.append(", ".join(f"{key} {value:+d}" for key, value in grown.items()))
    bench.pass_time(2.0)
    bench.judge(outcome)
    return outcome


def _start_and_stop(bench: Bench, outcome: Outcome, n: int) -> dict[str, int]:
    """So many times; what has grown by that."""
    first = _resources()
    for _ in range(n):
        for service in ("start", "stop"):
            answer = bench.trigger(service)
            if not answer.success:
                outcome.fail(f"~/{service}: {answer.message}")
            bench.host.send(ACTION, bench.good_action())
        outcome.count += 1
    last = _resources()
    return {key: last[key] - first[key] for key in first}


def _has_grown(grown: dict[str, int]) -> bool:
    return grown["threads"] > 0 or grown["files"] > 0


def _resources() -> dict[str, int]:
    """What a leak would show in."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "threads": threading.active_count(),
        "files": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "memory MB": pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000,
    }
