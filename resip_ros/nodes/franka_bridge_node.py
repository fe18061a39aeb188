# SPDX-License-Identifier: Apache-2.0
"""Bridge to the arm: publishes its state, gates and follows the policies' actions."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ResipError, UnsafeCommand
from resip_ros.nodes import topics
from resip_ros.nodes.command_gate import CommandGate
from resip_ros.nodes.lifecycle import ManagedNode, ManagedParameters
from resip_ros.nodes.node_main import run_node
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.nodes.state_publisher import StatePublisher
from resip_ros.robot.arm import ArmState, FrankaArm, Phase
from resip_ros.robot.connection import RobotUnavailable
from resip_ros.robot.gripper import GripperGoal, GripperWorker
from resip_ros.robot.supervisor import Supervisor

NS_PER_MS = 1_000_000
STATE_PERIOD_NS = 10 * NS_PER_MS
# the simulated robot starts beside the bridge
SIM_WAIT_S = 40.0
HOME_TIMEOUT_S = 30.0
LOST_PAUSE_S = 0.5


@dataclass(frozen=True)
class BridgeParameters(ManagedParameters):
    """ROS parameters of the bridge."""

    robot_address: str = parameter(
        "127.0.0.1", "address of the robot's FCI, or of the simulated world", name="robot.address"
    )
    control_config: str = parameter(
        "", "YAML file with the control numbers; empty: config/robots/fr3.yaml"
    )
    shadow: bool = parameter(False, "gate and count commands, but never move the arm")


class FrankaBridgeNode(ManagedNode):
    """State out at 100 Hz, actions in at 10 Hz; motion only between ~/start and ~/stop."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("franka_bridge", **kwargs)
        self.parameters = declare_parameters(self, BridgeParameters)
        self._arm: FrankaArm | None = None
        self._gripper: GripperWorker | None = None
        self._supervisor: Supervisor | None = None
        self._closing = threading.Event()
        self._following = False
        self._homing: threading.Thread | None = None
        self._threads: list[threading.Thread] = []

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
        address = self.parameters.robot_address
        self._supervisor = Supervisor(self.config.supervisor_timeout_s)
        self._arm = FrankaArm(self.config, address, self._supervisor)
        self._gripper = GripperWorker(self.config, address)
        self._connect(self._arm.connect)
        self._connect(self._gripper.connect)
        self._gate = CommandGate(self.config)
        self._last_refusal = ""
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
        self._spawn(self._publish_states)
        self.get_logger().info(f"connected to the robot at {address}")

    def _connect(self, connect: Callable[[], None]) -> None:
        """Connects; waits only for a simulated robot that is still starting."""
        deadline = time.monotonic() + (SIM_WAIT_S if self._is_sim else 0.0)
        while True:
            try:
                return connect()
            except RobotUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def deactivate(self) -> None:
        """Takes no more commands and holds; then gives control back to the robot."""
        arm = self._require_arm()
        following, self._following = self._following, False
        with contextlib.suppress(RobotUnavailable):
            arm.hold()
        if following:
            self._report()
            self._emit(events.STOPPED, "the bridge was deactivated")
        if self._homing is not None:
            self._homing.join(HOME_TIMEOUT_S)
        arm.stop()

    def close(self) -> None:
        """Ends all threads, then the connections; an arm that is still led is stopped last."""
        self._closing.set()
        for thread in self._threads:
            thread.join(HOME_TIMEOUT_S)
        if self._gripper is not None:
            self._gripper.close()
        if self._arm is not None:
            self._arm.close()
        if self._supervisor is not None:
            self._supervisor.close()
            gap_ms = 1e3 * self._supervisor.longest_gap_s
            self.get_logger().info(f"longest gap between signs of life: {gap_ms:.0f} ms")
        self._arm = self._gripper = self._supervisor = None

    def _open_topics(self) -> None:
        create = self.create_lifecycle_publisher
        self._events = create(String, topics.EPISODE_EVENT, topics.latched_qos())
        self._reports = create(String, topics.EPISODE_REPORT, topics.latched_qos())
        self.create_subscription(
            JointTrajectory, topics.NET_ACTION, self._on_action, topics.stream_qos()
        )

    def _spawn(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True, name=target.__name__)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()
        return thread

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
        stamp_ns = self.get_clock().now().nanoseconds
        # the robot's own messages span lines
        event = events.EpisodeEvent(kind, stamp_ns, " ".join(detail.split()))
        self._events.publish(String(data=event.to_json()))
        self.get_logger().info(f"{kind} {detail}".rstrip())

    # ---- services ----

    def _start(self) -> str:
        arm = self._require_arm()
        self.require_active()
        self._require_one_publisher()
        self._gate.reset()
        self._last_refusal = ""
        self._latencies_ms = []
        self._counts = dict.fromkeys(self._counts, 0)
        if not self.parameters.shadow:
            if arm.phase is Phase.IDLE:
                arm.start_tracking()
            arm.enable()
        self._following = True
        self._emit(events.STARTED, "shadow" if self.parameters.shadow else "")
        return "following the policies" if not self.parameters.shadow else "shadow: not moving"

    def _stop(self) -> str:
        self._require_arm().hold()
        self._end_following(events.STOPPED)
        return "holding"

    def _home(self) -> str:
        arm = self._require_arm()
        self.require_active()
        self._following = False
        if self.parameters.shadow:
            self._emit(events.HOMED, "shadow: the arm stays")
            return "shadow: the arm stays"
        if arm.phase is Phase.IDLE:
            arm.start_tracking()
        if arm.phase is Phase.FOLLOWING:
            arm.hold()
        self._homing = self._spawn(self._go_home)
        return "homing; episode/event tells when it is done"

    def _go_home(self) -> None:
        arm, gripper = self._arm, self._gripper
        assert arm is not None
        assert gripper is not None
        try:
            gripper.request(GripperGoal.OPEN)
            gripper.wait_until_idle(5.0)
            arm.home()
            arm.wait_until_homed(HOME_TIMEOUT_S)
        except ResipError as error:
            self._emit(events.FAULT, str(error))
        else:
            self._emit(events.HOMED)

    def _recover(self) -> str:
        self._following = False
        self._require_arm().recover()
        return "recovered; the arm is idle; call ~/home or ~/start to move"

    def _require_arm(self) -> FrankaArm:
        assert self._arm is not None, "configure() makes the arm before any service"
        return self._arm

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
        arm = self._require_arm()
        try:
            self._require_one_publisher()
        except UnsafeCommand as error:
            arm.hold()
            self._end_following(events.FAULT, str(error))
            return
        try:
            stamp_ns, action = messages.decode_action_message(message, self.config.rate_hz)
            state = arm.state()
            now_ns = self._now_ns(state)
            rest = state.q, np.zeros_like(state.q)
            start = rest if self.parameters.shadow else arm.reference()
            segment = self._gate.plan(stamp_ns, action, now_ns, state.q, start)
            if not self.parameters.shadow:
                arm.follow(segment)
                assert self._gripper is not None
                self._gripper.command(float(action[9]))
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

    # ---- states ----

    def _publish_states(self) -> None:
        """State thread: one reading in every 10 ms of the ROS clock."""
        arm, gripper = self._require_arm(), self._gripper
        assert gripper is not None
        publisher = StatePublisher(self)
        last_slot = -1
        phase = arm.phase
        while not self._closing.is_set():
            phase = self._watch_phase(arm, phase)
            try:
                state = arm.state()
            except ResipError as error:
                self.get_logger().error(str(error), throttle_duration_sec=5.0)
                self._closing.wait(LOST_PAUSE_S)
                continue
            stamp_ns = self._now_ns(state)
            slot, into_ns = divmod(stamp_ns, STATE_PERIOD_NS)
            if slot != last_slot:
                last_slot = slot
                publisher.publish(stamp_ns, state, gripper.state().width_m)
            # sleep to just before the boundary, then read each millisecond
            time.sleep(max(0.0004, (STATE_PERIOD_NS - into_ns) / 1e9 - 0.001))

    def _watch_phase(self, arm: FrankaArm, told: Phase) -> Phase:
        """Reports a fault or a time-out once, when it happens."""
        phase = arm.phase
        if phase is Phase.FAULT and told is not Phase.FAULT:
            reason = arm.fault.message if arm.fault is not None else "unknown"
            self._end_following(events.FAULT, f"{reason}; call ~/recover")
        elif phase is Phase.HOLDING and told is Phase.FOLLOWING and arm.timed_out:
            self._counts["held"] += 1
            why = f" (last refused: {self._last_refusal})" if self._last_refusal else ""
            self._end_following(
                events.FAULT, f"no command in time: the arm holds; call ~/start{why}"
            )
        return phase


def main() -> int:
    """Entry point of the `franka_bridge` command."""
    return run_node(FrankaBridgeNode)


if __name__ == "__main__":
    sys.exit(main())
