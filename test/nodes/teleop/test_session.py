# SPDX-License-Identifier: Apache-2.0
"""What a session does with an operator's keys; test_round_trip.py has the live graph."""

import io
import os
import pty
import sys
import time

import numpy as np
import pytest
from rclpy.node import Node
from rich.console import Console
from sensor_msgs.msg import Image

from resip_ros.core import messages
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.paths import models_dir
from resip_ros.core.results import EpisodeResult, RunResult
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.nodes import topics
from resip_ros.nodes.table import Graph
from resip_ros.nodes.teleop import session
from resip_ros.nodes.teleop.person import Person
from resip_ros.nodes.teleop.session import (
    VIEW_PERIOD_S,
    Session,
    SessionOptions,
    SessionResult,
    run_session,
)


class Bench:
    """The operator's part of the graph: an episode ends when somebody asks for it."""

    def __init__(self):
        self.done = []
        self.is_asked_to_end = False
        self.refuses = False

    def prepare(self, seed):
        self.done.append(f"prepare {seed}")

    def wait(self, done, timeout_s, what):
        for _ in range(50):
            if done():
                return
        raise AssertionError(what)

    def run_episode(self, seed, max_steps, on_step):
        self.is_asked_to_end = False
        for step in range(max_steps):
            on_step(step / max_steps)
            if self.is_asked_to_end:
                break
        self.done.append(f"run {step + 1}")
        return EpisodeResult(False, step + 1, 0.1 * step, seed, "time limit"), None, 1.0

    def call(self, node, service):
        self.done.append(f"{node}/{service}")
        if self.refuses and node == "recorder":
            raise ResipError("the disk is full")
        return "in the trash"

    def undo(self):
        self.done.append("undo")
        if self.refuses:
            raise ResipError("undo less")
        return "back by 3.0 s"

    def collect(self, run):
        run.ticks += 1

    def latencies_ms(self, node, name):
        assert (node, name) == ("teleop", "key")
        return [20.0, 40.0]


class Typist:
    """A leader who types one key at each look."""

    help = "help"
    node = None

    def __init__(self, keys, is_person=True):
        self.keys, self.is_person = list(keys), is_person
        self.begun = []

    def commands(self):
        return [self.keys.pop(0)] if self.keys else []

    def begin(self, episode):
        self.begun.append(episode)


@pytest.fixture
def run(tmp_path):
    def run(leader, bench, **options):
        asked = SessionOptions(
            **{"task": "peg_in_hole", "robot": "sim", "out": tmp_path, "cameras": False} | options
        )
        result = SessionResult(RunResult("peg_in_hole", "", "sim"))
        console = Console(file=io.StringIO(), width=200)
        Session(asked, PEG_IN_HOLE, bench, leader, console, result).run()
        return result, console.file.getvalue()

    return run


def test_a_person_begins_ends_discards_and_quits(run, tmp_path):
    # the first key of each pair is what was typed before the question, and does not count
    leader = Typist("x\n" + "w\n" + "q\n" + "x" + "\nq")
    bench = Bench()
    result, text = run(leader, bench, record=tmp_path / "demos")
    assert bench.done == [
        "prepare 0",
        "run 2",
        "prepare 1",
        "franka_bridge/stop",
        "recorder/discard",
        "run 1",
        "prepare 2",
    ]
    assert (len(result.run.episodes), result.discarded) == (2, 1)
    assert result.to_dict()["key_latency_ms"]["p50"] == 30.0
    assert "discarded" in text
    assert "episode 1: Enter begins, q ends. help" in text


def test_an_enter_after_q_begins_nothing(run):
    class Hasty(Typist):
        """Types the rest in one go, when asked."""

        def commands(self):
            first, self.keys = self.keys[:1], self.keys[1:]
            rest, self.keys = (self.keys, []) if first == ["q"] else ([], self.keys)
            return first + rest

    bench = Bench()
    result, _ = run(Hasty("x" + "q\n"), bench)
    assert bench.done == ["prepare 0"]
    assert result.run.episodes == []


def test_quitting_within_an_episode_ends_it_first(run):
    bench = Bench()
    result, _ = run(Typist("x\n" + "q"), bench)
    assert bench.done == ["prepare 0", "run 1"]
    assert len(result.run.episodes) == 1


@pytest.mark.parametrize("refuses", [False, True])
def test_undo_goes_on_with_the_episode_in_simulation_only(run, refuses):
    bench = Bench()
    bench.refuses = refuses
    _, text = run(Typist("x\n" + "z" + "q"), bench)
    assert bench.done == ["prepare 0", "undo", "run 2"]
    assert ("not undone: undo less" if refuses else "back by 3.0 s") in text
    real = Bench()
    run(Typist("x\n" + "z" + "q"), real, robot="127.0.0.1")
    assert "undo" not in real.done


