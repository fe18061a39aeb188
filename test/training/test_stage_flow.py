# SPDX-License-Identifier: Apache-2.0
"""Counts of a flow by hand, what is drawn of them, and which files are refused."""

import json

import pytest
from matplotlib.figure import Figure

from resip_ros.core.errors import DataError
from training.stage_flow import draw, main, read_flow

PNG = b"\x89PNG\r\n\x1a\n"


def episode(stage="", reason=""):
    return {"success": stage == "", "stage": stage, "reason": reason}


def write(path, episodes, task="one_leg", **more):
    """An evaluation of these episodes, as training.evaluate writes it."""
    figures = {
        "task": task, "policy": "models/p", "n": len(episodes), "seed": 1, "randomness": "low",
        "perturb": False, "success_rate": 0.5, "episodes": episodes, **more,
    }  # fmt: skip
    path.write_text(json.dumps(figures))
    return path


@pytest.fixture
def some(tmp_path):
    """Ten episodes of one_leg: one drops the leg, three do not insert, six succeed."""
    failed = [("grasp", "thrown"), *[("insert", "time limit")] * 2, ("insert", "reflex")]
    return write(tmp_path / "some.json", [episode(*end) for end in failed] + [episode()] * 6)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_every_episode_is_counted_where_it_ended(some):
    flow = read_flow(some)
    assert flow.stages == ("grasp", "insert", "advance", "complete")
    assert flow.reached == (10, 9, 6, 6, 6)
    assert flow.reasons == ({"thrown": 1}, {"time limit": 2, "reflex": 1}, {}, {})
    assert flow.label == (
        "models/p on one_leg, low randomness: 6 of 10 episodes succeed, 60 % (95 %: 31 to 83)"
    )


def test_stages_follow_the_task_not_the_order_of_failures(tmp_path):
    ends = ["hood insert", "bulb complete", "hood complete"]
    file = write(tmp_path / "a.json", [episode(end, "time limit") for end in ends], "lamp")
    flow = read_flow(file)
    assert flow.stages[3:5] == ("bulb complete", "hood grasp")
    assert flow.reached == (3, 3, 3, 3, 2, 2, 1, 1, 0)


def test_numbers_and_heights_are_those_of_the_flow(some):
    figure = draw([read_flow(some)])
    assert texts(figure)[:5] == [
        "grasp\n10",
        "insert\n9",
        "advance\n6",
        "complete\n6",
        "success\n6",
    ]
    assert texts(figure)[5:] == [
        "1 end in grasp:\nthrown",
        "3 end in insert:\n2 time limit\n1 reflex",
    ]
    bars = [band.get_paths()[0].get_extents() for band in figure.axes[0].collections[:5]]
    assert [round(bar.height, 6) for bar in bars] == [1.0, 0.9, 0.6, 0.6, 0.6]
    assert {round(bar.y1, 6) for bar in bars} == {1.0}


def test_one_panel_an_evaluation_whatever_its_task(some, tmp_path, capsys):
    lamp = write(tmp_path / "lamp.json", [episode()], "lamp", perturb=True)
    out = tmp_path / "new" / "flow.png"
    assert main([str(some), str(lamp), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(PNG)
    printed = capsys.readouterr().out
    assert "grasp 10, insert 9, advance 6, complete 6, success 6" in printed
    assert "lamp, low randomness, parts pushed about: 1 of 1" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stage": "screw"}, "episode 0 failed in stage 'screw'.*one of grasp, insert"),
        ({"stage": ""}, "failed in stage ''"),
        ({"reason": ""}, "for the reason ''"),
    ],
)
def test_an_end_that_the_task_does_not_have_is_refused(tmp_path, change, message):
    file = write(tmp_path / "a.json", [{**episode("grasp", "reflex"), **change}])
    with pytest.raises(DataError, match=message):
        read_flow(file)


def test_bad_input_is_one_line(some, tmp_path, capsys):
    out = tmp_path / "a.png"
    for arguments, message in (
        (["--out", str(out)], ""),
        ([str(some), "--out", str(tmp_path / "a.svg")], "expected a file that ends in .png"),
        ([str(tmp_path / "none.json"), "--out", str(out)], "none.json is not an evaluation"),
        ([str(write(tmp_path / "e.json", [])), "--out", str(out)], "e.json has no episode"),
        ([str(write(tmp_path / "t.json", [], "lamb")), "--out", str(out)], "did you mean 'lamp'"),
    ):
        assert main(arguments) != 0
        err = capsys.readouterr().err
        assert err.startswith("training.stage_flow: ")
        assert message in err
        assert len(err.splitlines()) == 1
        assert not out.exists()
