# SPDX-License-Identifier: Apache-2.0
"""What the rest of the graph would send, topic by topic; wrong messages are made from it."""

from __future__ import annotations

import dataclasses
import json
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import Parameter, ParameterEvent, ParameterType, ParameterValue
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState, Joy
from std_msgs.msg import Bool, Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.cameras.pictures import encode_jpeg
from resip_ros.core import events, messages
from resip_ros.core.action import action_names, encode_action
from resip_ros.core.arms import to_task_frame
from resip_ros.core.chunking import ActionChunk, tick_of, tick_start_ns
from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import forward
from resip_ros.core.tasks import TaskSpec
from resip_ros.core.teleop import fill_teleop_inplace
from resip_ros.nodes import topics
from resip_ros.nodes.camera_node import DIAGNOSTIC, NEWEST, PUBLISHED
from resip_ros.nodes.fuzz.values import Rng, mutate, pick
from resip_ros.nodes.policy_slot import ActivePolicy
from resip_ros.nodes.teleop.gamepad import PAD_BUTTONS, RIGHT_SHOULDER

GOOD_SHARE, GARBAGE_SHARE = 0.25, 0.2
HOME = np.array(load_control_config().home_joints)
HOME_POSITION, HOME_ROT = forward(HOME)
CAMERA_MATRIX = np.array([[260.0, 0.0, 160.0], [0.0, 260.0, 120.0], [0.0, 0.0, 1.0]])
ODD_SIZES = ((1, 1), (1, 70_000), (70_000, 1), (3, 2), (240, 321))
"""Rows and columns of pictures that are whole, but of no camera."""
EVENTS = (events.STARTED,) * 4 + (events.STOPPED, events.FAULT, events.HOMED, events.UNDONE)


def action_message(task: TaskSpec, stamp_ns: int, actions: Array) -> JointTrajectory:
    """Actions (Ta, 10 A) from a time on."""
    message = JointTrajectory()
    chunk = ActionChunk(stamp_ns, actions, task.rate_hz)
    messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint, action_names(task))
    return message


def home_action(task: TaskSpec, shift: Array) -> Array:
    """Action (10 A,) of all hands at home, grippers open, moved by ``shift`` (3,) m."""
    own = encode_action(HOME_POSITION + shift, HOME_ROT, np.array(-1.0))
    return to_task_frame(task.arms, np.tile(own, (len(task.arms), 1)))