def test_what_is_no_person_is_not_asked(run):
    leader, bench = Typist("", is_person=False), Bench()
    result, _ = run(leader, bench, episodes=2, max_steps=3, seed=7)
    assert bench.done == ["prepare 7", "run 3", "prepare 8", "run 3"]
    assert leader.begun == [0, 1]
    assert result.run.ticks == 2


def test_a_recording_that_cannot_be_discarded_is_noted(run, tmp_path):
    bench = Bench()
    bench.refuses = True
    result, _ = run(Typist("x\n" + "xq"), bench, record=tmp_path / "demos", episodes=1)
    assert result.run.notes == ["not discarded: the disk is full"]


@pytest.mark.parametrize(
    ("options", "camera"),
    [
        ({}, "overview"),
        ({"cameras": False}, ""),
        ({"robot": "172.16.0.2"}, ""),
        ({"camera_config": "sim_cameras.yaml"}, "front"),
        ({"camera_config": "sim_cameras.yaml", "cameras": False}, "front"),
        ({"robot": "172.16.0.2", "camera_config": "cameras.yaml"}, "front"),
    ],
)
def test_the_operator_sees_a_camera_that_there_is(tmp_path, options, camera):
    given = {"task": "peg_in_hole", "robot": "sim", "out": tmp_path} | options
    assert SessionOptions(**given).view_camera == camera


def test_cameras_and_tags_reach_the_graph(tmp_path, monkeypatch):
    graphs = []

    def running_graph(graph, *_):
        graphs.append(graph)
        raise ResipError("enough")

    monkeypatch.setattr(session, "running_graph", running_graph)
    options = SessionOptions(
        "peg_in_hole",
        "172.16.0.2",
        tmp_path,
        camera_config="cameras.yaml",
        tag_config="tags.yaml",
    )
    with pytest.raises(ResipError, match="enough"):
        run_session(options, None, Console(quiet=True))
    (graph,) = graphs
    assert {"camera", "tag_poses"} <= {entry.name for entry in graph.entries()}
    assert (graph.camera_config, graph.tag_config) == ("cameras.yaml", "tags.yaml")


def test_a_student_without_its_cameras(tmp_path):
    student = models_dir() / "mug_rack" / "student"
    options = SessionOptions("mug_rack", "sim", tmp_path, policy=student)
    with pytest.raises(ConfigError, match="no camera front, wrist runs; give --cameras"):
        run_session(options, None, Console(quiet=True))


@pytest.mark.ros
def test_pictures_of_the_file_are_shown_but_no_more_than_the_arm_has_time_for(graph, tmp_path):
    leader = Typist("")
    leader.node = graph.add(Node("leader", namespace="fr3"))
    camera = graph.add(Node("camera", namespace="fr3"))
    images = camera.create_publisher(Image, topics.image("wrist"), topics.image_qos())
    path = tmp_path / "mine.yaml"
    path.write_text("wrist: {source: uvc}")
    options = SessionOptions("peg_in_hole", "172.16.0.2", tmp_path, camera_config=str(path))
    console = Console(file=io.StringIO(), width=200)
    result = SessionResult(RunResult("peg_in_hole", "", "172.16.0.2"))
    shown = Session(options, PEG_IN_HOLE, Bench(), leader, console, result)
    assert "look at the bench in a browser: http" in console.file.getvalue()
    graph.spin_until(images.get_subscription_count)
    begin_s, sent = time.monotonic(), 0
    while time.monotonic() < begin_s + 1.0:
        image = Image()
        messages.fill_image_inplace(image, time.time_ns(), "c", np.full((24, 32, 3), 90, np.uint8))
        images.publish(image)
        graph.spin_briefly(2)
        sent += 1
    assert (tmp_path / "view.jpg").stat().st_size > 100
    pictures = shown._view.after(-1)[0]
    passed_s = time.monotonic() - begin_s
    assert 1 <= pictures <= passed_s / VIEW_PERIOD_S + 1
    assert sent > pictures
    shown.close()


@pytest.mark.ros
def test_a_person_at_a_terminal(graph, monkeypatch, wait_for):
    ours, theirs = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(theirs, closefd=False))
    person = Person(Graph("peg_in_hole", "sim", "models/peg_in_hole"), "keyboard")
    assert person.node.parameters.takes_over
    assert "p gives back" in person.help
    os.write(ours, b"wq")
    found = []
    wait_for(lambda: found.extend(person.commands()) or found)
    assert found == ["q"]
    person.end()
    os.close(ours)
    os.close(theirs)
