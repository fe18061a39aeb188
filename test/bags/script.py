# SPDX-License-Identifier: Apache-2.0
"""Messages of an episode with their times of receipt, and bags made of them."""

import io
import json

import numpy as np
from PIL import Image
from rosbags.rosbag2 import StoragePlugin, Writer

from resip_ros.bags import layout
from resip_ros.bags.layout import Topic
from resip_ros.bags.writer import BagWriter
from resip_ros.core import events, messages
from resip_ros.core.action import ACTION_NAMES

LOG_NS = 1_700_000_000_000_000_000
"""Receipt of second 0; stamps in the messages count from 5 s, as under a simulated clock."""
STAMP_NS = 5 * 10**9


def ns(seconds):
    return round(seconds * 1e9)


def message_of(name):
    """Class of a ROS type, without ROS."""
    return layout.type_store().types[name]


class Script:
    def __init__(self):
        self.rows = []

    def add(self, name, msgtype, at_s, message):
        self.rows.append((Topic(name, msgtype), LOG_NS + ns(at_s), message))

    def header(self, at_s, frame=""):
        stamp = message_of("builtin_interfaces/msg/Time")(*divmod(STAMP_NS + ns(at_s), 10**9))
        return message_of("std_msgs/msg/Header")(stamp=stamp, frame_id=frame)

    def joints(self, at_s, q, width_m, topic=layout.JOINT_STATES):
        kind = "sensor_msgs/msg/JointState"
        names = [*messages.ARM_JOINTS, *messages.FINGER_JOINTS]
        position = np.r_[q, width_m / 2, width_m / 2]
        fields = (self.header(at_s), names, position, np.zeros(9), np.zeros(0))
        self.add(topic, kind, at_s, message_of(kind)(*fields))

    def action(self, at_s, action, names=ACTION_NAMES, rate_hz=10.0):
        kind = "trajectory_msgs/msg/JointTrajectory"
        after = message_of("builtin_interfaces/msg/Duration")(0, round(1e9 / rate_hz))
        none = np.zeros(0)
        values = np.asarray(action, dtype=np.float64)
        point = message_of("trajectory_msgs/msg/JointTrajectoryPoint")(
            values, none, none, none, after
        )
        message = message_of(kind)(self.header(at_s, messages.BASE_FRAME), list(names), [point])
        self.add(layout.NET_ACTION, kind, at_s, message)

    def text(self, topic, at_s, text):
        kind = "std_msgs/msg/String"
        self.add(topic, kind, at_s, message_of(kind)(data=text))

    def event(self, at_s, kind, detail=""):
        event = events.EpisodeEvent(kind, STAMP_NS + ns(at_s), detail)
        self.text(layout.EPISODE_EVENT, at_s, event.to_json())

    def leads(self, at_s, active):
        text = json.dumps({"active": active, "stamp_ns": STAMP_NS + ns(at_s)})
        self.text(layout.TELEOP_ACTIVE, at_s, text)

    def raw(self, at_s, topic, picture, encoding="rgb8"):
        kind = "sensor_msgs/msg/Image"
        rows, columns, depth = picture.shape
        fields = (rows, columns, encoding, 0, depth * columns, picture.ravel())
        self.add(topic, kind, at_s, message_of(kind)(self.header(at_s), *fields))

    def jpeg(self, at_s, topic, picture=None, data=b""):
        kind = "sensor_msgs/msg/CompressedImage"
        if picture is not None:
            file = io.BytesIO()
            Image.fromarray(picture).save(file, format="JPEG", quality=95)
            data = file.getvalue()
        array = np.frombuffer(data, dtype=np.uint8)
        self.add(topic, kind, at_s, message_of(kind)(self.header(at_s), "jpeg", array))

    def silence(self, topic, after_s=-1.0, before_s=1e9):
        """Takes a topic's messages of some time out."""
        silent = range(LOG_NS + ns(after_s), LOG_NS + ns(before_s))
        self.rows = [r for r in self.rows if r[0].name != topic or r[1] not in silent]

    def write(self, folder):
        """A bag as the recorder writes it, without a sidecar."""
        writer = BagWriter(folder)
        for topic, log_ns, message in sorted(self.rows, key=lambda row: row[1]):
            writer.write(topic, log_ns, self._cdr(topic, message))
        writer.finish()
        return folder

    def write_foreign(self, folder, plugin=StoragePlugin.SQLITE3):
        """A bag as `ros2 bag record` leaves it."""
        with Writer(folder, version=9, storage_plugin=plugin) as writer:
            found = {}
            for topic, log_ns, message in sorted(self.rows, key=lambda row: row[1]):
                if topic.name not in found:
                    found[topic.name] = writer.add_connection(
                        topic.name, topic.msgtype, typestore=layout.type_store()
                    )
                writer.write(found[topic.name], log_ns, self._cdr(topic, message))
        return folder

    def _cdr(self, topic, message):
        return bytes(layout.type_store().serialize_cdr(message, topic.msgtype))


def plain(value, rows=24, columns=32):
    """A picture of one grey value, by which it is known again."""
    return np.full((rows, columns, 3), value, dtype=np.uint8)
