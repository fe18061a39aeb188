# SPDX-License-Identifier: Apache-2.0
"""Which actions are covered, by hand, and which datasets are refused."""

import json

import numpy as np
import pytest

from training.coverage import commanded_positions, find_covered, main
from training.dataset import build_demonstrations, write_demonstrations

PNG = b"\x89PNG\r\n\x1a\n"


def write(path, task, positions, arms=1):
    """A dataset of one episode whose actions command these positions (n, 3)."""
    dim = {"peg_in_hole": 37, "one_leg": 58, "biman_insert": 46}[task]
    action = np.zeros((len(positions), 10 * arms), np.float32)
    action[:, :3] = positions
    obs = np.zeros((len(positions), dim), np.float32)
    write_demonstrations(path, build_demonstrations(task, [obs], [action], source="test", seed=0))
    return str(path)


def test_the_cube_decides_not_the_distance():
    second = np.array([[[0.4101, -0.0001, 0.1]]])
    first = np.array([[0.4199, -0.0099, 0.1099], [0.4099, -0.0001, 0.1], [0.4101, 0.0001, 0.1]])
    assert find_covered(first[:, None], second).ravel().tolist() == [True, False, False]


def test_each_arm_is_covered_by_itself():
    here, there = [0.4, 0.0, 0.1], [0.8, 0.0, 0.1]
    first = np.array([[here, there]])
    assert find_covered(first, first).tolist() == [[True, True]]
    assert find_covered(first, np.array([[there, here]])).tolist() == [[False, False]]
    action = np.arange(20.0)[None]
    np.testing.assert_array_equal(commanded_positions(action), [[[0, 1, 2], [10, 11, 12]]])


def test_the_share_is_printed_and_drawn(tmp_path, capsys):
    first = write(tmp_path / "real.zarr", "peg_in_hole", [[0.4, 0, 0.1]] * 3 + [[0.5, 0, 0.1]])
    second = write(tmp_path / "sim.zarr", "peg_in_hole", [[0.401, 0.001, 0.101]])
    out = tmp_path / "new" / "coverage.png"
    assert main([first, second, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(PNG)
    assert "75.0 % of the positions that real commands are covered by sim" in (
        capsys.readouterr().out
    )
    assert main([second, first, "--out", str(out)]) == 0
    assert "100.0 % of the positions that sim" in capsys.readouterr().out


def test_two_arms_are_drawn(tmp_path, capsys):
    both = write(tmp_path / "both.zarr", "biman_insert", [[0.4, 0, 0.1]], arms=2)
    assert main([both, both, "--out", str(tmp_path / "a.png")]) == 0
    assert "biman_insert: 100.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("second", "out", "message"),
    [
        ("none.zarr", "a.png", "no dataset at"),
        ("leg.zarr", "a.png", 'attribute task is "one_leg", expected "peg_in_hole"'),
        ("peg.zarr", "a.pdf", "expected a file that ends in .png"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, second, out, message):
    first = write(tmp_path / "peg.zarr", "peg_in_hole", [[0.4, 0, 0.1]])
    write(tmp_path / "leg.zarr", "one_leg", [[0.4, 0, 0.1]])
    assert main([first, str(tmp_path / second), "--out", str(tmp_path / out)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("training.coverage: ")
    assert message in line
    assert not (tmp_path / out).exists()


def test_a_broken_first_dataset_is_refused(tmp_path, capsys):
    folder = tmp_path / "x.zarr"
    folder.mkdir()
    (folder / "zarr.json").write_text(json.dumps({"node_type": "group", "zarr_format": 3}))
    assert main([str(folder), str(folder), "--out", str(tmp_path / "a.png")]) == 1
    assert "is no dataset of training.collect" in capsys.readouterr().err
