# SPDX-License-Identifier: Apache-2.0
"""ROS messages to arrays and back, strictly checked; duck-typed, so that no ROS is imported.

``fill_*_inplace`` writes into a message that the caller made; ``decode_*`` reads any object with
the fields of the ROS type. Quaternions are x y z w, as in ROS; times are integer nanoseconds.
A message that commands motion and is wrong raises ``UnsafeCommand``, any other ``DataError``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from resip_ros.core.action import ACTION_NAMES
from resip_ros.core.chunking import NS_PER_S, ActionChunk, period_ns
from resip_ros.core.errors import DataError, UnsafeCommand
from resip_ros.core.geometry import Array

BASE_FRAME = "fr3_link0"
TCP_FRAME = "fr3_hand_tcp"
ARM_JOINTS: tuple[str, ...] = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINTS: tuple[str, ...] = ("fr3_finger_joint1", "fr3_finger_joint2")
QUAT_TOLERANCE = 1e-3
MAX_PIXELS = 65_500
"""Rows or columns of a picture; JPEG, in which pictures are kept, holds no more."""
MAX_POSITION_M = 100.0
"""A part this far away is a mistake, such as millimetres for metres."""


def stamp_to_ns(stamp: Any) -> int:
    """builtin_interfaces Time or Duration to ns."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def fill_stamp_inplace(stamp: Any, time_ns: int) -> None:
    """Ns to builtin_interfaces Time or Duration."""
    stamp.sec, stamp.nanosec = divmod(int(time_ns), NS_PER_S)


def fill_header_inplace(header: Any, time_ns: int, frame: str) -> None:
    """Stamp and frame of a std_msgs Header."""
    fill_stamp_inplace(header.stamp, time_ns)
    header.frame_id = frame


def fill_chunk_inplace(
    message: Any,
    chunk: ActionChunk,
    new_point: Callable[[], Any],
    names: tuple[str, ...] = ACTION_NAMES,
) -> None:
    """Chunk to JointTrajectory: ten named task dimensions for each arm, one point a step.

    Args:
        message: JointTrajectory to fill.
        chunk: Actions in SI units; its stamp becomes the header's and is its identity.
        new_point: Makes an empty JointTrajectoryPoint.
        names: Names of the action's entries; ``action_names`` of the task.
    """
    fill_header_inplace(message.header, chunk.stamp_ns, BASE_FRAME)
    message.joint_names = list(names)
    points: list[Any] = []
    for step, action in enumerate(chunk.actions):
        point = new_point()
        point.positions = [float(v) for v in action]
        fill_stamp_inplace(point.time_from_start, chunk.time_from_start_ns(step))
        points.append(point)
    message.points = points


def decode_chunk(
    message: Any, rate_hz: float, names: tuple[str, ...] = ACTION_NAMES
) -> ActionChunk:
    """JointTrajectory to chunk of actions with entries of these names.

    Raises:
        UnsafeCommand: for wrong names, lengths, times, or values that are not finite.
    """
    step_ns = period_ns(rate_hz)
    first_ns = stamp_to_ns(message.points[0].time_from_start) if message.points else step_ns
    begin_step = max(0, first_ns // step_ns - 1)
    actions = _decode_points(message, rate_hz, names, begin_step)
    return ActionChunk(stamp_to_ns(message.header.stamp), actions, rate_hz, begin_step)


def decode_action_message(
    message: Any, rate_hz: float, names: tuple[str, ...] = ACTION_NAMES
) -> tuple[int, Array]:
    """JointTrajectory of one point to observation stamp (ns) and action (10 A,) of A arms.

    Whether the arm may follow it is ``limits.check_action``'s decision.

    Raises:
        UnsafeCommand: for anything but one well-formed action.
    """
    actions = _decode_points(message, rate_hz, names)
    if len(actions) != 1:
        raise UnsafeCommand(f"action message has {len(actions)} points; expected 1")
    return stamp_to_ns(message.header.stamp), actions[0]


def _decode_points(
    message: Any, rate_hz: float, names: tuple[str, ...], begin_step: int = 0
) -> Array:
    """Checked positions of a JointTrajectory of actions, (Ta, 10 A).

    Args:
        message: The trajectory.
        rate_hz: Policy steps per second.
        names: Expected names of an action's entries.
        begin_step: Steps between its stamp and its first action.
    """
    if tuple(message.joint_names) != names:
        raise UnsafeCommand(
            f"action message names {list(message.joint_names)}; expected {list(names)}"
        )
    if message.header.frame_id != BASE_FRAME:
        raise UnsafeCommand(
            f"action message is in frame {message.header.frame_id!r}; expected {BASE_FRAME!r}"
        )
    if not message.points:
        raise UnsafeCommand("action message has no points; expected at least 1")
    rows: list[Sequence[float]] = []
    for step, point in enumerate(message.points):
        if len(point.positions) != len(names):
            raise UnsafeCommand(
                f"action message point {step} has {len(point.positions)} values; "
                f"expected {len(names)}"
            )
        expected = (begin_step + step + 1) * period_ns(rate_hz)
        if stamp_to_ns(point.time_from_start) != expected:
            raise UnsafeCommand(
                f"action message point {step} is for {stamp_to_ns(point.time_from_start)} ns "
                f"after the stamp; expected {expected} ns at {rate_hz} Hz"
            )
        rows.append(point.positions)
    actions = np.array(rows, dtype=np.float64)
    if not np.isfinite(actions).all():
        raise UnsafeCommand("action message holds values that are not finite")
    return actions


def fill_pose_inplace(pose: Any, values: Array) -> None:
    """[x y z qx qy qz qw] (7,) to geometry_msgs Pose."""
    x, y, z, qx, qy, qz, qw = (float(v) for v in values)
    pose.position.x, pose.position.y, pose.position.z = x, y, z
    quat = pose.orientation
    quat.x, quat.y, quat.z, quat.w = qx, qy, qz, qw


def decode_pose(message: Any, frame: str = BASE_FRAME) -> tuple[int, Array]:
    """PoseStamped to stamp (ns) and [x y z qx qy qz qw] (7,), bit for bit as sent.

    Raises:
        DataError: for another frame, values that are not finite, a place that no arm reaches, or
            no unit quaternion.
    """
    if message.header.frame_id != frame:
        raise DataError(f"pose is in frame {message.header.frame_id!r}; expected {frame!r}")
    p, q = message.pose.position, message.pose.orientation
    values = np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"pose holds values that are not finite: {values.tolist()}")
    if np.abs(values[:3]).max() > MAX_POSITION_M:
        raise DataError(
            f"pose is at {values[:3].tolist()} m; expected within {MAX_POSITION_M:g} m, in metres"
        )
    norm = float(np.linalg.norm(values[3:]))
    if abs(norm - 1.0) > QUAT_TOLERANCE:
        raise DataError(f"pose quaternion has norm {norm:.4f}; expected 1")
    return stamp_to_ns(message.header.stamp), values


