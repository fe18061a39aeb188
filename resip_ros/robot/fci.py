# SPDX-License-Identifier: Apache-2.0
"""A simulated FR3 that answers libfranka: franky-sim's protocol server over our own scene.

franky-sim (1.0.4) serves the wire protocol. Its robot and its server are narrowed here to what
the stack needs: torque straight into our model, the hand as our actuator, honest external
forces, reflexes, a robot clock equal to simulation time, and a tick cheap enough for 1 kHz.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from franky_sim.franka_robot_protocol import (
    AutomaticErrorRecoveryCommand,
    BaseCommand,
    MoveCommandControllerMode,
    MoveCommandMotionGeneratorMode,
    MoveStatus,
    RobotCommand,
)
from franky_sim.franka_robot_server import FrankaRobotServer
from franky_sim.mujoco_simulator import FrankaMujocoRobot

from resip_ros.core.arms import Arm
from resip_ros.core.config import ControlConfig
from resip_ros.core.geometry import rotation_z
from resip_ros.robot.fci_state import (
    ERROR_CARTESIAN_REFLEX,
    ERROR_COMMUNICATION,
    ERROR_JOINT_REFLEX,
    StateMessage,
    column_major,
)
from resip_ros.sim.arm import FINGER_CLOSED_TARGET_M, TCP_SITE, find_arms
from resip_ros.sim.task_scene import TICK_S

_GRASP_WIDTH_M = 0.002
"""Goal widths below this mean: close until the force limit."""
_FORCE_EVERY = 10
"""Ticks between two estimates of the external wrench; the training env does the same."""
_FORCE_FILTER = TICK_S / 0.02
"""Weight of a new torque: a low-pass of 20 ms, as in the training env."""
_REPLY_TIMEOUT_S = 0.05
"""Wall time that the physics waits for the controller's answer to the last state."""
SUCCESS_WINDOW = 100
"""Replies that the stated success rate is of (libfranka documentation)."""
_ADMIT_EVERY = 100
"""Ticks between two looks for a further client of the gripper."""
_MAX_MISSED_REPLIES = 20
"""A real FR3 stops after as many missed commands in a row (libfranka documentation)."""


