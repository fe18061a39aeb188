# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros import cli
from resip_ros.bags.reader import find_bags
from resip_ros.bags.sidecar import Episode, load_episode, write_episode

from .script import Script


def test_review_labels_drops_and_shows(closed_bag, capsys):
    write_episode(closed_bag, Episode("one_leg", state="saved"))
    folder = str(closed_bag.parent)
    assert cli.main(["review", folder, "--success", "yes", "first"]) == 0
    assert load_episode(closed_bag).success is True
    assert "first" in capsys.readouterr().out
    assert cli.main(["review", folder, "--drop", "first"]) == 1
    captured = capsys.readouterr()
    assert ".trash/first" in captured.out
    assert "has no bags" in captured.err
    assert cli.main(["review", folder, "--keep", "first"]) == 0


@pytest.mark.parametrize("answer", [["maybe", "first"], ["yes"]], ids=["no yes or no", "no name"])
def test_a_label_needs_yes_or_no_and_names(closed_bag, capsys, answer):
    assert cli.main(["review", str(closed_bag.parent), "--success", *answer]) == 1
    assert "--success yes NAME" in capsys.readouterr().err


def test_repair_tells_about_each_bag(closed_bag, notes, capsys):
    notes.write(closed_bag.parent / "crashed", 100).abandon()
    (closed_bag.parent / "nothing").mkdir()
    names = [str(closed_bag.parent / n) for n in ("first", "crashed", "nothing")]
    assert cli.main(["repair", *names]) == 1
    captured = capsys.readouterr()
    first, crashed = captured.out.splitlines()
    assert "whole, nothing to repair" in first
    assert "rescued 100 messages" in crashed
    assert "nothing to rescue" in captured.err


def test_record_wants_a_known_task(capsys, tmp_path):
    assert cli.main(["record", str(tmp_path), "--task", "one_legg"]) == 1
    assert "did you mean 'one_leg'" in capsys.readouterr().err


def test_episodes_are_drawn_and_a_bad_bag_does_not_stop_the_others(
    closed_bag, notes, capsys, tmp_path
):
    folder = closed_bag.parent
    script = Script()
    script.joints(0.0, np.zeros(7), 0.06)
    script.write(folder / "second")
    script.write_foreign(folder / "third")
    notes.write(folder / "crashed", 10).abandon()
    assert cli.main(["review", str(folder), "--plot"]) == 1
    captured = capsys.readouterr()
    pictures = sorted(p.name for p in (folder / "review").iterdir())
    assert pictures == ["second.png", "third.png"]
    assert f"{folder / 'review' / 'second.png'}; no pictures in this bag" in captured.out
    first, crashed = sorted(captured.err.splitlines(), key=lambda line: "crashed" in line)
    assert "first has nothing to draw" in first
    assert "resip repair" in crashed
    # the pictures are no bag, and chosen ones are drawn alone
    (folder / "review" / "second.png").unlink()
    assert cli.main(["review", str(folder), "--plot", "third"]) == 0
    assert [p.name for p in (folder / "review").iterdir()] == ["third.png"]
    assert "review" not in [bag.name for bag in find_bags(folder)]
    assert cli.main(["review", str(folder), "--plot", "third", "nothing"]) == 1
    assert "has no bag nothing" in capsys.readouterr().err
