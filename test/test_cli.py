# SPDX-License-Identifier: Apache-2.0
import io

import mujoco  # noqa: F401 (its first import starts a process, which a test here forbids)
import pytest

from resip_ros import cli


def fail(capsys, *args):
    """Runs a command that must end in a one-line error; returns the line."""
    assert cli.main(args) == cli.EXIT_ERROR
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1
    assert captured.out == ""
    return lines[0]


def test_unknown_task_is_named_with_the_nearest(capsys):
    line = fail(capsys, "up", "one_legg")
    assert "one_legg" in line
    assert "did you mean 'one_leg'" in line


@pytest.mark.parametrize(
    "arguments", [("teleop",), ("bench-eval", "--policy", "x", "--grid", "2")], ids=lambda a: a[0]
)
def test_a_task_with_two_arms_is_told_what_goes(capsys, arguments):
    command, *options = arguments
    line = fail(capsys, command, "biman_insert", *options)
    assert "has 2 arms, this command drives one so far" in line
    assert "training.view biman_insert" in line


def test_a_task_without_a_policy_is_told_which_have_one(capsys):
    assert "tasks that come with one: lamp, mug_rack, one_leg, peg_in_hole." in fail(
        capsys, "up", "round_table"
    )


def test_a_real_bench_wants_a_person(capsys):
    options = ("--robot", "172.16.0.2", "--policy", "x", "--grid", "2")
    assert "needs a person" in fail(capsys, "bench-eval", "one_leg", *options)
    assert "needs a terminal" in fail(capsys, "teleop", "one_leg", "--robot", "172.16.0.2")


COMMANDS = [
    ("up", "--headless"),
    ("teleop", "--device", "joy"),
    ("bench-eval", "--policy", "models/one_leg", "--grid", "2"),
]
"""Those that start the graph."""


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: a[0])
def test_a_bad_file_of_the_bench_starts_nothing(capsys, tmp_path, monkeypatch, arguments):
    command, *options = arguments
    monkeypatch.setattr("subprocess.Popen", None)
    options += ["--out", str(tmp_path / "out")]
    (tmp_path / "mine.yaml").write_text("front: {source: sim, rate: 3}")
    line = fail(capsys, command, "one_leg", *options, "--cameras", str(tmp_path / "mine.yaml"))
    assert "mine.yaml: camera front: unknown keys ['rate']" in line
    line = fail(capsys, command, "one_leg", *options, "--cameras", "none.yaml")
    assert "none.yaml is no file" in line
    line = fail(capsys, command, "one_leg", *options, "--tags", "tags.yaml")
    assert "tags are of a real one" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda a: a[0])
def test_cameras_and_tags_are_options_of_each(arguments):
    command, *options = arguments
    parser = cli.build_parser()
    given = ["--cameras", "c.yaml", "--tags", "t.yaml"]
    parsed = parser.parse_args([command, "one_leg", *options, *given])
    assert (parsed.cameras, parsed.tags) == ("c.yaml", "t.yaml")
    parsed = parser.parse_args([command, "one_leg", *options])
    assert (parsed.cameras, parsed.tags) == ("", "")


def test_a_camera_that_is_not_in_the_file_is_refused(capsys, tmp_path):
    options = ("--policy", "x", "--grid", "2", "--out", str(tmp_path / "out"))
    given = ("--cameras", "sim_cameras.yaml")
    line = fail(capsys, "bench-eval", "one_leg", *options, *given, "--camera", "overview")
    assert "camera 'overview' is not in sim_cameras.yaml" in line
    line = fail(capsys, "bench-eval", "one_leg", *options, *given, "--camera", "wrist")
    assert "camera 'wrist' does not stand on the bench" in line


def test_missing_policy(capsys, tmp_path):
    line = fail(capsys, "up", "one_leg", "--policy", str(tmp_path), "--out", str(tmp_path / "o"))
    assert "no policy for one_leg" in line
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "args",
    [("up",), ("up", "one_leg", "--episodes", "0"), ("up", "one_leg", "--seed", "x"), ("fly",)],
)
def test_wrong_arguments_are_refused_with_usage(capsys, args):
    with pytest.raises(SystemExit) as stop:
        cli.main(args)
    assert stop.value.code == 2
    assert "usage: resip" in capsys.readouterr().err


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["up", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for word in ("--shadow", "result.json", "resip up one_leg --robot sim"):
        assert word in text


def test_a_real_arm_does_not_move_unasked(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.main(["up", "one_leg", "--robot", "127.0.0.9"]) == cli.EXIT_ERROR
    assert "nobody confirmed that the arm may move" in capsys.readouterr().err
