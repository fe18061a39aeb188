# SPDX-License-Identifier: Apache-2.0
"""The sheet of tasks: which pictures stand where, whose episode they are from."""

import re
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from resip_ros.core.errors import ResipError
from resip_ros.core.tasks import TASKS
from resip_ros.sim.gl import NoRenderingError, find_backend
from training import contact_sheet
from training.contact_sheet import SheetSettings, Views, compose_sheet, first_success, run
from training.env import AssemblyEnv
from training.view import Episode


@pytest.fixture
def scripted(monkeypatch):
    """Episodes of one step that lift the hand, with the outcomes of a list, seed by seed."""
    outcomes = ["time is up", "reflex", "assembled"]

    def run_episode(_, env, seed) -> Episode:
        env.reset(states=env.initial_states([0], seed=seed))
        state = env.snapshot(np.zeros(1, dtype=np.int64))
        end = state.qpos[0].copy()
        end[1] -= 0.5
        action = env.hold_action()
        outcome = outcomes[min(seed, len(outcomes) - 1)]
        return Episode(action, action, np.array([state.qpos[0], end]), state.mocap_pos[0], outcome)

    monkeypatch.setattr(contact_sheet, "run_episode", run_episode)
    return outcomes


def solid(red: int) -> np.ndarray:
    return np.full((36, 48, 3), (red, 0, 0), np.uint8)


def test_pictures_stand_in_order_with_names_below() -> None:
    tasks = [Views(f"task{i}", solid(60 * i + 30), solid(60 * i + 60)) for i in range(3)]
    figure = compose_sheet(tasks)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    filled = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 8
    names, reds = [], []
    for axes in filled:
        box, text = axes.get_window_extent(), axes.texts[0]
        column, row = int((box.x0 + box.x1) / 2), int(len(pixels) - (box.y0 + box.y1) / 2)
        names.append(text.get_text())
        reds.append(int(pixels[row, column, 0]))
        label = text.get_window_extent()
        assert 0 < label.y0 < label.y1 <= box.y0
        assert box.x0 < label.x0 < label.x1 < box.x1
    assert names == [f"task{i}: {end}" for i in range(3) for end in ("start", "assembled")]
    assert reds == [30, 60, 90, 120, 150, 180]
    corners = [axes.get_position().corners()[0] for axes in filled]
    assert corners[0][1] == pytest.approx(corners[3][1])
    assert corners[4][1] < corners[0][1], "the third task begins the second row"


def test_first_success_is_taken(scripted) -> None:
    env = AssemblyEnv("one_leg", 1, num_threads=1)
    episode = first_success("one_leg", env)
    expected = env.initial_states([0], seed=2)[0]
    assert episode.outcome == "assembled"
    np.testing.assert_array_equal(episode.mocap_pos, expected.mocap_pos)
    scripted[-1] = "gave up"
    with pytest.raises(ResipError, match="demonstrator of one_leg failed with seeds 0 to 9"):
        first_success("one_leg", env)


def test_sheet_of_a_task(scripted, tmp_path: Path, monkeypatch) -> None:
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))
    drawn = []
    compose = contact_sheet.compose_sheet
    monkeypatch.setattr(contact_sheet, "TASKS", {"one_leg": TASKS["one_leg"]})
    monkeypatch.setattr(
        contact_sheet, "compose_sheet", lambda views: drawn.extend(views) or compose(views)
    )
    out = tmp_path / "deep" / "tasks.png"
    run(SheetSettings(out))
    (views,) = drawn
    assert views.start.shape == views.end.shape == (360, 480, 3)
    assert np.abs(views.start.astype(int) - views.end).mean() > 1.0
    picture = imageio.imread(out)
    assert picture.shape[1] > 2 * picture.shape[0]
    assert picture[..., :3].std() > 5.0


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("tasks.jpg", r"--out: got tasks\.jpg, expected a file that ends in \.png"),
        ("/proc/no_such_folder/tasks.png", "choose another --out"),
    ],
)
def test_bad_file_is_one_line(tmp_path: Path, monkeypatch, capsys, out: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["contact_sheet", "--out", out])
    assert contact_sheet.main() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("training.contact_sheet: ")
    assert re.search(message, line)
