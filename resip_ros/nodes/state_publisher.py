# SPDX-License-Identifier: Apache-2.0
"""The arm's state as messages: one reading, one stamp on every topic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from sensor_msgs.msg import JointState

from resip_ros.core import messages
from resip_ros.core.arms import Arm
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import matrix_to_quat_xyzw
from resip_ros.core.kinematics import forward, tcp_velocity
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import Rate
from resip_ros.nodes.lifecycle import ManagedNode
from resip_ros.robot.arm_state import ArmState
from resip_ros.robot.link import RobotLink

# policies build their observation from the joints; pose, twist and wrench are for people
VIEWS_EVERY = 2
PERIOD_NS = 10_000_000
LOST_PAUSE_S = 0.5


class StatePublisher:
    """Publishers of everything that the bridge measures of one arm."""

    def __init__(self, node: ManagedNode, arm: Arm) -> None:
        """Opens them.

        Args:
            node: Owner of the publishers.
            arm: Whose topics; poses, twists and wrenches are in its own base frame.
        """
        self._node, self._count = node, 0
        self._frame = arm.prefix + messages.BASE_FRAME
        self.rate = Rate()
        self.newest: ArmState | None = None

        def create(kind: type, topic: str) -> Any:
            name = topics.of_arm(arm, topic)
            return node.create_lifecycle_publisher(kind, name, topics.stream_qos())

        self._joints = create(JointState, topics.JOINT_STATES)
        self._pose = create(PoseStamped, topics.CURRENT_POSE)
        self._twist = create(TwistStamped, topics.CURRENT_TWIST)
        self._wrench = create(WrenchStamped, topics.EXTERNAL_WRENCH)
        self._width = create(JointState, topics.GRIPPER_STATE)

    def run(
        self,
        link: RobotLink,
        stamp_of: Callable[[ArmState], int],
        watch: Callable[[], None],
        closing: threading.Event,
        on_state: Callable[[int], None],
    ) -> None:
        """State thread: one reading in every 10 ms of the ROS clock.

        Args:
            link: Arm and gripper.
            stamp_of: ROS time of a reading, ns.
            watch: Called before each reading.
            closing: Ends the thread.
            on_state: Told the stamp (ns) of each reading, just before it is published.
        """
        last_slot = -1
        while not closing.is_set():
            watch()
            try:
                state = link.arm.state()
            except ResipError as error:
                self._node.get_logger().error(str(error), throttle_duration_sec=5.0)
                closing.wait(LOST_PAUSE_S)
                continue
            stamp_ns = stamp_of(state)
            slot, into_ns = divmod(stamp_ns, PERIOD_NS)
            if slot != last_slot:
                last_slot, self.newest = slot, state
                self.rate.add(stamp_ns)
                on_state(stamp_ns)
                self.publish(stamp_ns, state, link.gripper.state().width_m)
            # sleep to just before the boundary, then read each millisecond
            time.sleep(max(0.0004, (PERIOD_NS - into_ns) / 1e9 - 0.001))

    def publish(self, stamp_ns: int, state: ArmState, width_m: float) -> None:
        """Publishes one reading: joints each time, what derives from them every other time.

        Args:
            stamp_ns: When it was measured, ns of the ROS clock.
            state: The arm.
            width_m: Gripper opening, m.
        """
        names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
        joints = JointState()
        position = np.r_[state.q, width_m / 2, width_m / 2]
        messages.fill_joint_state_inplace(joints, stamp_ns, names, position, np.r_[state.dq, 0, 0])
        self._joints.publish(joints)
        self._count += 1
        if self._count % VIEWS_EVERY == 0:
            self._publish_views(stamp_ns, state, width_m)

    def _publish_views(self, stamp_ns: int, state: ArmState, width_m: float) -> None:
        pos, rot = forward(state.q)
        pose = PoseStamped()
        messages.fill_header_inplace(pose.header, stamp_ns, self._frame)
        messages.fill_pose_inplace(pose.pose, np.r_[pos, matrix_to_quat_xyzw(rot)])
        self._pose.publish(pose)

        linear, angular = tcp_velocity(state.q, state.dq)
        twist = TwistStamped()
        messages.fill_header_inplace(twist.header, stamp_ns, self._frame)
        messages.fill_vector_inplace(twist.twist.linear, linear)
        messages.fill_vector_inplace(twist.twist.angular, angular)
        self._twist.publish(twist)

        wrench = WrenchStamped()
        messages.fill_header_inplace(wrench.header, stamp_ns, self._frame)
        messages.fill_vector_inplace(wrench.wrench.force, state.wrench_ext_base[:3])
        messages.fill_vector_inplace(wrench.wrench.torque, state.wrench_ext_base[3:])
        self._wrench.publish(wrench)

        opening = JointState()
        messages.fill_joint_state_inplace(
            opening, stamp_ns, ("gripper_width",), np.array([width_m]), np.zeros(1)
        )
        self._width.publish(opening)
