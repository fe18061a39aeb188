# SPDX-License-Identifier: Apache-2.0
"""Bridge to the arm: publishes its state, gates and follows the policies' actions."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.action import ACTION_DIM, action_names
from resip_ros.core.chunking import tick_of
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ResipError, UnsafeCommand
from resip_ros.core.tasks import get_task, split_addresses
from resip_ros.nodes import latency, topics
from resip_ros.nodes.command_gate import CommandGate
from resip_ros.nodes.diagnostics import ERROR, WARN, Health
from resip_ros.nodes.lifecycle import ManagedNode, ManagedParameters
from resip_ros.nodes.node_main import run_node
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.nodes.robot_health import assess_robot
from resip_ros.nodes.state_publisher import StatePublisher
from resip_ros.robot.arm_state import ArmState, Phase
from resip_ros.robot.group import RobotGroup

NS_PER_MS = 1_000_000
# the simulated robot starts beside the bridge
SIM_WAIT_S = 40.0
REFUSED_WARN = 0.1


@dataclass(frozen=True)
class BridgeParameters(ManagedParameters):
    """ROS parameters of the bridge."""

    task: str = parameter("one_leg", "task that is run: its arms and its steps a second")
    robot_address: str = parameter(
        "127.0.0.1",
        "address of the robot's FCI, or of the simulated world; of each arm, with commas between",
        name="robot.address",
    )
    control_config: str = parameter(
        "", "YAML file with the control numbers; empty: config/robots/fr3.yaml"
    )
    shadow: bool = parameter(
        False,
        "gate and count commands, but never move the arm; a change ends the episode",
        live=True,
    )


class FrankaBridgeNode(ManagedNode):
    """State out at 100 Hz, actions in at the task's rate; motion only between ~/start and ~/stop.

    All arms of a task are led by this one process, so that what ends one ends all at once.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__("franka_bridge", **kwargs)
        self.parameters = declare_parameters(self, BridgeParameters)
        self._robots: RobotGroup | None = None
        self._closing = threading.Event()
        self._following = False
        self._watching = threading.Lock()
        self._threads: list[threading.Thread] = []

    def configure(self) -> None:
        """Connects to arms and grippers, then opens topics and services.

        Raises:
            RobotUnavailable: when the robot does not answer.
            ConfigError: for a bad control file.
        """
        path = self.parameters.control_config
        self._task = get_task(self.parameters.task)
        self.config = load_control_config(Path(path) if path else None).at_rate(self._task.rate_hz)
        self._is_sim = bool(self.get_parameter("use_sim_time").value)
        self._closing = threading.Event()
        self._shadow = bool(self.get_parameter("shadow").value)
        addresses = split_addresses(self.parameters.robot_address, self._task)
        self._robots = RobotGroup(self.config, addresses, SIM_WAIT_S if self._is_sim else 0.0)
        self._gate = CommandGate(self.config, self._task.arms)
        self._last_refusal = self._last_fault = ""
        self._latencies_ms: list[float] = []
        self._trace = latency.Trace()
        self._counts = {"commands": 0, "refused": 0, "held": 0}
        self._open_topics()
        for name, handler in (
            ("start", self._start),
            ("stop", self._stop),
            ("home", self._home),
            ("recover", self._recover),
        ):
            self.create_service(Trigger, f"~/{name}", self._answer(handler))
        self.create_service(SetBool, "~/shadow", self._on_shadow_service)
        self.add_post_set_parameters_callback(self._on_parameters)
        self._told_phase = self._robots.phase
        self._states = [StatePublisher(self, arm) for arm in self._task.arms]
        self._threads = [
            threading.Thread(
                target=states.run,
                args=(link, self._now_ns, self._watch_phase, self._closing, self._note_state),
                daemon=True,
                name="states",
            )
            for link, states in zip(self._robots.links, self._states, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        self.get_logger().info(f"connected to the robot at {self.parameters.robot_address}")

    def deactivate(self) -> None:
        """Takes no more commands and holds; then gives control back to the robot."""
        self._stop_following("the bridge was deactivated")
        self._require_robots().release()

    def close(self) -> None:
        """Ends the state threads, then the connections; an arm that is still led is stopped."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        if self._threads:
            self.remove_post_set_parameters_callback(self._on_parameters)
        if self._robots is not None:
            self._robots.close()
        self._robots, self._threads = None, []

    def diagnose(self, health: Health) -> None:
        """The robot, what became of commands, and the last fault."""
        robots = self._require_robots()
        health.value("robot", self.parameters.robot_address)
        for arm, link, states in zip(self._task.arms, robots.links, self._states, strict=True):
            assess_robot(health, link, states, arm.name, self._is_sim)
        health.value("following", self._following)
        health.value("shadow", self._shadow)
        if self._last_fault and robots.phase is not Phase.FAULT:
            health.tell(WARN, f"the last episode ended by a fault: {self._last_fault}")
        if self._shadow:
            health.tell(WARN, "shadow mode: the arm does not move; ~/shadow switches it off")
        if self.count_publishers(topics.NET_ACTION) > 1:
            health.tell(ERROR, f"several publishers on {topics.NET_ACTION}; end all but one")
        for name, count in self._counts.items():
            health.value(name, count)
        received = self._counts["commands"] + self._counts["refused"]
        refused = self._counts["refused"] / max(1, received)
        health.at_most("refused share", refused, warn=REFUSED_WARN, advice=self._last_refusal)

    def _open_topics(self) -> None:
        create = self.create_lifecycle_publisher
        self._events = create(String, topics.EPISODE_EVENT, topics.latched_qos())
        self._reports = create(String, topics.EPISODE_REPORT, topics.latched_qos())
        self.create_subscription(
            JointTrajectory, topics.NET_ACTION, self._on_action, topics.stream_qos()
        )

    def _answer(
        self, handler: Callable[[], str]
    ) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
        """Service callback around a function that returns a message or raises."""

        def callback(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message, response.success = handler(), True
            except ResipError as error:
                response.message, response.success = str(error), False
                self.get_logger().error(str(error))
            return response

        return callback

    def _now_ns(self, state: ArmState) -> int:
        """ROS time of a state, ns.

        The simulated robot's clock is the ROS clock; a real arm's state is of the reading.
        """
        if self._is_sim:
            return round(state.time_s * 1000) * NS_PER_MS
        return self.get_clock().now().nanoseconds

    def _emit(self, kind: str, detail: str = "") -> None:
        if kind == events.FAULT:
            self._last_fault = detail
        stamp_ns = self.get_clock().now().nanoseconds
        # the robot's own messages span lines
        event = events.EpisodeEvent(kind, stamp_ns, " ".join(detail.split()))
        self._events.publish(String(data=event.to_json()))
        self.get_logger().info(f"{kind} {detail}".rstrip())

    # ---- services ----

    def _start(self) -> str:
        robots = self._require_robots()
        self.require_active()
        robots.require_no_homing()
        self._require_one_publisher()
        self._gate.reset()
        self._last_refusal = self._last_fault = ""
        self._latencies_ms = []
        self._trace.clear()
        self._counts = dict.fromkeys(self._counts, 0)
        if not self._shadow:
            robots.enable()
        for link in robots.links:
            link.arm.timing.clear()
        self._following = True
        self._emit(events.STARTED, events.SHADOW if self._shadow else "")
        return "following the policies" if not self._shadow else "shadow: not moving"

    def _stop(self) -> str:
        self._require_robots().hold()
        self._end_following(events.STOPPED)
        return "holding"

    def _stop_following(self, why: str) -> None:
        """Decelerates and holds; ends an episode that runs."""
        following, self._following = self._following, False
        self._require_robots().hold()
        if following:
            self._report()
            self._emit(events.STOPPED, why)

    def _on_shadow_service(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        # through the parameter, so that it always tells the truth
        (result,) = self.set_parameters([Parameter("shadow", value=request.data)])
        mode = "shadow: the arm does not move" if request.data else "the arm moves again"
        response.success = result.successful
        response.message = result.reason or f"{mode}, from the next ~/start on"
        return response

    def _on_parameters(self, parameters: list[Parameter]) -> None:
        """Shadow mode on or off; either way the arm holds, and only ~/start goes on."""
        for changed in parameters:
            if changed.name == "shadow" and changed.value != self._shadow:
                self._stop_following(f"shadow mode {'on' if changed.value else 'off'}")
                self._shadow = bool(changed.value)

    def _home(self) -> str:
        robots = self._require_robots()
        self.require_active()
        self._stop_following("homing")
        if self._shadow:
            self._emit(events.HOMED, "shadow: the arm stays")
            return "shadow: the arm stays"
        self._last_fault = ""
        robots.home(lambda why: self._emit(events.FAULT if why else events.HOMED, why))
        return "homing; episode/event tells when it is done"

    def _recover(self) -> str:
        robots = self._require_robots()
        if robots.phase is not Phase.FAULT:
            return f"there is no fault; the arm is {robots.phase.value}"
        self._following = False
        robots.recover()
        return "recovered; the arm is idle; call ~/home or ~/start to move"

    def _require_robots(self) -> RobotGroup:
        assert self._robots is not None, "configure() connects before any service"
        return self._robots

    # ---- commands ----

    def _require_one_publisher(self) -> None:
        """Nobody can say which of two publishers is meant.

        Raises:
            UnsafeCommand: there are several.
        """
        count = self.count_publishers(topics.NET_ACTION)
        if count > 1:
            raise UnsafeCommand(
                f"{count} publishers on {self.resolve_topic_name(topics.NET_ACTION)}, expected 1; "
                "end the others (one that was killed is forgotten after 20 s), then call ~/start"
            )

    def _on_action(self, message: JointTrajectory) -> None:
        if not self._following:
            return
        received_s = time.monotonic()
        robots = self._require_robots()
        try:
            self._require_one_publisher()
        except UnsafeCommand as error:
            robots.hold()
            self._end_following(events.FAULT, str(error))
            return
        try:
            stamp_ns, action = messages.decode_action_message(
                message, self._task.rate_hz, action_names(self._task)
            )
            states = robots.states()
            now_ns = max(self._now_ns(state) for state in states)
            q = np.stack([state.q for state in states])
            start = (q, np.zeros_like(q)) if self._shadow else robots.reference()
            segment = self._gate.plan(stamp_ns, action, now_ns, q, start)
            if not self._shadow:
                robots.follow(segment, action[ACTION_DIM - 1 :: ACTION_DIM])
            self._gate.accept(stamp_ns)
        except UnsafeCommand as error:
            self._counts["refused"] += 1
            self._last_refusal = str(error)
            self.get_logger().warning(f"refused: {error}", throttle_duration_sec=1.0)
            return
        except ResipError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        self._counts["commands"] += 1
        self._latencies_ms.append((now_ns - stamp_ns) / 1e6)
        tick = tick_of(stamp_ns, self._task.rate_hz)
        self._trace.mark(latency.ACTION_RECEIVED, tick, received_s)
        self._trace.mark(latency.ACCEPTED, tick)

    def _note_state(self, stamp_ns: int) -> None:
        if self._following:
            self._trace.mark(latency.STATE_SENT, tick_of(stamp_ns, self._task.rate_hz))

    def _end_following(self, kind: str, detail: str = "") -> None:
        """Takes no more commands; tells why, and what was measured."""
        was_following, self._following = self._following, False
        if was_following:
            self._report()
        self._emit(kind, detail)

    def _report(self) -> None:
        timings = [link.arm.timing for link in self._require_robots().links]
        self._trace.mark_answers(timings[0].answers.copy())
        times = {
            "action": self._latencies_ms,
            latency.REFERENCE_PERIOD: [round(v, 2) for t in timings for v in t.periods_ms.copy()],
            latency.CONTROL_SUCCESS: [1e2 * share for t in timings for share in t.success.copy()],
        }
        report = events.NodeReport("franka_bridge", dict(self._counts), times, self._trace.rows())
        self._reports.publish(String(data=report.to_json()))

    def _watch_phase(self) -> None:
        """State thread: reports a fault or a time-out once; what ends one arm ends all."""
        robots = self._require_robots()
        with self._watching:
            told, phase = self._told_phase, robots.phase
            self._told_phase = phase
        if phase is Phase.FAULT and told is not Phase.FAULT:
            robots.hold_others()
            self._end_following(events.FAULT, f"{robots.fault or 'unknown'}; call ~/recover")
        elif phase is Phase.HOLDING and told is Phase.FOLLOWING and robots.ended:
            robots.hold()
            self._counts["held"] += 1
            why = f" (last refused: {self._last_refusal})" if self._last_refusal else ""
            self._end_following(events.FAULT, f"{robots.ended}: the arm holds; call ~/start{why}")


def main() -> int:
    """Entry point of the `franka_bridge` command."""
    return run_node(FrankaBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
