# SPDX-License-Identifier: Apache-2.0
"""Teleoperation: what an operator's device says becomes an action in every policy step."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.chunking import tick_of
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import DataError, ResipError, UnsafeCommand
from resip_ros.core.kinematics import forward
from resip_ros.core.live_observation import decode_joints
from resip_ros.core.tasks import get_task
from resip_ros.core.teleop import OperatorTarget, TeleopLimits
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import ERROR, Health
from resip_ros.nodes.episode import MAX_AGE_NS
from resip_ros.nodes.node_main import StackNode, run_node
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.nodes.teleop.device import Device, DeviceLost
from resip_ros.nodes.teleop.devices import KEYBOARD, open_device
from resip_ros.nodes.teleop.output import TeleopOutput

_DEFAULT = TeleopLimits()


@dataclass(frozen=True)
class TeleopParameters:
    """ROS parameters of the teleoperation."""

    task: str = parameter("one_leg", "task that is performed")
    device: str = parameter(KEYBOARD, "keyboard, joy, gamepad or spacemouse")
    takes_over: bool = parameter(
        False, "take over from a policy that runs; false: there is no policy in the graph"
    )
    control_config: str = parameter(
        "", "YAML file with the control numbers; empty: config/robots/fr3.yaml"
    )
    linear_m_s: float = parameter(
        _DEFAULT.linear_m_s, "speed at full deflection, m/s", low=0.01, high=0.5
    )
    angular_rad_s: float = parameter(
        _DEFAULT.angular_rad_s, "turning speed at full deflection, rad/s", low=0.01, high=1.5
    )


class TeleopNode(StackNode):
    """One action a policy step while an episode runs; nothing when the device is gone."""

    def __init__(self, device: Device | None = None, **kwargs: object) -> None:
        """Args: device: by default the one that the parameter names, opened by ``configure``."""
        super().__init__("teleop", **kwargs)
        self.parameters = declare_parameters(self, TeleopParameters)
        self.device = device
        self.is_running = False
        """Whether an episode runs."""
        self._held = False
        self._counts = {"commands": 0, "lost": 0}
        self._problem = ""

    def configure(self) -> None:
        """Opens device and topics.

        Raises:
            ConfigError: for an unknown task, or a device that is not there.
        """
        values = self.parameters
        self._task = get_task(values.task)
        if self.device is None:
            self.device = open_device(values.device, self)
        limits = TeleopLimits(linear_m_s=values.linear_m_s, angular_rad_s=values.angular_rad_s)
        path = Path(values.control_config) if values.control_config else None
        config = load_control_config(path)
        self._target = OperatorTarget(limits, self._task.rate_hz, config)
        self._last_tick = -1
        self._latencies_ms: list[float] = []
        self._output = TeleopOutput(self, self._task.rate_hz, values.takes_over)
        latched = topics.latched_qos()
        self._reports = self.create_publisher(String, topics.EPISODE_REPORT, latched)
        self.create_subscription(String, topics.EPISODE_EVENT, self._on_event, latched)
        if values.takes_over:
            self.create_subscription(
                JointTrajectory, topics.NET_ACTION, self._on_action, topics.stream_qos()
            )
        self.create_subscription(
            JointState, topics.JOINT_STATES, self._on_joints, topics.stream_qos()
        )

    def close(self) -> None:
        """Gives the device back."""
        if self.device is not None:
            self.device.close()

    def diagnose(self, health: Health) -> None:
        """Who leads, and whether the device answers."""
        health.value("device", self.parameters.device)
        health.value("held", self._held)
        for name, count in self._counts.items():
            health.value(name, count)
        if self._problem:
            health.tell(ERROR, self._problem)

    def _start(self) -> None:
        assert self.device is not None
        self.device.release()
        self._target.forget()
        self._output.reset()
        self._last_tick, self._held = -1, False
        self._latencies_ms = []
        self._counts = dict.fromkeys(self._counts, 0)

    def _report(self) -> None:
        latency_ms = {"key": list(self._latencies_ms)}
        report = events.NodeReport("teleop", dict(self._counts), latency_ms)
        self._reports.publish(String(data=report.to_json()))

    def _on_event(self, message: String) -> None:
        try:
            event = events.parse_event(message.data)
        except DataError as error:
            self.get_logger().error(f"{topics.EPISODE_EVENT}: {error}")
            return
        if event.kind == events.HOMED:
            # homing opens the gripper
            self._target.is_closed = False
        elif event.kind == events.STARTED:
            age_ns = self.get_clock().now().nanoseconds - event.stamp_ns
            if age_ns < MAX_AGE_NS:
                self._start()
                self.is_running = True
        elif event.kind in (events.STOPPED, events.FAULT) and self.is_running:
            self.is_running = False
            self._report()

    def _on_action(self, message: JointTrajectory) -> None:
        """A take-over must not open the hand that the policy has closed."""
        if self._held:
            return
        try:
            _, action = messages.decode_action_message(message, self._task.rate_hz)
        except UnsafeCommand:
            return
        self._target.is_closed = bool(action[9] > 0)

    def _on_joints(self, message: JointState) -> None:
        if not self.is_running:
            return
        try:
            stamp_ns, joints = decode_joints(message)
        except DataError as error:
            self.get_logger().error(f"{topics.JOINT_STATES}: {error}", throttle_duration_sec=1.0)
            return
        tick = tick_of(stamp_ns, self._task.rate_hz)
        if tick <= self._last_tick:
            return
        self._last_tick = tick
        assert self.device is not None
        try:
            reading = self.device.read()
            pressed_s = self.device.event_s()
            if self.parameters.takes_over and not (reading.held and self._held):
                # each take-over begins where the hand is
                self._target.forget()
            self._held = reading.held
            pos, rot = forward(joints.q)
            action = self._target.command(reading, pos, rot)
            self._problem = ""
        except ResipError as error:
            self._problem = str(error)
            self._counts["lost"] += isinstance(error, DeviceLost)
            self.get_logger().error(f"no command: {error}", throttle_duration_sec=1.0)
            return
        self._output.publish(stamp_ns, action, reading.held)
        self._counts["commands"] += 1
        if pressed_s is not None:
            self._latencies_ms.append((time.monotonic() - pressed_s) * 1e3)


def main() -> int:
    """Entry point of the `teleop` command."""
    return run_node(TeleopNode)


if __name__ == "__main__":
    sys.exit(main())
