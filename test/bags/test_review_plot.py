# SPDX-License-Identifier: Apache-2.0
"""What is in the drawing; that the data it is made of is right is in ``test_episode_view.py``."""

import math

import numpy as np
import pytest
from PIL import Image

from resip_ros.bags import layout
from resip_ros.bags.episode_view import LED, ArmMotion, EpisodeView, Gap, Mark
from resip_ros.bags.picture_strip import COUNT, Shown, Strip
from resip_ros.bags.review import picture_path
from resip_ros.bags.review_plot import break_line, build_figure, draw_review, join_gaps, turned_deg
from resip_ros.bags.sidecar import Episode, write_episode
from resip_ros.core import events
from resip_ros.core.action import encode_action
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import rotation_z

from .script import LOG_NS, Script, ns, plain

SECONDS = 0.1 * np.arange(50)


def motion(name="", x=0.4):
    """5 s: the hand turns 10 degrees a second from 1 s on, and the gripper closes at 2 s."""
    turn = np.radians(10 * np.maximum(SECONDS - 1.0, 0.0))
    pos = np.stack([x + 0 * SECONDS, 0.01 * SECONDS, 0.2 - 0.02 * SECONDS], -1)
    closed = np.where(SECONDS >= 2.0, 1.0, -1.0)
    commands = encode_action(pos + 0.001, rotation_z(turn), closed)
    measured = encode_action(pos, rotation_z(turn), np.where(SECONDS >= 2.3, 0.01, 0.06))
    return ArmMotion(name, SECONDS, commands, SECONDS, measured)


def strip(camera, missing=(), damaged=()):
    shown = []
    for i in range(COUNT):
        picture = None if i in damaged else plain(20 * i)
        found = Shown(LOG_NS + ns(0.5 * i), picture, "" if i not in damaged else "damaged")
        shown.append(None if i in missing else found)
    return Strip(camera, f"/fr3/{camera}/color/image_raw", shown)


@pytest.fixture
def view():
    """Two cameras, one arm, all kinds of marks, two silences."""
    return EpisodeView(
        "one_leg_1",
        Episode("one_leg", state="saved", success=True, outcome="success", operator="mia"),
        LOG_NS,
        -1.0,
        5.0,
        arms=[motion()],
        marks=[
            Mark(0.0, events.STARTED),
            Mark(1.5, LED),
            Mark(4.0, events.FAULT, "a reflex of joint 2"),
        ],
        gaps=[Gap("/fr3/joint_states", 2.0, 2.25), Gap("/fr3/parts/top/pose", 3.0, 3.4)],
        strips=[strip("front"), strip("wrist", missing=(2,), damaged=(5,))],
    )


def panels(figure):
    """Label of the vertical axis, or name of the camera, to axes."""
    return {(a.get_ylabel() or a.texts[0].get_text()).replace("\n", " "): a for a in figure.axes}


def texts(axes):
    return [text.get_text() for text in axes.texts[1:]]


def curve(line):
    """Times and values without the breaks."""
    x, y = line.get_xdata(), line.get_ydata()
    return x[np.isfinite(y)], y[np.isfinite(y)]


def test_strips_show_every_camera_with_the_time_of_each_picture(view):
    drawn = panels(build_figure(view))
    expected = [f"{0.5 * i:.1f} s" for i in range(COUNT)]
    assert texts(drawn["front"]) == expected
    expected[2], expected[5] = "no picture", "2.5 s, damaged"
    assert texts(drawn["wrist"]) == expected
    pictures = drawn["front"].images
    assert [int(np.mean(p.get_array())) for p in pictures] == [20 * i for i in range(COUNT)]
    # each in its place, of its shape
    for i, picture in enumerate(pictures):
        left, right, low, high = picture.get_extent()
        assert i < left < right < i + 1
        assert math.isclose((right - left) / (high - low), 32 / 24)
    assert len(drawn["wrist"].images) == COUNT - 2


def test_curves_are_commanded_and_measured(view):
    drawn = panels(build_figure(view))
    arm = view.arms[0]
    lines = drawn["hand position, m"].lines[:6]
    for i in range(3):
        np.testing.assert_array_equal(curve(lines[2 * i]), (SECONDS, arm.measured[:, i]))
        np.testing.assert_array_equal(curve(lines[2 * i + 1]), (SECONDS, arm.commands[:, i]))
    for line in drawn["turned since start, deg"].lines[:2]:
        times, values = curve(line)
        np.testing.assert_allclose(times, SECONDS)
        np.testing.assert_allclose(values, 10 * np.maximum(SECONDS - 1.0, 0.0), atol=1e-6)
    times, width_mm = curve(drawn["gripper width, mm"].lines[0])
    np.testing.assert_allclose(width_mm, np.where(times >= 2.3, 10.0, 60.0))
    (command,) = drawn["commanded"].lines
    np.testing.assert_array_equal(curve(command), (SECONDS, arm.commands[:, 9]))
    # a command holds until the next one
    assert command.get_drawstyle() == "steps-post"
    assert drawn["hand position, m"].get_xlim() == (-1.0, 5.0)


