# SPDX-License-Identifier: Apache-2.0
"""Bridge to the arm: publishes its state, gates and follows the policies' actions."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ResipError, UnsafeCommand
from resip_ros.nodes import topics
from resip_ros.nodes.command_gate import CommandGate
from resip_ros.nodes.diagnostics import ERROR, WARN, Health
from resip_ros.nodes.lifecycle import ManagedNode, ManagedParameters
from resip_ros.nodes.node_main import run_node
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.nodes.robot_health import assess_robot
from resip_ros.nodes.state_publisher import StatePublisher
from resip_ros.robot.arm_state import ArmState, Phase
from resip_ros.robot.link import RobotLink

NS_PER_MS = 1_000_000
# the simulated robot starts beside the bridge
SIM_WAIT_S = 40.0
REFUSED_WARN = 0.1


@dataclass(frozen=True)
class BridgeParameters(ManagedParameters):
    """ROS parameters of the bridge."""

    robot_address: str = parameter(
        "127.0.0.1", "address of the robot's FCI, or of the simulated world", name="robot.address"
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
    """State out at 100 Hz, actions in at 10 Hz; motion only between ~/start and ~/stop."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("franka_bridge", **kwargs)
        self.parameters = declare_parameters(self, BridgeParameters)
        self._link: RobotLink | None = None
        self._closing = threading.Event()
        self._following = False
        self._thread: threading.Thread | None = None

    def configure(self) -> None:
        """Connects to arm and gripper, then opens topics and services.

        Raises:
            RobotUnavailable: when the robot does not answer.
            ConfigError: for a bad control file.
        """
        path = self.parameters.control_config
        self.config = load_control_config(Path(path) if path else None)
        self._is_sim = bool(self.get_parameter("use_sim_time").value)
        self._closing = threading.Event()
        self._shadow = bool(self.get_parameter("shadow").value)
        address = self.parameters.robot_address
        self._link = RobotLink(self.config, address, SIM_WAIT_S if self._is_sim else 0.0)
        self._gate = CommandGate(self.config)
        self._last_refusal = self._last_fault = ""
        self._latencies_ms: list[float] = []
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
        self._told_phase = self._link.arm.phase
        self._states = StatePublisher(self)
        self._thread = threading.Thread(
            target=self._states.run,
            args=(self._link, self._now_ns, self._watch_phase, self._closing),
            daemon=True,
            name="states",
        )
        self._thread.start()
        self.get_logger().info(f"connected to the robot at {address}")

    def deactivate(self) -> None:
        """Takes no more commands and holds; then gives control back to the robot."""
        link = self._require_link()
        self._stop_following("the bridge was deactivated")
        link.release()

    def close(self) -> None:
        """Ends the state thread, then the connections; an arm that is still led is stopped."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self.remove_post_set_parameters_callback(self._on_parameters)
        if self._link is not None:
            self._link.close()
        self._link = self._thread = None

    def diagnose(self, health: Health) -> None:
        """The robot, what became of commands, and the last fault."""
        link = self._require_link()
        health.value("robot", self.parameters.robot_address)
        assess_robot(health, link, self._states)
        health.value("following", self._following)
        health.value("shadow", self._shadow)
        if self._last_fault and link.arm.phase is not Phase.FAULT:
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
        link = self._require_link()
        arm = link.arm
        self.require_active()
        link.require_no_homing()
        self._require_one_publisher()
        self._gate.reset()
        self._last_refusal = self._last_fault = ""
        self._latencies_ms = []
        self._counts = dict.fromkeys(self._counts, 0)
        if not self._shadow:
            if arm.phase is Phase.IDLE:
                arm.start_tracking()
            arm.enable()
        self._following = True
        self._emit(events.STARTED, "shadow" if self._shadow else "")
        return "following the policies" if not self._shadow else "shadow: not moving"

    def _stop(self) -> str:
        self._require_link().hold()
        self._end_following(events.STOPPED)
        return "holding"

    def _stop_following(self, why: str) -> None:
        """Decelerates and holds; ends an episode that runs."""
        following, self._following = self._following, False
        self._require_link().hold()
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
        link = self._require_link()
        self.require_active()
        self._stop_following("homing")
        if self._shadow:
            self._emit(events.HOMED, "shadow: the arm stays")
            return "shadow: the arm stays"
        self._last_fault = ""
        link.home(lambda why: self._emit(events.FAULT if why else events.HOMED, why))
        return "homing; episode/event tells when it is done"

    def _recover(self) -> str:
        arm = self._require_link().arm
        if arm.phase is not Phase.FAULT:
            return f"there is no fault; the arm is {arm.phase.value}"
        self._following = False
        arm.recover()
        return "recovered; the arm is idle; call ~/home or ~/start to move"

    def _require_link(self) -> RobotLink:
        assert self._link is not None, "configure() connects before any service"
        return self._link

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
        link = self._require_link()
        arm = link.arm
        try:
            self._require_one_publisher()
        except UnsafeCommand as error:
            link.hold()
            self._end_following(events.FAULT, str(error))
            return
        try:
            stamp_ns, action = messages.decode_action_message(message, self.config.rate_hz)
            state = arm.state()
            now_ns = self._now_ns(state)
            rest = state.q, np.zeros_like(state.q)
            start = rest if self._shadow else arm.reference()
            segment = self._gate.plan(stamp_ns, action, now_ns, state.q, start)
            if not self._shadow:
                arm.follow(segment)
                link.gripper.command(float(action[9]))
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

    def _end_following(self, kind: str, detail: str = "") -> None:
        """Takes no more commands; tells why, and what was measured."""
        was_following, self._following = self._following, False
        if was_following:
            self._report()
        self._emit(kind, detail)

    def _report(self) -> None:
        report = events.NodeReport(
            "franka_bridge", dict(self._counts), {"action": self._latencies_ms}
        )
        self._reports.publish(String(data=report.to_json()))

    def _watch_phase(self) -> None:
        """State thread: reports a fault or a time-out once, when it happens."""
        arm = self._require_link().arm
        told, phase = self._told_phase, arm.phase
        self._told_phase = phase
        if phase is Phase.FAULT and told is not Phase.FAULT:
            reason = arm.fault.message if arm.fault is not None else "unknown"
            self._end_following(events.FAULT, f"{reason}; call ~/recover")
        elif phase is Phase.HOLDING and told is Phase.FOLLOWING and arm.timed_out:
            self._counts["held"] += 1
            why = f" (last refused: {self._last_refusal})" if self._last_refusal else ""
            self._end_following(
                events.FAULT, f"no command in time: the arm holds; call ~/start{why}"
            )


def main() -> int:
    """Entry point of the `franka_bridge` command."""
    return run_node(FrankaBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
