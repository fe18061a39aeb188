# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import yaml

from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import ONE_LEG, PEG_IN_HOLE
from resip_ros.nodes.bench.grid import build_grid, load_grid, save_grid


@pytest.fixture(scope="module")
def grid():
    return build_grid(PEG_IN_HOLE, 2, seed=3)


def test_a_grid_survives_its_file_and_an_edit_changes_its_hash(grid, tmp_path):
    save_grid(tmp_path / "a" / "grid.yaml", grid)
    loaded = load_grid(tmp_path / "a" / "grid.yaml", PEG_IN_HOLE)
    assert loaded.hash == grid.hash
    assert [s.seed for s in loaded.starts] == [3, 4]
    for ours, theirs in zip(grid.starts, loaded.starts, strict=True):
        assert list(ours.poses) == list(PEG_IN_HOLE.observed)
        for name, pose in ours.poses.items():
            np.testing.assert_array_equal(pose, theirs.poses[name])
    loaded.starts[1].poses["peg"][0] += 0.001
    assert loaded.hash != grid.hash


def test_starts_differ_and_the_same_seed_gives_the_same(grid):
    assert np.abs(grid.starts[0].poses["peg"] - grid.starts[1].poses["peg"]).max() > 1e-3
    assert build_grid(PEG_IN_HOLE, 1, seed=4).starts[0].poses["peg"] == pytest.approx(
        grid.starts[1].poses["peg"]
    )


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda d: d.pop("starts"), "lacks"),
        (lambda d: d["starts"].clear(), "no starts"),
        (lambda d: d["starts"][1].pop("seed"), "lacks"),
        (lambda d: d["starts"][1]["poses"].pop("peg"), "start 1 has poses"),
        (lambda d: d["starts"][0]["poses"]["peg"].pop(), "start 0, peg: expected 7"),
        (lambda d: d["starts"][0]["poses"]["peg"].__setitem__(6, 3.0), "norm"),
        (lambda d: d["starts"][0]["poses"].__setitem__("peg", "here"), "no numbers"),
    ],
)
def test_damaged_grids_are_named(grid, tmp_path, spoil, named):
    path = tmp_path / "grid.yaml"
    save_grid(path, grid)
    document = yaml.safe_load(path.read_text())
    spoil(document)
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=named):
        load_grid(path, PEG_IN_HOLE)


def test_a_grid_of_another_task_is_refused(grid, tmp_path):
    save_grid(tmp_path / "grid.yaml", grid)
    with pytest.raises(ConfigError, match="is for task peg_in_hole, expected one_leg"):
        load_grid(tmp_path / "grid.yaml", ONE_LEG)
    with pytest.raises(ConfigError, match="cannot read"):
        load_grid(tmp_path / "none.yaml", ONE_LEG)
