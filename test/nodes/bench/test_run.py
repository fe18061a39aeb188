# SPDX-License-Identifier: Apache-2.0
"""An evaluation with a bench that a test plays: real nodes and topics, no arm."""

import contextlib
import io
import json
import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rich.console import Console
from sensor_msgs.msg import Image

from resip_ros.core import messages
from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.paths import models_dir
from resip_ros.core.results import EpisodeResult
from resip_ros.core.tasks import PEG_IN_HOLE
from resip_ros.nodes import topics
from resip_ros.nodes.bench import bench, run
from resip_ros.nodes.bench.bench import BenchOptions
from resip_ros.nodes.bench.grid import build_grid, load_grid, save_grid
from resip_ros.nodes.bench.run import run_bench

pytestmark = pytest.mark.ros
GREY = np.full((480, 640, 3), 90, np.uint8)


class Operator:
    """Places parts by the grid, and plays trials as it was told to."""

    def __init__(self, graph, out):
        self.graph, self.out = graph, out
        self.node = graph.add(Node("world", namespace="fr3"))
        qos = topics.stream_qos(5)
        create = self.node.create_publisher
        self.parts = {
            name: create(PoseStamped, topics.part_pose(name), qos) for name in PEG_IN_HOLE.observed
        }
        self.image = create(Image, topics.image("overview"), qos)
        self.grid = None
        self.play = []
        """For each trial: height of the peg at the end (m), success, or an error."""
        self.seeds = []
        self.shift_m = 0.0
        self.has_person = False
        self.is_asked_to_end = False

    def attach(self, node):
        self.graph.executor.add_node(node)

    def detach(self, node):
        self.graph.executor.remove_node(node)

    def wait_until_ready(self):
        self.grid = load_grid(self.out / "grid.yaml", PEG_IN_HOLE)

    def prepare(self, seed):
        self.seeds.append(seed)
        (start,) = [s for s in self.grid.starts if s.seed == seed]
        self.poses = {name: pose.copy() for name, pose in start.poses.items()}
        self.poses["peg"][0] += self.shift_m

    def publish(self):
        stamp_ns = time.time_ns()
        for name, pose in self.poses.items():
            message = PoseStamped()
            messages.fill_header_inplace(message.header, stamp_ns, messages.BASE_FRAME)
            messages.fill_pose_inplace(message.pose, pose)
            self.parts[name].publish(message)
        image = Image()
        messages.fill_image_inplace(image, stamp_ns, "camera", GREY)
        self.image.publish(image)

    def wait(self, done, timeout_s, what):
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline, what
            self.publish()
            self.graph.executor.spin_once(timeout_sec=0.02)

    def run_episode(self, seed, max_steps, on_step):
        height, success = self.play.pop(0)
        if isinstance(height, Exception):
            raise height
        self.poses["peg"][2] += height
        bags = self.out / "bags"
        (bags / f"bag_{len(list(bags.iterdir())) + 1}").mkdir()
        self.is_asked_to_end = False
        end_s = time.monotonic() + (10.0 if self.has_person else 0.3)

        def is_over():
            on_step(0.5)
            return self.is_asked_to_end or time.monotonic() > end_s

        self.wait(is_over, 5, "the trial")
        return EpisodeResult(success, 7, 0.7, seed, "time limit"), None, 1.0


class Keys:
    """What a person types, one key at each look."""

    def __init__(self, text):
        self.text = list(text)

    def take(self):
        return [(self.text.pop(0), 0.0)] if self.text else []


@pytest.fixture
def start(graph, tmp_path, policies, monkeypatch):
    """Runs an evaluation of two starts; gives the operator before it begins."""
    out = tmp_path / "out"
    operator = Operator(graph, out)

    graphs = []

    @contextlib.contextmanager
    def running_graph(asked, *_):
        graphs.append(asked)
        yield operator

    monkeypatch.setattr(run, "running_graph", running_graph)
    monkeypatch.setattr(run, "check_graph", lambda graph: graph.require_policy())
    console = Console(file=io.StringIO(), width=200)

    def start(play, keys=None, robot="sim", names=("a",), **options):
        operator.play, operator.seeds, operator.has_person = list(play), [], keys is not None
        folders = tuple(policies[0].parent / f"link_{name}" for name in names)
        for folder in folders:
            if not folder.exists():
                folder.symlink_to(policies[0])
        asked = BenchOptions(
            "peg_in_hole",
            robot,
            folders,
            **{"grid": "2", "out": out, "camera": "overview"} | options,
        )
        report = run_bench(asked, console, None if keys is None else Keys(keys))
        return report, operator, console.file.getvalue()

    start.out, start.graphs = out, graphs
    return start


def counts(report, number=0):
    row = report["policies"][number]
    return {name: (s["reached"], s["n"]) for name, s in row["stages"].items()}