def test_events_and_silences_are_at_their_time_in_every_panel(view):
    drawn = panels(build_figure(view))
    for name in ("hand position, m", "turned since start, deg", "gripper width, mm"):
        axes = drawn[name]
        uprights = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2]
        assert uprights == [0.0, 1.5, 4.0]
        spans = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches]
        np.testing.assert_allclose(spans, [(2.0, 2.25), (3.0, 3.4)])


def test_the_legend_says_what_happened_when(view):
    view.marks += [Mark(0.1 * i, events.UNDONE) for i in range(12)]
    figure = build_figure(view)
    (legend,) = figure.subfigs[-1].legends
    said = [text.get_text() for text in legend.get_texts()]
    assert "started 0.0 s" in said
    assert "operator leads 1.5 s" in said
    assert "fault 4.0 s" in said
    assert "silence above 0.15 s, longest 0.40 s of /fr3/parts/top/pose" in said
    assert any(text.startswith("undone 0.0, 0.1") and text.endswith("… (12) s") for text in said)


def test_the_title_says_which_episode_and_what_is_missing(view):
    view.notes = ["no pictures in this bag"]
    view.strips = []
    figure = build_figure(view)
    title = figure.get_suptitle()
    for word in (
        "one_leg_1",
        "one_leg",
        "saved",
        "success",
        "mia",
        "6.0 s",
        "fault at 4.0 s: a reflex",
        "no pic",
    ):
        assert word in title
    assert "front" not in panels(figure)
    view.episode = None
    assert "no sidecar" in build_figure(view).get_suptitle()


def test_both_arms_side_by_side(view):
    view.arms = [motion("left", 0.3), motion("right", 0.9)]
    figure = build_figure(view)
    tops = [axes for axes in figure.axes if axes.get_ylabel() == "hand position, m"]
    assert [axes.get_title() for axes in tops] == ["left arm", "right arm"]
    assert [axes.lines[0].get_ydata()[0] for axes in tops] == [0.3, 0.9]


def test_a_silence_breaks_the_line():
    times, values = break_line(np.array([0.0, 0.1, 0.5, 0.6]), np.arange(4.0), 0.15)
    np.testing.assert_allclose(times, [0.0, 0.1, 0.25, 0.5, 0.6])
    np.testing.assert_array_equal(values, [0.0, 1.0, np.nan, 2.0, 3.0])
    assert break_line(np.zeros(0), np.zeros(0), 0.15)[0].shape == (0,)


def test_silences_of_several_streams_are_one_shade():
    gaps = [Gap("b", 1.2, 1.9), Gap("a", 1.0, 1.5), Gap("a", 3.0, 3.2), Gap("c", 1.1, 1.2)]
    assert join_gaps(gaps) == [(1.0, 1.9), (3.0, 3.2)]


def test_turned_counts_from_the_first_row():
    rows = encode_action(np.zeros((2, 3)), rotation_z(np.radians([30.0, 75.0])), np.zeros(2))
    np.testing.assert_allclose(turned_deg(rows, rows[0]), [0.0, 45.0], atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_a_picture_is_written_whole_beside_the_bags(tmp_path, monkeypatch):
    script = Script()
    for i in range(20):
        script.joints(0.1 * i, np.zeros(7), 0.06)
        script.raw(0.1 * i, layout.image("front"), plain(i))
    bag = script.write(tmp_path / "demos" / "a")
    # text that a formula reader would stumble over, and signs that no font has
    write_episode(bag, Episode("one_leg", state="saved", outcome="$\\frac{1}$ \n\u674e 100 %"))
    path, notes = draw_review(bag)
    assert path == tmp_path / "demos" / "review" / "a.png"
    assert notes == []
    with Image.open(path) as picture:
        assert picture.size[0] == 1800
        assert picture.size[1] < 1080
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    monkeypatch.chdir(bag)
    assert picture_path(bag.parent / "a") == path
    assert picture_path(type(bag)(".")) == path


def test_no_place_for_the_picture_is_said(tmp_path):
    script = Script()
    script.joints(0.0, np.zeros(7), 0.06)
    bag = script.write(tmp_path / "a")
    (tmp_path / "review").write_text("a file")
    with pytest.raises(ResipError, match=r"cannot write .*review/a\.png"):
        draw_review(bag)
