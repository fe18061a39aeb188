# SPDX-License-Identifier: Apache-2.0
"""Bags to demonstrations, and what is refused. That they equal what policies saw live is in
``test/nodes/test_recorder_node.py``."""

import json

import numpy as np
import pytest
import zarr
from rosbags.rosbag2 import StoragePlugin, Writer

from resip_ros.bags import layout
from resip_ros.bags.layout import Topic
from resip_ros.bags.sidecar import Episode, write_episode
from resip_ros.bags.writer import BagWriter
from resip_ros.core import events, messages
from resip_ros.core.action import ACTION_NAMES
from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.core.observation import PROPRIO_DIM, body_pose
from resip_ros.core.tasks import get_task
from training import convert_bags
from training.bag_steps import read_steps
from training.convert_bags import ConvertSettings
from training.dataset import read_demonstrations

TASK = get_task("one_leg")
MS = 1_000_000
STEP_NS = 100 * MS
START_NS = 50 * STEP_NS
LOG_NS = 1_700_000_000_000_000_000


def message_of(name):
    """Class of a ROS type, without ROS."""
    return layout.type_store().types[name]


def cdr(topic, message):
    return bytes(layout.type_store().serialize_cdr(message, topic.msgtype))


def header(stamp_ns, frame):
    time = message_of("builtin_interfaces/msg/Time")(*divmod(stamp_ns, 10**9))
    return message_of("std_msgs/msg/Header")(stamp=time, frame_id=frame)


