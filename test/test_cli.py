# SPDX-License-Identifier: Apache-2.0
import io

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
    assert "tasks that come with one: one_leg, peg_in_hole" in fail(capsys, "up", "lamp")


def test_a_real_bench_wants_a_person(capsys):
    options = ("--robot", "172.16.0.2", "--policy", "x", "--grid", "2")
    assert "needs a person" in fail(capsys, "bench-eval", "one_leg", *options)
    assert "needs a terminal" in fail(capsys, "teleop", "one_leg", "--robot", "172.16.0.2")


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