class SimulatedArm(FrankaMujocoRobot):
    """One arm and hand of our scene behind franky-sim's robot interface."""

    def __init__(self, config: ControlConfig, place: Arm | None = None) -> None:
        """Takes the control numbers, and which arm of the task it is where there are several."""
        super().__init__(
            initial_q=config.home_joints, initial_hand_width=config.gripper_max_width_m
        )
        self.config = config
        self._place = place or Arm()
        self._base_rot = rotation_z(np.array(self._place.base_yaw))
        self._base_pos = np.array([*self._place.base_xy, 0.0])
        self.message = StateMessage()
        self.tau_ext = np.zeros(7)
        """(7,) N m that the arm exerts on what it touches, filtered; libfranka's sign."""
        self.wrench_ext_base = np.zeros(6)
        """(6,) N and N m at the TCP, base frame, that explains ``tau_ext``."""
        self._stiffness, self._damping = np.array(config.stiffness), np.array(config.damping)
        self._finger_target_m = self._finger_goal_m = 0.5 * config.gripper_max_width_m
        self._finger_step_m = 0.5 * config.gripper_speed_m_s * TICK_S
        self._tick = 0

    def attach(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Take over the arm of a compiled scene: joint actuators off, arm at home."""
        where = find_arms(model, (self._place,))
        self._attach_to_scene(model, data, self._place.prefix)
        self._scene_model, self._scene_data = model, data
        model.actuator_gainprm[where.control[0], 0] = 0.0
        model.actuator_biasprm[where.control[0], :3] = 0.0
        # the joints of an arm follow each other: slices cost less at 1 kHz
        self._q = slice(int(where.qpos[0, 0]), int(where.qpos[0, -1]) + 1)
        self._dof = slice(int(where.dof[0, 0]), int(where.dof[0, -1]) + 1)
        self._hand = int(where.hand[0])
        self._site = model.site(self._place.prefix + TCP_SITE).id
        self._fingers = where.fingers[0]
        self._jacobian = np.zeros((2, 3, model.nv))
        data.qpos[self._q] = self.config.home_joints
        data.qpos[self._fingers] = self._finger_target_m
        data.ctrl[self._hand] = self._finger_target_m
        mujoco.mj_forward(model, data)
        self.message.record["q_d"] = self.config.home_joints
        self._refresh_message()

    @property
    def state(self) -> StateMessage:
        """The message for the wire."""
        return self.message

    def torque_control(self, torques: Sequence[float], has_new_command: bool = True) -> None:
        """Apply joint torques (7,), N m; gravity is compensated by the model itself."""
        applied = np.clip(torques, self._torque_low, self._torque_high)
        self.message.record["tau_J_d"] = applied
        self.message.record["q_d"] = self.message.record["q"]
        self._scene_data.qfrc_applied[self._dof] = applied

    _torque_high = np.array([87.0] * 4 + [12.0] * 3)
    _torque_low = -_torque_high

    def joint_position_control(
        self, target_q: Sequence[float], has_new_command: bool = True
    ) -> None:
        """Hold or follow joints (7,), rad, with the configured impedance."""
        data = self._scene_data
        error = np.asarray(target_q) - data.qpos[self._q]
        applied = self._stiffness * error - self._damping * data.qvel[self._dof]
        data.qfrc_applied[self._dof] = np.clip(applied, self._torque_low, self._torque_high)
        self.message.record["tau_J_d"] = 0.0
        self.message.record["q_d"] = target_q

    def set_hand_goal(self, width: float, max_velocity: float, max_force: float) -> None:
        """Move the fingers to a width, m, at a width speed, m/s, with a force limit, N."""
        closing = width < _GRASP_WIDTH_M
        self._finger_goal_m = FINGER_CLOSED_TARGET_M if closing else 0.5 * width
        self._finger_step_m = 0.5 * max_velocity * TICK_S
        # from where the fingers are: a held part has kept them away from the last target
        self._finger_target_m = 0.5 * self._get_hand_width()
        limit = 2.0 * min(max_force, self.config.gripper_force_n)
        self._scene_model.actuator_forcerange[self._hand] = (-limit, limit)

    @property
    def hand(self) -> tuple[float, float]:
        """Goal and present target of one finger, m."""
        return self._finger_goal_m, self._finger_target_m

    def rest(self, hand: tuple[float, float]) -> None:
        """Forget what was going on, after somebody else has moved the arm.

        Args:
            hand: What ``hand`` was then.
        """
        self._finger_goal_m, self._finger_target_m = hand
        self.tau_ext[:] = 0.0
        self.wrench_ext_base[:] = 0.0
        self._scene_data.qfrc_applied[self._dof] = 0.0
        self._refresh_message()
        self.message.record["q_d"] = self.message.record["q"]

    def _get_hand_width(self) -> float:
        if self._data is None:
            return self._initial_hand_width
        return float(self._scene_data.qpos[self._fingers].sum())

    def before_step(self) -> None:
        """Move the finger target; call before each physics step."""
        to_go = self._finger_goal_m - self._finger_target_m
        step = self._finger_step_m
        self._finger_target_m += min(max(to_go, -step), step)
        self._scene_data.ctrl[self._hand] = self._finger_target_m

    def after_step(self) -> None:
        """Refresh the estimates and the message; call after each physics step."""
        self._tick += 1
        self.tau_ext -= _FORCE_FILTER * (
            self._scene_data.qfrc_constraint[self._dof] + self.tau_ext
        )
        if self._tick % _FORCE_EVERY == 0:
            self._estimate_wrench()
        self._refresh_message()

    def _estimate_wrench(self) -> None:
        linear, angular = self._jacobian
        mujoco.mj_jacSite(self._scene_model, self._scene_data, linear, angular, self._site)
        jacobian = (self._base_rot.T @ self._jacobian[:, :, self._dof]).reshape(6, 7)
        self.wrench_ext_base = np.linalg.pinv(jacobian.T, rcond=1e-3) @ self.tau_ext

    def _refresh_message(self) -> None:
        record, data = self.message.record, self._scene_data
        record["q"] = data.qpos[self._q]
        record["dq"] = data.qvel[self._dof]
        record["tau_J"] = data.qfrc_applied[self._dof] + data.qfrc_gravcomp[self._dof]
        record["tau_ext_hat_filtered"] = self.tau_ext
        record["O_F_ext_hat_K"] = self.wrench_ext_base
        rot = data.site_xmat[self._site].reshape(3, 3)
        to_base = self._base_rot.T
        pose = column_major(to_base @ rot, to_base @ (data.site_xpos[self._site] - self._base_pos))
        record["O_T_EE"] = pose
        record["O_T_EE_d"] = pose


@dataclass
class _Recovery(AutomaticErrorRecoveryCommand):
    """Clears the simulated errors before it answers."""

    def handle(self, server: FciServer) -> None:
        server.clear_errors()
        super().handle(server)


class FciServer(FrankaRobotServer):
    """franky-sim's server with reflexes, a lasting clock and patience for a late controller."""

    def __init__(self, arm: SimulatedArm, addresses: Iterable[str]) -> None:
        super().__init__(arm, addresses)
        self.arm = arm
        self.ticks = 0
        """Physics ticks since the start; the robot clock in ms."""
        self.is_cut = False
        """Whether the cable is pulled: nothing is heard, nothing is sent."""
        self.missed_replies = 0
        """States to which the controller did not answer in time, since the start."""
        self._is_torque = False
        self._replied_tick: int | None = None
        self._missed_in_row = 0
        self._in_time: deque[bool] = deque(maxlen=SUCCESS_WINDOW)
        # franky-sim offers no hook for the commands it knows
        commands = self._FrankaServer__command_class_map
        commands[RobotCommand.kAutomaticErrorRecovery] = _Recovery

    def wait_for_reply(self) -> None:
        """Let the controller answer the last state before the physics goes on.

        At 1 kHz on an idle machine the answer is long there. On a busy one the simulation
        slows down instead of running with old torques, so the dynamics stay the same.
        """
        if not self._is_torque or self._replied_tick is None:
            return
        self._process_udp_commands()
        self._note_reply(self._replied_tick >= self.ticks)
        deadline = time.perf_counter() + _REPLY_TIMEOUT_S
        while self._is_torque and self._replied_tick < self.ticks:
            if time.perf_counter() > deadline:
                self.missed_replies += 1
                self._missed_in_row += 1
                if self._missed_in_row >= _MAX_MISSED_REPLIES:
                    self.reflex(ERROR_COMMUNICATION)
                return
            time.sleep(5e-5)
            self._process_udp_commands()
        self._missed_in_row = 0

    def _note_reply(self, is_in_time: bool) -> None:
        """State the share of the last replies that were there when their millisecond was over.

        A real robot uses the last torque again for one that is not; this one waits.
        """
        self._in_time.append(is_in_time)
        share = sum(self._in_time) / len(self._in_time)
        self.arm.message.record["success_rate"] = share

    def check_reflex(self) -> None:
        """Stop the arm when it pushes harder than the thresholds, as the real one does."""
        config, arm = self.arm.config, self.arm
        if not self._is_torque:
            return
        if np.abs(arm.wrench_ext_base[:3]).max() > config.force_threshold_n:
            self.reflex(ERROR_CARTESIAN_REFLEX)
        elif np.abs(arm.tau_ext).max() > config.torque_threshold_nm:
            self.reflex(ERROR_JOINT_REFLEX)

    def reflex(self, error: int) -> None:
        """Abort the motion with an error; the arm holds until it is recovered."""
        motion = self.current_motion_id
        self.arm.message.set_error(error)
        self.stop_motion(send_preemption_signal=False)
        self.send_state()
        if motion and self._tcp_socket is not None and not self.is_cut:
            BaseCommand.send_response(
                self._tcp_socket, RobotCommand.kMove, motion, MoveStatus.kReflexAborted
            )
        self.reset_current_motion_id()

    def clear_errors(self) -> None:
        """What the robot does on automatic error recovery."""
        self.arm.message.set_error(None)

    def start_motion(
        self,
        controller_mode: MoveCommandControllerMode,
        motion_generator_mode: MoveCommandMotionGeneratorMode,
        motion_id: int,
    ) -> None:
        """Start a motion unless an error is active."""
        if self.arm.message.has_error:
            raise ValueError("motion refused: an error is active, recover first")
        super().start_motion(controller_mode, motion_generator_mode, motion_id)
        self._is_torque = controller_mode == MoveCommandControllerMode.kExternalController
        self._replied_tick, self._missed_in_row = None, 0
        self._in_time.clear()

    def stop_motion(self, send_preemption_signal: bool = True) -> None:
        """End the motion; the arm holds where it is."""
        self._is_torque = False
        super().stop_motion(send_preemption_signal)

    def _reset_state(self) -> None:
        self._is_torque = False
        super()._reset_state()

    def _setup_udp_connection(self, network_udp_port: int) -> None:
        super()._setup_udp_connection(network_udp_port)
        self._replied_tick = None

    def process_commands(self) -> None:
        """Serve what clients have sent; with a pulled cable only go on holding."""
        if self.is_cut:
            self._post_process_commands()
            return
        if self.ticks % _ADMIT_EVERY == 0:
            self._admit_gripper_client()
        super().process_commands()

    def silence_gripper(self, is_silent: bool) -> None:
        """Let the gripper hear and send nothing, or answer again."""
        for name in ("process_commands", "send_state"):
            if is_silent:
                setattr(self.gripper_server, name, lambda: None)
            else:
                delattr(self.gripper_server, name)

    def _admit_gripper_client(self) -> None:
        """Let a new client of the gripper take the place of one whose command was stranded.

        Its library serves one client until that one leaves, and a client that waits for the end
        of a command never leaves.
        """
        gripper = self._FrankaRobotServer__gripper_server
        if gripper is None or not gripper.tcp_connected:
            return
        listening = gripper._FrankaServer__server_socket
        if select.select([listening], [], [], 0)[0]:
            gripper.reset_state()
            # nobody waits for the end of this motion any more
            gripper._motion_state = type(gripper._motion_state).IDLE

    def send_state(self) -> None:
        """Send the state of this tick to whoever is connected."""
        if self.is_cut:
            return
        # the message id is the robot's clock in ms: as on a robot that stays on, it does not
        # start anew with a client, so robot time is simulation time
        self._FrankaServer__message_id = self.ticks
        super().send_state()

    def _handle_udp_command(self, command_data: bytes) -> None:
        super()._handle_udp_command(command_data)
        self._replied_tick = int.from_bytes(command_data[:8], "little")