class Script:
    """Messages with topic and time of receipt, and bags made of them."""

    def __init__(self):
        self.rows = []

    def add(self, topic, log_ns, message):
        self.rows.append((topic, log_ns, message))

    def joints(self, log_ns, stamp_ns, q, dq=None, width=0.06, names=None):
        names = names or (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
        topic = Topic(layout.JOINT_STATES, "sensor_msgs/msg/JointState")
        message = message_of(topic.msgtype)(
            header=header(stamp_ns, ""),
            name=list(names),
            position=np.r_[q, width / 2, width / 2],
            velocity=np.r_[np.zeros(7) if dq is None else dq, 0, 0],
            effort=np.zeros(0),
        )
        self.add(topic, log_ns, message)

    def part(self, log_ns, stamp_ns, name, pose):
        topic = Topic(layout.part_pose(name), "geometry_msgs/msg/PoseStamped")
        point = message_of("geometry_msgs/msg/Point")(*(float(v) for v in pose[:3]))
        quat = message_of("geometry_msgs/msg/Quaternion")(*(float(v) for v in pose[3:]))
        message = message_of(topic.msgtype)(
            header=header(stamp_ns, messages.BASE_FRAME),
            pose=message_of("geometry_msgs/msg/Pose")(position=point, orientation=quat),
        )
        self.add(topic, log_ns, message)

    def action(self, log_ns, stamp_ns, action, rate_hz=10.0):
        topic = Topic(layout.NET_ACTION, "trajectory_msgs/msg/JointTrajectory")
        after = message_of("builtin_interfaces/msg/Duration")(0, round(1e9 / rate_hz))
        none = np.zeros(0)
        point = message_of("trajectory_msgs/msg/JointTrajectoryPoint")(
            np.asarray(action, dtype=np.float64), none, none, none, after
        )
        message = message_of(topic.msgtype)(
            header=header(stamp_ns, messages.BASE_FRAME),
            joint_names=list(ACTION_NAMES),
            points=[point],
        )
        self.add(topic, log_ns, message)

    def event(self, log_ns, kind, stamp_ns):
        topic = Topic(layout.EPISODE_EVENT, "std_msgs/msg/String", latched=True)
        text = events.EpisodeEvent(kind, stamp_ns).to_json()
        self.add(topic, log_ns, message_of(topic.msgtype)(data=text))

    def drop(self, topic, stamp_ns):
        """Takes a message out."""
        kept = []
        for row in self.rows:
            is_it = row[0].name == topic and messages.stamp_to_ns(row[2].header.stamp) == stamp_ns
            kept += [] if is_it else [row]
        assert len(kept) == len(self.rows) - 1
        self.rows = kept

    def shift_stamps(self, after_ns, by_ns, of=""):
        """Sets the ROS clock while it is recorded, or that of some topics' publishers."""
        for topic, log_ns, message in self.rows:
            if log_ns > after_ns and of in topic.name and topic.name != layout.EPISODE_EVENT:
                stamp = message.header.stamp
                messages.fill_stamp_inplace(stamp, messages.stamp_to_ns(stamp) + by_ns)

    def sorted(self):
        return sorted(self.rows, key=lambda row: row[1])

    def write(self, folder):
        """A bag as the recorder writes it, without a sidecar."""
        writer = BagWriter(folder)
        for topic, log_ns, message in self.sorted():
            writer.write(topic, log_ns, cdr(topic, message))
        writer.finish()
        return folder

    def write_foreign(self, folder, plugin=StoragePlugin.SQLITE3):
        """A bag as `ros2 bag record` leaves it."""
        with Writer(folder, version=9, storage_plugin=plugin) as writer:
            connections = {}
            for topic, log_ns, message in self.sorted():
                if topic.name not in connections:
                    connections[topic.name] = writer.add_connection(
                        topic.name, topic.msgtype, typestore=layout.type_store()
                    )
                writer.write(connections[topic.name], log_ns, cdr(topic, message))
        return folder


def upright(x, y, z=0.02):
    return np.array([x, y, z, 0.0, 0.0, 0.0, 1.0])


def assembled_poses():
    """Poses of all parts with the first pair in its goal."""
    poses = {name: upright(0.4 + 0.05 * i, 0.1) for i, name in enumerate(TASK.observed)}
    pair = TASK.pairs[0]
    poses[pair.child] = poses[pair.parent] + np.r_[pair.positions[0], 0, 0, 0, 0]
    return poses


def make_episode(steps=8, success=True, seed=0):
    """Half a second of pre-roll, some policy steps, a stop; 100 Hz joints, 50 Hz parts."""
    rng, script = np.random.default_rng(seed), Script()
    done = assembled_poses()
    if not success:
        done[TASK.pairs[0].child][2] += 0.05
    q = np.array([0.1, -0.4, 0.05, -2.3, 0.02, 1.9, 0.8])
    end_ns = START_NS + steps * STEP_NS
    script.event(LOG_NS, events.STARTED, START_NS - 20 * MS)
    script.event(LOG_NS + end_ns - START_NS + 9 * MS, events.STOPPED, end_ns)
    for k in range(-50, steps * 10 + 20):
        stamp_ns, log_ns = START_NS + k * 10 * MS, LOG_NS + k * 10 * MS + 2 * MS
        q = q + rng.normal(0, 1e-3, 7)
        script.joints(log_ns, stamp_ns, q, rng.normal(0, 0.1, 7), 0.05 + 1e-4 * k)
        if k % 2 == 0:
            for i, name in enumerate(TASK.observed):
                noise = np.r_[rng.normal(0, 1e-4, 3), 0, 0, 0, 0]
                script.part(log_ns + i, stamp_ns, name, done[name] + noise)
        if k % 10 == 0 and 0 <= k < steps * 10:
            script.action(log_ns + 5 * MS, stamp_ns, rng.normal(0, 0.3, 10))
    return script


@pytest.fixture
def demos(tmp_path):
    folder = tmp_path / "demos"
    folder.mkdir()
    return folder


def run(demos, out, **options):
    return convert_bags.run(ConvertSettings(directory=demos, out=out, **options))


def test_rows_pair_observation_and_action_of_one_instant(demos):
    script = make_episode(steps=8)
    steps, done = read_steps(script.write(demos / "a"), TASK)
    assert done
    assert steps.stamps_ns == [START_NS + k * STEP_NS for k in range(8)]
    assert steps.held == 0
    sent = [m.points[0].positions for t, _, m in script.rows if t.name == layout.NET_ACTION]
    np.testing.assert_array_equal(steps.actions, sent)
    # the pose of a part as it was sent at that instant
    row = {m.header.stamp.nanosec: m for t, _, m in script.rows if t.name.endswith("top/pose")}
    pose = row[300 * MS].pose.position
    np.testing.assert_array_equal(body_pose(TASK, steps.observations, "top")[0][3][0], pose.x)
    width = steps.observations[:, PROPRIO_DIM - 1]
    np.testing.assert_allclose(width, 0.05 + 1e-3 * np.arange(8), atol=1e-12)


@pytest.mark.parametrize("plugin", list(StoragePlugin))
def test_bags_of_ros2_bag_record_give_the_same_rows(demos, plugin):
    script = make_episode()
    ours, _ = read_steps(script.write(demos / "a"), TASK)
    foreign, _ = read_steps(script.write_foreign(demos / "b", plugin), TASK)
    np.testing.assert_array_equal(foreign.observations, ours.observations)
    np.testing.assert_array_equal(foreign.actions, ours.actions)


def test_order_of_receipt_between_topics_does_not_matter(demos):
    """Another process may get the streams in another order than the policy did."""
    script = make_episode()
    expected, _ = read_steps(script.write(demos / "a"), TASK)
    rng = np.random.default_rng(1)
    delay = {topic.name: int(rng.integers(0, 15 * MS)) for topic, _, _ in script.rows}
    script.rows = [(t, log_ns + delay[t.name], m) for t, log_ns, m in script.rows]
    moved, _ = read_steps(script.write(demos / "b"), TASK)
    np.testing.assert_array_equal(moved.observations, expected.observations)


def test_a_dataset_with_its_provenance_is_written(demos, tmp_path, capsys):
    for name, success in (("a", True), ("b", None), ("c", False)):
        make_episode(seed=ord(name)).write(demos / name)
        episode = Episode("one_leg", state="saved", operator="mia", success=success)
        write_episode(demos / name, episode)
    make_episode(success=False).write_foreign(demos / "d")
    out = tmp_path / "real.zarr"
    assert run(demos, out, task="one_leg") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["episodes"] == 2
    assert summary["skipped"] == [
        "c: labelled as no success",
        "d: the part poses show no success",
    ]
    data = read_demonstrations(out, "one_leg")
    assert data.num_episodes == 2
    assert (data.source, data.hash) == ("bags", summary["hash"])
    steps, _ = read_steps(demos / "b", TASK)
    np.testing.assert_array_equal(data.state_obs[8:], steps.observations.astype(np.float32))
    np.testing.assert_array_equal(data.action[8:], steps.actions.astype(np.float32))
    noted = zarr.open_group(str(out), mode="r").attrs["provenance"]["episodes"]
    assert [(e["bag"], e["success_by"], e["operator"]) for e in noted] == [
        ("a", "label", "mia"),
        ("b", "part poses", "mia"),
    ]


def test_a_missing_action_is_held_as_the_bridge_holds_it(demos):
    script = make_episode()
    script.drop(layout.NET_ACTION, START_NS + 3 * STEP_NS)
    steps, _ = read_steps(script.write(demos / "a"), TASK)
    assert len(steps.stamps_ns) == 8
    assert steps.held == 1
    np.testing.assert_array_equal(steps.actions[3], steps.actions[2])
    assert not np.array_equal(steps.observations[3], steps.observations[2])


def test_an_action_that_is_late_by_a_step_gives_way_to_that_step_s_own(demos):
    """As on a machine under load: step 3 has none, step 4 has two."""
    script = make_episode()
    script.drop(layout.NET_ACTION, START_NS + 3 * STEP_NS)
    script.action(LOG_NS + 395 * MS, START_NS + 401 * MS, np.zeros(10))
    script.drop(layout.NET_ACTION, START_NS + 4 * STEP_NS)
    script.action(LOG_NS + 425 * MS, START_NS + 420 * MS, np.ones(10))
    steps, _ = read_steps(script.write(demos / "a"), TASK)
    assert len(steps.stamps_ns) == 8
    assert steps.held == 1
    np.testing.assert_array_equal(steps.actions[3], steps.actions[2])
    np.testing.assert_array_equal(steps.actions[4], np.ones(10))
    assert steps.stamps_ns[4] == START_NS + 420 * MS


def test_an_action_that_the_bridge_refuses_as_old_is_left_out(demos):
    script = make_episode()
    script.action(LOG_NS + 309 * MS, START_NS + 299 * MS, np.ones(10))
    steps, _ = read_steps(script.write(demos / "a"), TASK)
    assert len(steps.stamps_ns) == 8
    assert not (steps.actions == 1.0).all(axis=1).any()


def without_part(script):
    script.rows = [row for row in script.rows if "leg2" not in row[0].name]


def without_joints_for_a_while(script):
    for k in range(12):
        script.drop(layout.JOINT_STATES, START_NS + 2 * STEP_NS + (k - 6) * 10 * MS)


def without_actions_for_a_while(script):
    for k in (3, 4, 5):
        script.drop(layout.NET_ACTION, START_NS + k * STEP_NS)


def with_other_joints(script):
    names = [f"panda_joint{i}" for i in range(9)]
    script.joints(LOG_NS + 315 * MS, START_NS + 315 * MS, np.zeros(7), names=names)


def with_not_finite(script):
    script.joints(LOG_NS + 315 * MS, START_NS + 315 * MS, np.full(7, np.nan))


def with_backward_jump(script):
    script.shift_stamps(after_ns=LOG_NS + 400 * MS, by_ns=-5 * STEP_NS)


def with_joints_set_back(script):
    script.shift_stamps(after_ns=LOG_NS + 400 * MS, by_ns=-50 * MS, of=layout.JOINT_STATES)


def with_forward_jump(script):
    script.shift_stamps(after_ns=LOG_NS + 400 * MS, by_ns=100 * STEP_NS)


def with_other_rate(script):
    script.action(LOG_NS + 352 * MS, START_NS + 350 * MS, np.zeros(10), rate_hz=20.0)


def with_second_publisher(script):
    script.action(LOG_NS + 352 * MS, START_NS + 350 * MS, np.zeros(10))


def with_two_episodes(script):
    script.event(LOG_NS + 350 * MS, events.STARTED, START_NS + 350 * MS)


def without_actions(script):
    script.rows = [row for row in script.rows if row[0].name != layout.NET_ACTION]


@pytest.mark.parametrize(
    ("spoil", "topic", "reason"),
    [
        (without_part, layout.part_pose("leg2"), "no message on"),
        (without_actions, layout.NET_ACTION, "no message on"),
        (without_joints_for_a_while, layout.JOINT_STATES, r"nearest value is 0\.06"),
        (without_actions_for_a_while, layout.NET_ACTION, "no action for 0.40 s"),
        (with_other_joints, layout.JOINT_STATES, "lacks.*panda_joint0"),
        (with_not_finite, layout.JOINT_STATES, "not finite"),
        (with_backward_jump, layout.NET_ACTION, r"clock jumped.*-0\.30"),
        (with_joints_set_back, layout.JOINT_STATES, r"clock jumped.*-0\.04"),
        (with_forward_jump, layout.JOINT_STATES, r"clock jumped.*\+10\.01"),
        (with_other_rate, layout.NET_ACTION, "50000000 ns after the stamp.*10.0 Hz"),
        (with_second_publisher, layout.NET_ACTION, "two actions in one policy step"),
        (with_two_episodes, layout.EPISODE_EVENT, "second episode"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_what_is_wrong_is_named_and_the_others_are_converted(
    demos, tmp_path, capsys, spoil, topic, reason
):
    script = make_episode()
    spoil(script)
    script.write(demos / "spoilt")
    with pytest.raises(DataError, match=f"bag spoilt: .*{reason}") as error:
        read_steps(demos / "spoilt", TASK)
    text = str(error.value)
    assert topic in text
    assert " s" in text or "no message on" in text
    assert "\n" not in text
    make_episode().write(demos / "whole")
    assert run(demos, tmp_path / "a.zarr", task="one_leg") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["episodes"] == 1
    assert "bag spoilt" in captured.err


def test_bags_that_were_not_closed_are_refused_with_what_to_do(demos, tmp_path, capsys):
    make_episode().write(demos / "a")
    write_episode(demos / "a", Episode("one_leg"))
    with pytest.raises(ResipError, match="nothing was written"):
        run(demos, tmp_path / "a.zarr")
    assert "resip repair" in capsys.readouterr().err
    assert not (tmp_path / "a.zarr").exists()


def test_a_foreign_bag_needs_its_task(demos, tmp_path, capsys):
    make_episode().write_foreign(demos / "a")
    with pytest.raises(ResipError, match="1 bags refused"):
        run(demos, tmp_path / "a.zarr")
    assert "give --task" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="did you mean"):
        run(demos, tmp_path / "a.zarr", task="one_legg")


def test_an_existing_dataset_is_not_replaced(demos, tmp_path):
    make_episode().write(demos / "a")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        run(demos, tmp_path / "a.zarr", task="one_leg")


def test_the_command_line(demos, tmp_path, monkeypatch, capsys):
    make_episode().write(demos / "a")
    words = [str(demos), "--out", str(tmp_path / "a.zarr"), "--task", "one_leg"]
    monkeypatch.setattr("sys.argv", ["convert_bags", *words])
    with pytest.raises(SystemExit, match="^0$"):
        convert_bags.main()
    assert json.loads(capsys.readouterr().out)["steps"] == 8
    assert convert_bags.main() == 1
    assert "exists already" in capsys.readouterr().err
