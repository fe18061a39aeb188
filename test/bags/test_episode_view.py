# SPDX-License-Identifier: Apache-2.0
import time

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from resip_ros.bags import layout
from resip_ros.bags.episode_view import LED, POLICY_LED, joint_states, read_view
from resip_ros.bags.sidecar import Episode, load_episode, write_episode
from resip_ros.bags.writer import BagWriter
from resip_ros.core import events
from resip_ros.core.action import action_names
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import matrix_to_rot6d, rotation_z
from resip_ros.core.kinematics import forward
from resip_ros.core.tasks import get_task

from .script import Script, ns, plain

HOME = np.array([0.0, -0.4, 0.0, -2.3, 0.0, 1.9, 0.785])
POS, ROT = forward(HOME)
START_S = 2.0


def action(x=0.4, gripper=-1.0):
    return np.r_[x, 0.1, 0.2, matrix_to_rot6d(ROT), gripper]


@pytest.fixture
def script():
    """10 s at 20 Hz joints and 10 Hz actions; started at 2 s, stopped at 8 s, closed at 5 s."""
    script = Script()
    for i in range(200):
        at_s = 0.05 * i
        script.joints(at_s, HOME + 0.01 * i * np.eye(7)[0], 0.06 if at_s < 5.0 else 0.02)
    for i in range(60):
        script.action(START_S + 0.1 * i, action(0.4 + 0.001 * i, 1.0 if i >= 30 else -1.0))
    script.event(START_S, events.STARTED)
    script.event(8.0, events.STOPPED)
    return script


def saved(script, folder, task="one_leg"):
    script.write(folder)
    write_episode(folder, Episode(task, state="saved"))
    return read_view(folder)


def test_curves_are_what_was_commanded_and_measured_at_their_time(script, tmp_path):
    view = saved(script, tmp_path / "a")
    assert (view.begin_s, round(view.end_s, 6)) == (-2.0, 7.95)
    (arm,) = view.arms
    np.testing.assert_allclose(arm.command_s, 0.1 * np.arange(60), atol=1e-6)
    np.testing.assert_array_equal(arm.commands[:, 0], 0.4 + 0.001 * np.arange(60))
    np.testing.assert_array_equal(arm.commands[:, 9], [-1.0] * 30 + [1.0] * 30)
    np.testing.assert_allclose(arm.measured_s, 0.05 * np.arange(200) - START_S, atol=1e-6)
    q = HOME + 0.01 * np.arange(200)[:, None] * np.eye(7)[0]
    np.testing.assert_array_equal(arm.measured[:, :3], forward(q)[0])
    width_mm = 1e3 * arm.measured[:, 9]
    np.testing.assert_allclose(width_mm, np.where(arm.measured_s < 2.99, 60.0, 20.0))


def test_marks_are_all_events_at_their_time(script, tmp_path):
    script.event(0.5, events.HOMED)
    script.leads(3.0, True)
    script.leads(4.5, False)
    script.event(7.0, events.FAULT, "a reflex")
    marks = [(round(m.time_s, 6), m.kind, m.detail) for m in saved(script, tmp_path / "a").marks]
    assert marks == [
        (-1.5, events.HOMED, ""),
        (0.0, events.STARTED, ""),
        (1.0, LED, ""),
        (2.5, POLICY_LED, ""),
        (5.0, events.FAULT, "a reflex"),
        (6.0, events.STOPPED, ""),
    ]


def test_gaps_are_those_that_the_table_warns_of(script, tmp_path):
    script.silence(layout.JOINT_STATES, 4.01, 4.29)
    (gap,) = saved(script, tmp_path / "a").gaps
    assert gap.topic == layout.JOINT_STATES
    assert (round(gap.start_s, 6), round(gap.end_s, 6)) == (2.0, 2.3)