class GoodMessages:
    """Makes messages for a task; pictures and the simulator's state are given."""

    def __init__(self, task: TaskSpec, picture: np.ndarray, state_size: int = 0) -> None:
        """Takes the task, a picture (H, W, 3) uint8 RGB and the length of a simulator's state."""
        self.task, self._picture, self._state_size = task, picture, state_size
        self._makers: dict[type, Callable[[Rng, str, int], Any]] = {
            JointState: self._joints,
            PoseStamped: self._pose,
            JointTrajectory: self._trajectory,
            String: self._text,
            Image: self._image,
            CompressedImage: self._jpeg,
            CameraInfo: self._info,
            Joy: self._joy,
            Float64MultiArray: self._state,
            DiagnosticArray: self._diagnostics,
            ParameterEvent: self._parameters,
        }

    def make(self, rng: Rng, topic: str, kind: type, now_ns: int) -> Any:
        """What would come on a topic (full name) at an instant (ns); else an empty message."""
        if kind is Bool:
            return Bool(data=bool(rng.integers(2)))
        maker = self._makers.get(kind)
        name = topic.removeprefix(f"/{topics.NAMESPACE}/")
        return kind() if maker is None else maker(rng, name, now_ns)

    def fuzzed(self, rng: Rng, topic: str, kind: type, now_ns: int) -> Any:
        """A good message, one with wrong places, or garbage."""
        draw = rng.random()
        if draw < GARBAGE_SHARE:
            message = kind()
            for _ in range(4):
                message = mutate(rng, message)
            return message
        message = self.make(rng, topic, kind, now_ns)
        return message if draw < GARBAGE_SHARE + GOOD_SHARE else mutate(rng, message)

    def _joints(self, rng: Rng, _: str, now_ns: int) -> JointState:
        message = JointState()
        names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
        position = np.r_[HOME + rng.normal(0, 0.01, 7), 0.03, 0.03]
        messages.fill_joint_state_inplace(message, now_ns, names, position, np.zeros(9))
        return message

    def _pose(self, rng: Rng, _: str, now_ns: int) -> PoseStamped:
        message = PoseStamped()
        messages.fill_header_inplace(message.header, now_ns, messages.BASE_FRAME)
        values = np.r_[0.5, rng.normal(0, 0.1), 0.02, 0.0, 0.0, 0.0, 1.0]
        messages.fill_pose_inplace(message.pose, values)
        return message

    def _trajectory(self, rng: Rng, name: str, now_ns: int) -> JointTrajectory:
        task = self.task
        action = home_action(task, rng.normal(0, 0.003, 3))
        start_ns = tick_start_ns(tick_of(now_ns, task.rate_hz), task.rate_hz)
        if name == topics.TELEOP_ACTION:
            message, held = JointTrajectory(), bool(rng.integers(2))
            fill_teleop_inplace(
                message, start_ns, action[:10], held, task.rate_hz, JointTrajectoryPoint
            )
            return message
        steps = 8 if name == topics.ACTION_CHUNK else 1
        return action_message(task, start_ns, np.tile(action, (steps, 1)))

    def _text(self, rng: Rng, name: str, now_ns: int) -> String:
        if name in (topics.POLICY_ACTIVE, topics.POLICY_READY):
            node = pick(rng, ("base_policy", "residual_policy"))
            told = dataclasses.asdict(ActivePolicy(node, "anywhere", "", ""))
            return String(data=json.dumps(told))
        if name == topics.EPISODE_REPORT:
            node = pick(rng, ("franka_bridge", "base_policy", "residual_policy", "teleop"))
            times = {key: rng.normal(20.0, 5.0, 4).tolist() for key in ("chunk", "tick", "key")}
            counts = {"late": 1, "ticks": 9, "refused": 0, "ahead": 2, "commands": 9}
            trace = {key: [[3, 100], [4, 200]] for key in ("state_sent", "action_sent")}
            return String(data=events.NodeReport(node, counts, times, trace).to_json())
        if name == topics.TELEOP_ACTIVE:
            return String(data=events.TeleopActive(bool(rng.integers(2)), now_ns).to_json())
        return String(data=events.EpisodeEvent(pick(rng, EVENTS), now_ns).to_json())

    def _image(self, rng: Rng, _: str, now_ns: int) -> Image:
        message, picture = Image(), self._picture
        if rng.random() < 0.1:
            rows, columns = ODD_SIZES[int(rng.integers(len(ODD_SIZES)))]
            picture = np.zeros((rows, columns, 3), np.uint8)
        messages.fill_image_inplace(message, now_ns, "camera", picture)
        message.encoding = pick(rng, ("rgb8", "rgb8", "bgr8"))
        return message

    def _jpeg(self, _: Rng, __: str, now_ns: int) -> CompressedImage:
        message = CompressedImage(format="rgb8; jpeg compressed bgr8")
        messages.fill_header_inplace(message.header, now_ns, "camera")
        message.data = array("B", encode_jpeg(self._picture))
        return message

    def _info(self, _: Rng, __: str, now_ns: int) -> CameraInfo:
        rows, columns = self._picture.shape[:2]
        message = CameraInfo(height=rows, width=columns, d=[0.0] * 5)
        messages.fill_header_inplace(message.header, now_ns, "camera")
        message.k = CAMERA_MATRIX.ravel().tolist()
        return message

    def _joy(self, rng: Rng, _: str, now_ns: int) -> Joy:
        message = Joy(axes=rng.uniform(-1, 1, 6).tolist())
        messages.fill_header_inplace(message.header, now_ns, "joy")
        buttons = [int(rng.random() < 0.1) for _ in range(PAD_BUTTONS + 2)]
        buttons[RIGHT_SHOULDER] = int(rng.random() < 0.8)
        message.buttons = buttons
        return message

    def _state(self, rng: Rng, _: str, now_ns: int) -> Float64MultiArray:
        values = rng.normal(0, 0.2, self._state_size)
        values[:1] = now_ns / 1e9
        return Float64MultiArray(data=values.tolist())

    def _diagnostics(self, rng: Rng, _: str, now_ns: int) -> DiagnosticArray:
        values = {PUBLISHED: int(rng.integers(100)), NEWEST: now_ns}
        pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return DiagnosticArray(status=[DiagnosticStatus(name=f"{DIAGNOSTIC}front", values=pairs)])

    def _parameters(self, rng: Rng, _: str, __: int) -> ParameterEvent:
        seed = ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=3)
        node = pick(rng, ("base_policy", "sender", "recorder"))
        return ParameterEvent(
            node=f"/{topics.NAMESPACE}/{node}",
            changed_parameters=[Parameter(name="seed", value=seed)],
        )
