# SPDX-License-Identifier: Apache-2.0
"""The arm, real or simulated, through franky: one torque motion, one thread, clear phases.

Joint law, run at 1 kHz in franky's C++ control thread: tau = K (q_ref - q) + D (dq_ref - dq)
+ Coriolis, rate-limited; the robot adds gravity. The thread here hands it a reference sampled
against the robot's own clock, so a late thread never bends the motion.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time

import franky
import numpy as np

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import Array
from resip_ros.core.interpolation import Segment
from resip_ros.core.limits import clip_reference
from resip_ros.robot.arm_state import ArmState, Fault, Phase, read_state
from resip_ros.robot.connection import (
    CONNECT_TIMEOUT_S,
    FaultKind,
    RobotUnavailable,
    classify_fault,
    connect_bounded,
    realtime_config,
)
from resip_ros.robot.reference import Reference, homing_motion
from resip_ros.robot.reference_timing import ReferenceTiming
from resip_ros.robot.supervisor import Supervisor, SupervisorGone

logger = logging.getLogger(__name__)

_NO_FILTER_HZ = 1000.0
"""libfranka's value for no low-pass on torques. Its default of 100 Hz, in series with the rate
limit, would let torques change by 0.39 N m a tick instead of 1; franka_ros filters none either."""
_RECOVERY_TIMEOUT_S = 1.0
_TIME_CONSTANTS = 5.0
"""franky's gains approach their target exponentially; after so many time constants they are
within 1 percent."""
_FRANKY_ERRORS = (
    franky.CommandException,
    franky.ControlException,
    franky.NetworkException,
    franky.ProtocolException,
)


class FrankaArm:
    """Connection, torque motion and reference thread of one arm; callable from any thread."""

    def __init__(
        self, config: ControlConfig, address: str, supervisor: Supervisor | None = None
    ) -> None:
        """Takes numbers, address, and who ends this process if it hangs while it leads the arm."""
        self.config = config
        self.address = address
        self._supervisor = supervisor
        self.fault: Fault | None = None
        self.timed_out = False
        """Whether the watchdog ended the last following."""
        self._phase = Phase.IDLE
        self._is_homed = False
        """Whether the last homing reached its end."""
        self._robot: franky.Robot | None = None
        self._motion: franky.JointImpedanceTrackingMotion | None = None
        self._reference = Reference(config)
        self.timing = ReferenceTiming()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._running = False

    @property
    def phase(self) -> Phase:
        """What the arm is doing now."""
        return self._phase

    def connect(self) -> None:
        """Connect and set the collision thresholds.

        A robot that is still in error from an earlier motion is connected as a fault.

        Raises:
            RobotUnavailable: when the robot does not answer within a few seconds.
        """
        config = self.config
        robot = connect_bounded(
            lambda: franky.Robot(self.address, realtime_config=realtime_config()),
            "arm",
            self.address,
        )
        try:
            robot.set_collision_behavior(config.torque_threshold_nm, config.force_threshold_n)
        except franky.CommandException as error:
            raise RobotUnavailable(
                f"arm at {self.address} refused the collision thresholds: {error}"
            ) from error
        self._robot = robot
        errors = self.state().errors
        if errors:
            self.fault = Fault(FaultKind.REFLEX, f"in error since before: {', '.join(errors)}")
            self._phase = Phase.FAULT

    def state(self) -> ArmState:
        """The newest state; waits up to 1 ms when not under control.

        Raises:
            RobotUnavailable: not connected, or the connection was lost.
        """
        if self._robot is None:
            raise RobotUnavailable(f"arm at {self.address} is not connected; call connect first")
        try:
            return read_state(self._robot.state)
        except (franky.NetworkException, franky.ProtocolException, RuntimeError) as error:
            # libfranka lets some of its sockets' errors through, which arrive as RuntimeError
            self._enter_fault(error)
            raise RobotUnavailable(f"arm at {self.address} was lost: {error}") from error

    def start_tracking(self) -> None:
        """Take torque control and hold the measured joints, softly at first."""
        self._require(Phase.IDLE)
        config = self.config
        now = self.state()
        assert self._robot is not None  # state() has read from it
        self._reference.rest_at(now.q)
        motion = franky.JointImpedanceTrackingMotion(
            stiffness=config.soft_start_share * np.array(config.stiffness),
            damping=config.soft_start_share * np.array(config.damping),
            gains_time_constant=config.soft_start_s / _TIME_CONSTANTS,
            max_delta_tau=config.max_delta_tau,
            lower_joint_limits=np.array(config.joint_min),
            upper_joint_limits=np.array(config.joint_max),
            # references stay outside this band, so the repulsion acts only on a fault
            joint_limit_activation_distance=config.joint_margin_rad,
        )
        motion.set_reference(franky.JointReference(q=now.q))
        self._robot.move(motion, asynchronous=True, cutoff_frequency=_NO_FILTER_HZ)
        self._motion = motion
        self._wait_for_move_mode(self._robot)
        motion.set_gains(
            franky.JointImpedanceGains(np.array(config.stiffness), np.array(config.damping))
        )
        try:
            self._wait_until(self.state().time_s + config.soft_start_s)
        except RobotUnavailable as error:
            self._enter_fault(error)
            self._release()
            raise
        self._phase = Phase.HOLDING
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True, name="arm-reference")
        self._thread.start()

    def enable(self) -> None:
        """Accept segments from now on; the watchdog starts with the first one."""
        with self._lock:
            self._require(Phase.HOLDING)
            self.timed_out = False
            self._phase = Phase.FOLLOWING

    def reference(self) -> tuple[Array, Array]:
        """Where the next segment begins: q (7,) rad and dq (7,) rad/s to plan from.

        The end of the last segment for a command in time, and where the arm coasts by now for
        a late one.
        """
        with self._lock:
            return self._reference.plan(self.state().time_s)

    def follow(self, segment: Segment) -> None:
        """Append a segment (of one arm) to the reference.

        Raises:
            UnsafeCommand: when the arm does not follow, or the segment is not finite or would
                jump away from the reference.
        """
        with self._lock:
            if self._phase is not Phase.FOLLOWING:
                reason = "no command came in time" if self.timed_out else "it was not enabled"
                raise UnsafeCommand(
                    f"arm is {self._phase.value}, expected following ({reason}); "
                    "start it again before sending commands"
                )
            self._reference.append(segment, self.state().time_s)

    def hold(self) -> None:
        """Decelerate along the reference, then rest; commands are refused until ``enable``."""
        with self._lock:
            if self._phase in (Phase.FOLLOWING, Phase.HOMING):
                self._reference.brake(self.state().time_s)
                self._phase = Phase.HOLDING

    def home(self) -> float:
        """Start a smooth joint motion to the home joints; returns its duration, s."""
        with self._lock:
            self._require(Phase.HOLDING)
            now = self.state()
            motion = homing_motion(now.q, np.array(self.config.home_joints))
            self._reference.run(motion, now.time_s)
            self._is_homed = False
            self._phase = Phase.HOMING
            return motion.duration_s

    def wait_until_homed(self, timeout_s: float) -> None:
        """Block until homing has ended.

        Raises:
            RobotUnavailable: on a fault, an interruption or a time-out.
        """
        deadline = time.monotonic() + timeout_s
        while self._phase is Phase.HOMING and time.monotonic() < deadline:
            time.sleep(0.02)
        if not self._is_homed:
            raise RobotUnavailable(
                f"arm did not reach home within {timeout_s:.1f} s: it is {self._phase.value}, "
                f"fault {self.fault.message if self.fault else 'none'}"
            )

    def recover(self) -> None:
        """Clear a fault; ends in IDLE and never moves.

        Raises:
            RobotUnavailable: when the robot cannot be reached or stays in error.
        """
        if self._phase is not Phase.FAULT or self.fault is None:
            return
        self._end_thread()
        self._motion = None
        if self.fault.kind is FaultKind.NETWORK or self._robot is None:
            # a lost franky.Robot cannot be revived (recover_from_errors raises on it)
            self._robot = None
            self.connect()
        if self.fault.kind is FaultKind.REFLEX:
            self._clear_errors()
        self.fault = None
        self._phase = Phase.IDLE

    def _clear_errors(self) -> None:
        assert self._robot is not None
        try:
            self._robot.recover_from_errors()
        except franky.NetworkException as error:
            self.fault = Fault(FaultKind.NETWORK, str(error))
            raise RobotUnavailable(
                f"arm at {self.address} was lost during recovery; recover again"
            ) from error
        except franky.CommandException as error:
            raise RobotUnavailable(
                f"arm at {self.address} refused to recover: {error}; release the user stop and "
                "free the arm by hand, then recover again"
            ) from error
        # the state that shows it arrives some milliseconds after the answer
        deadline = time.monotonic() + _RECOVERY_TIMEOUT_S
        while self.state().errors:
            if time.monotonic() < deadline:
                continue
            raise RobotUnavailable(
                f"arm at {self.address} stays in error {self.state().errors}; free it by hand, "
                "release the user stop, then recover again"
            )

    def stop(self) -> None:
        """Decelerate, then give control back to the robot; the last command is the stop."""
        if self._phase in (Phase.FOLLOWING, Phase.HOMING):
            try:
                self.hold()
                time.sleep(self.config.hold_duration_s)
            except RobotUnavailable as error:
                logger.warning("stopping without deceleration: %s", error)
        self._end_thread()
        if self._phase is Phase.HOLDING and self._robot is not None:
            try:
                # ramps the torque down into damping and ends by itself
                self._robot.move(franky.TorqueStopMotion(), asynchronous=True)
                self._robot.join_motion()
            except _FRANKY_ERRORS as error:
                self._enter_fault(error)
                return
        self._motion = None
        if self._phase is not Phase.FAULT:
            self._phase = Phase.IDLE

    def close(self) -> None:
        """Stop and disconnect."""
        self.stop()
        self._robot = None

    def _require(self, phase: Phase) -> None:
        if self._phase is not phase:
            raise UnsafeCommand(f"arm is {self._phase.value}, expected {phase.value}")

    def _wait_for_move_mode(self, robot: franky.Robot) -> None:
        """The move returns before the robot has accepted the motion, if it does."""
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        try:
            while robot.state.robot_mode != franky.RobotMode.Move:
                if not robot.is_in_control:
                    robot.join_motion(timeout=0.0)
                if time.monotonic() > deadline:
                    raise RobotUnavailable(
                        f"arm at {self.address} did not take torque control within "
                        f"{CONNECT_TIMEOUT_S:.0f} s; its mode is {robot.state.robot_mode.name}"
                    )
                time.sleep(0.001)
        except _FRANKY_ERRORS as error:
            self._enter_fault(error)
            raise RobotUnavailable(
                f"arm at {self.address} refused torque control: {error}; recover it first"
            ) from error

    def _wait_until(self, time_s: float) -> None:
        """Sleeps until the robot's clock shows a time.

        Raises:
            RobotUnavailable: the connection was lost, or its clock stands still.
        """
        seen_s, moved = 0.0, time.monotonic()
        while (now_s := self.state().time_s) < time_s:
            # a simulation may be slow, but not stand still
            moved = time.monotonic() if now_s > seen_s else moved
            seen_s = now_s
            if time.monotonic() - moved > CONNECT_TIMEOUT_S:
                raise RobotUnavailable(f"the clock of the arm at {self.address} stands still")
            time.sleep(0.005)

    def _end_thread(self) -> None:
        self._running = False
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _enter_fault(self, error: BaseException) -> None:
        with self._lock:
            if self._phase is not Phase.FAULT:
                self.fault = Fault(classify_fault(error), str(error).strip())
                self._phase = Phase.FAULT
                logger.error("arm fault (%s): %s", self.fault.kind.value, self.fault.message)

    def _run(self) -> None:
        """Reference thread: sample, hand over, watch, give a sign of life."""
        period = 1.0 / self.config.reference_hz
        next_time = time.perf_counter()
        try:
            while self._running:
                self._update()
                if self._supervisor is not None:
                    self._supervisor.beat()
                next_time = max(next_time + period, time.perf_counter() - period)
                time.sleep(max(0.0, next_time - time.perf_counter()))
        except Exception as error:  # noqa: BLE001, the thread must end in a fault
            self._enter_fault(error)
            self._release()
        with contextlib.suppress(SupervisorGone):
            if self._supervisor is not None:
                self._supervisor.rest()

    def _release(self) -> None:
        """Ends a torque motion that nobody leads any more; it would go on for ever."""
        robot = self._robot
        if robot is None or not robot.is_in_control:
            return
        try:
            robot.move(franky.TorqueStopMotion(), asynchronous=True)
        except _FRANKY_ERRORS as error:
            logger.error("arm did not take the stop: %s", error)

    def _update(self) -> None:
        """One turn of the reference thread.

        Raises:
            Exception: franky's, telling what ended the control.
        """
        robot, motion = self._robot, self._motion
        assert robot is not None
        assert motion is not None
        if not robot.is_in_control:
            robot.join_motion(timeout=0.0)  # raises what ended the control
            raise RobotUnavailable("control ended without an error")
        state = robot.state
        now = state.time.to_sec()
        with self._lock:
            if self._phase is Phase.FOLLOWING and self._reference.is_stale(now):
                self._reference.brake(now)
                self._phase = Phase.HOLDING
                self.timed_out = True
                logger.warning("no command for %.2f s: holding", self.config.command_timeout_s)
            q, dq = self._reference.sample(now)
            if self._phase is Phase.HOMING and self._reference.is_at_rest(now):
                self._is_homed = True
                self._phase = Phase.HOLDING
            # the same bound on the contact force that the policy was trained with
            q = clip_reference(self.config, q, dq, np.array(state.q), np.array(state.dq))
            motion.set_reference(franky.JointReference(q=q, dq=dq))
        self.timing.note(self._reference.last_command, now, state.control_command_success_rate)