def test_pictures_are_of_the_episode_and_of_every_camera(script, tmp_path):
    for i in range(100):
        script.raw(0.1 * i, layout.image("front"), plain(i))
        script.jpeg(0.1 * i, layout.compressed_image("wrist"), plain(200))
    view = saved(script, tmp_path / "a")
    assert [strip.camera for strip in view.strips] == ["front", "wrist"]
    front = view.strips[0].shown
    times = [view.seconds(shown.log_ns) for shown in front]
    np.testing.assert_allclose(times, np.linspace(0.0, 6.0, 10), atol=0.051)
    assert [int(s.picture.mean()) for s in front] == [round(10 * (t + START_S)) for t in times]
    assert view.notes == []


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_foreign_bags_without_a_start(script, tmp_path, plugin):
    script.silence(layout.EPISODE_EVENT)
    view = read_view(script.write_foreign(tmp_path / "a", plugin))
    assert view.episode is None
    assert view.begin_s == 0.0
    (arm,) = view.arms
    assert round(arm.command_s[0], 6) == START_S
    assert len(arm.measured) == 200
    assert view.notes == ["no pictures in this bag"]


def test_both_arms_in_one_frame(tmp_path):
    task = get_task("biman_insert")
    script = Script()
    names = action_names(task)
    for i in range(10):
        at_s = 0.02 * i
        for arm, width_m in zip(task.arms, (0.01, 0.05), strict=True):
            script.joints(at_s, HOME, width_m, joint_states(arm))
        script.action(at_s, np.r_[action(0.4, -1.0), action(0.9, 1.0)], names, 50.0)
    for write in (script.write, script.write_foreign):
        left, right = read_view(write(tmp_path / write.__name__)).arms
        assert (left.name, right.name) == ("left", "right")
        assert (left.commands[0, 0], right.commands[0, 0]) == (0.4, 0.9)
        np.testing.assert_allclose(left.measured[:, 9], 0.01)
        np.testing.assert_allclose(right.measured[:, 9], 0.05)
        np.testing.assert_allclose(left.measured[0, :3], POS)
        base = task.arms[1]
        turned = rotation_z(np.array(base.base_yaw)) @ POS + np.r_[base.base_xy, 0.0]
        np.testing.assert_allclose(right.measured[0, :3], turned, atol=1e-12)


def test_what_is_malformed_is_left_out_and_said(script, tmp_path):
    script.action(3.05, action(np.nan))
    script.action(3.06, np.zeros(3), ("a", "b", "c"))
    script.text(layout.EPISODE_EVENT, 3.0, "{no JSON")
    view = saved(script, tmp_path / "a")
    assert len(view.arms[0].commands) == 60
    assert any("2 messages left out" in note and "not finite" in note for note in view.notes)
    assert any("1 message left out" in note and "no JSON" in note for note in view.notes)


def test_joints_alone_are_drawn(script, tmp_path):
    script.rows = [row for row in script.rows if row[0].name == layout.JOINT_STATES]
    (arm,) = saved(script, tmp_path / "a").arms
    assert len(arm.commands) == 0
    assert len(arm.measured) == 200


def test_actions_alone_are_drawn_of_an_unknown_task(script, tmp_path):
    script.rows = [row for row in script.rows if row[0].name == layout.NET_ACTION]
    (arm,) = saved(script, tmp_path / "a", "a_task_of_others").arms
    assert len(arm.commands) == 60
    assert arm.measured.shape == (0, 10)


def test_a_bag_with_nothing_to_draw_is_named(closed_bag):
    with pytest.raises(DataError, match=r"first has nothing to draw.*/fr3/note"):
        read_view(closed_bag)


def test_an_empty_bag_is_named(tmp_path):
    BagWriter(tmp_path / "a").finish()
    with pytest.raises(DataError, match="nothing to draw"):
        read_view(tmp_path / "a")


def test_a_bag_that_is_being_written_is_not_read(recorder, notes):
    path = recorder.start(Episode("one_leg"))
    notes.feed(recorder, 0, 10)
    while not path.is_dir() or not load_episode(path):
        time.sleep(0.01)
    with pytest.raises(DataError, match="still being recorded"):
        read_view(path)


def test_seconds_count_from_the_start(script, tmp_path):
    view = saved(script, tmp_path / "a")
    assert view.seconds(view.zero_ns + ns(1.5)) == 1.5