def fill_joint_state_inplace(
    message: Any, time_ns: int, names: Sequence[str], position: Array, velocity: Array
) -> None:
    """Joint positions and velocities, each (J,) rad or m, to JointState."""
    fill_header_inplace(message.header, time_ns, "")
    message.name = list(names)
    message.position = [float(v) for v in position]
    message.velocity = [float(v) for v in velocity]


def decode_joint_state(message: Any, names: Sequence[str]) -> tuple[int, Array, Array]:
    """JointState to stamp (ns), position (J,) and velocity (J,) of the named joints.

    Raises:
        DataError: when a joint is missing or a value is not finite.
    """
    index = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in names if name not in index]
    if missing:
        raise DataError(f"joint state lacks {missing}; it has {list(message.name)}")
    if not len(message.name) == len(message.position) == len(message.velocity):
        raise DataError(
            f"joint state has {len(message.name)} names, {len(message.position)} positions and "
            f"{len(message.velocity)} velocities; expected the same number"
        )
    picked = [index[name] for name in names]
    position = np.asarray(message.position, dtype=np.float64)[picked]
    velocity = np.asarray(message.velocity, dtype=np.float64)[picked]
    if not (np.isfinite(position).all() and np.isfinite(velocity).all()):
        raise DataError("joint state holds values that are not finite")
    return stamp_to_ns(message.header.stamp), position, velocity


def decode_twist(message: Any, frame: str = BASE_FRAME) -> tuple[int, Array, Array]:
    """TwistStamped to stamp (ns), linear (3,) m/s and angular velocity (3,) rad/s.

    Raises:
        DataError: for another frame or values that are not finite.
    """
    if message.header.frame_id != frame:
        raise DataError(f"twist is in frame {message.header.frame_id!r}; expected {frame!r}")
    v, w = message.twist.linear, message.twist.angular
    values = np.array([v.x, v.y, v.z, w.x, w.y, w.z], dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"twist holds values that are not finite: {values.tolist()}")
    return stamp_to_ns(message.header.stamp), values[:3], values[3:]


def fill_vector_inplace(vector: Any, values: Array) -> None:
    """(3,) to geometry_msgs Vector3."""
    vector.x, vector.y, vector.z = (float(v) for v in values)


def fill_image_inplace(message: Any, time_ns: int, frame: str, image: np.ndarray) -> None:
    """(H, W, 3) uint8 RGB to sensor_msgs Image.

    Raises:
        DataError: for another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"image is {image.dtype} {image.shape}; expected uint8 (H, W, 3) RGB")
    fill_header_inplace(message.header, time_ns, frame)
    message.height, message.width = image.shape[:2]
    message.encoding = "rgb8"
    message.is_bigendian = 0
    message.step = 3 * message.width
    # rclpy checks bytes element by element, an array of the right type at once
    message.data = array("B", np.ascontiguousarray(image).tobytes())


def decode_image(message: Any) -> tuple[int, np.ndarray]:
    """sensor_msgs Image to stamp (ns) and (H, W, 3) uint8 RGB; rgb8 and bgr8 are read.

    Raises:
        DataError: for another encoding, a wrong size, or one that no JPEG can hold.
    """
    if message.encoding not in ("rgb8", "bgr8"):
        raise DataError(f"image encoding is {message.encoding!r}; expected 'rgb8' or 'bgr8'")
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.frombuffer(message.data, dtype=np.uint8)
    if height < 1 or width < 1 or step < 3 * width or data.size != height * step:
        raise DataError(
            f"image of {height} x {width}, step {step} has {data.size} bytes; "
            f"expected step >= {3 * width} and height * step bytes"
        )
    if max(height, width) > MAX_PIXELS:
        raise DataError(f"image of {height} x {width}; expected at most {MAX_PIXELS} each way")
    image = data.reshape(height, step)[:, : 3 * width].reshape(height, width, 3)
    if message.encoding == "bgr8":
        image = image[..., ::-1]
    return stamp_to_ns(message.header.stamp), np.ascontiguousarray(image)