def test_the_simulated_bench_judges_by_poses_and_every_policy_has_the_same_starts(start):
    report, operator, text = start([(0.1, False), (0.0, True)] * 2, names=("a", "b"))
    assert operator.seeds == [0, 1, 0, 1]
    assert counts(report) == counts(report, 1)
    assert counts(report) == {
        "corner": (0, 0),
        "grasp": (2, 2),
        "insert": (1, 2),
        "advance": (1, 2),
        "complete": (1, 2),
    }
    assert json.loads((start.out / "bench.json").read_text())["policies"] == report["policies"]
    assert "1/2 [9, 91]" in text
    bags = [trial["bag"] for trial in report["trials"]]
    assert bags == ["bag_1", "bag_2", "bag_3", "bag_4"]
    picture = (start.out / "next_start.jpg").read_bytes()
    assert len(picture) > 1000


def test_cameras_and_tags_reach_every_graph(start, monkeypatch):
    monkeypatch.setattr(bench, "PICTURE_S", 0.1)
    # the first key of each start is from before the question; all are skipped
    files = {"camera_config": "cameras.yaml", "tag_config": "tags.yaml"}
    names = ("a", "b")
    keys = "\ns\ns" * len(names)
    report, *_ = start([], keys, robot="127.0.0.1", names=names, camera="front", **files)
    assert [row["skipped"] for row in report["policies"]] == [2, 2]
    assert len(start.graphs) == 2
    for graph in start.graphs:
        assert (graph.camera_config, graph.tag_config) == ("cameras.yaml", "tags.yaml")
        assert graph.record == str(start.out / "bags")


def test_what_cannot_be_drawn_is_told_before_anything_starts(start, tmp_path):
    bad = tmp_path / "mine.yaml"
    bad.write_text("front: {position: [0, 0]}")
    with pytest.raises(ConfigError, match="'wrist' does not stand on the bench"):
        start([], camera="wrist")
    with pytest.raises(ConfigError, match=r"where camera front stands from .*mine\.yaml"):
        start([], "", robot="127.0.0.1", camera="front", extrinsics=bad)
    with pytest.raises(ConfigError, match=r"mine\.yaml: camera front: expected a source"):
        start([], camera_config=str(bad))
    assert start.graphs == []
    assert not start.out.exists()


def test_an_interrupted_evaluation_goes_on(start):
    with pytest.raises(ResipError, match="the arm"):
        start([(0.1, False), (ResipError("the arm is gone"), False)])
    report, operator, _ = start([(0.1, False)])
    assert operator.seeds == [1]
    assert counts(report)["grasp"] == (2, 2)
    _, operator, _ = start([])
    assert operator.seeds == []
    with pytest.raises(ConfigError, match="--grid asks for 3"):
        start([], grid="3")


def test_a_person_places_judges_corrects_repeats_and_skips(start):
    # the first key of each start is from before the question, and does not count
    # start 0: begin, grasp and insertion, end; corrected to all; start 1: again, then skipped
    keys = "5\n" + "23" + "\n" + "5" + "\n" + "\n\n" + "1\n" + "r" + "\ns"
    report, operator, text = start([(0.0, False)] * 2, keys, robot="127.0.0.1")
    assert operator.seeds == [0, 1, 1]
    assert counts(report) == dict.fromkeys(report["stages"], (1, 1))
    assert [t["status"] for t in report["trials"]] == ["done", "void", "skipped"]
    assert report["policies"][0]["skipped"] == 1
    assert "reached: insert" in text


def test_q_ends_and_keeps_what_was_done(start):
    keys = "\n\n" + "2\n" + "\n" + "\nq"
    report, _, _ = start([(0.0, False)], keys, robot="127.0.0.1")
    assert counts(report)["grasp"] == (1, 1)
    assert counts(report)["insert"] == (0, 1)


def test_parts_that_the_simulation_puts_elsewhere_are_told(start, monkeypatch):
    monkeypatch.setattr(bench, "PICTURE_S", 0.1)
    start.out.mkdir()
    grid = build_grid(PEG_IN_HOLE, 2, 0)
    grid.starts[0].poses["peg"][0] += 0.02
    save_grid(start.out / "grid.yaml", grid)

    def play(operator_prepare):
        def prepare(self, seed):
            operator_prepare(self, seed)
            self.poses["peg"][0] -= 0.02

        return prepare

    monkeypatch.setattr(Operator, "prepare", play(Operator.prepare))
    with pytest.raises(ConfigError, match=r"start 0.*20.0 mm.*edited by hand"):
        start([(0.0, False)])


def test_a_student_without_its_cameras(tmp_path):
    """It is refused before the first policy's trials, which may take an hour."""
    policies = models_dir() / "mug_rack", models_dir() / "mug_rack" / "student"
    asked = BenchOptions("mug_rack", "sim", policies, grid="2", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="student sees .* no camera front, wrist runs"):
        run_bench(asked, Console(quiet=True), None)
    assert not (tmp_path / "out").exists()
