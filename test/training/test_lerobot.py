# SPDX-License-Identifier: Apache-2.0
"""Round trips. That LeRobot 0.4.4 itself loads what is written was tried by hand."""

import json

import numpy as np
import pyarrow.parquet
import pytest
import zarr

from resip_ros.core.errors import DataError, ResipError
from resip_ros.core.images import IMAGE_SHAPE, POLICY_CAMERAS, image_array
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task
from training.dataset import build_demonstrations, read_demonstrations, write_demonstrations
from training.image_dataset import IMAGES_ATTRIBUTE, create_image_arrays
from training.lerobot import Export, Import, export, read_back

LENGTHS = (5, 3)


@pytest.fixture
def dataset(tmp_path):
    """Two short episodes with pictures."""
    rng = np.random.default_rng(0)
    dim = len(observation_names(get_task("one_leg")))
    path = tmp_path / "demos.zarr"
    data = build_demonstrations(
        "one_leg",
        [rng.normal(size=(n, dim)) for n in LENGTHS],
        [rng.normal(size=(n, 10)) for n in LENGTHS],
        source="scripted",
        seed=0,
    )
    write_demonstrations(path, data)
    group = zarr.open_group(str(path), mode="r+")
    create_image_arrays(group, sum(LENGTHS), POLICY_CAMERAS)
    for name in POLICY_CAMERAS:
        pictures = rng.integers(0, 256, (sum(LENGTHS), *IMAGE_SHAPE), dtype=np.uint8)
        group[image_array(name)][:] = pictures
    group.attrs[IMAGES_ATTRIBUTE] = list(POLICY_CAMERAS)
    return path


def test_what_was_exported_comes_back_to_the_last_bit(dataset, tmp_path):
    export(Export(dataset, tmp_path / "lerobot"))
    read_back(Import(tmp_path / "lerobot", tmp_path / "back.zarr"))
    before = read_demonstrations(dataset, "one_leg")
    after = read_demonstrations(tmp_path / "back.zarr", "one_leg")
    assert after.hash == before.hash
    groups = [zarr.open_group(str(p), mode="r") for p in (dataset, tmp_path / "back.zarr")]
    assert groups[1].attrs[IMAGES_ATTRIBUTE] == list(POLICY_CAMERAS)
    for name in POLICY_CAMERAS:
        np.testing.assert_array_equal(*(np.asarray(g[image_array(name)]) for g in groups))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["back.zarr", "demos.zarr", "lerobot"]


def test_files_say_what_the_format_wants(dataset, tmp_path):
    info = export(Export(dataset, tmp_path / "d"))
    assert info == json.loads((tmp_path / "d/meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 10)
    assert (info["total_episodes"], info["total_frames"]) == (2, 8)
    rows = pyarrow.parquet.read_table(tmp_path / "d/data/chunk-000/file-001.parquet").to_pylist()
    assert [row["frame_index"] for row in rows] == [0, 1, 2]
    assert [row["index"] for row in rows] == [5, 6, 7]
    assert rows[1]["timestamp"] == pytest.approx(0.1)
    episodes = pyarrow.parquet.read_table(tmp_path / "d/meta/episodes/chunk-000/file-000.parquet")
    last = episodes.to_pylist()[1]
    assert (last["dataset_from_index"], last["dataset_to_index"]) == (5, 8)
    data = read_demonstrations(dataset, "one_leg")
    stats = json.loads((tmp_path / "d/meta/stats.json").read_text())
    np.testing.assert_allclose(stats["action"]["mean"], data.action.mean(axis=0), rtol=1e-5)
    assert np.shape(stats["observation.images.front"]["mean"]) == (3, 1, 1)
    assert set(info["features"]) == set(rows[0])


def test_a_dataset_without_pictures(dataset, tmp_path):
    group = zarr.open_group(str(dataset), mode="r+")
    del group.attrs[IMAGES_ATTRIBUTE]
    info = export(Export(dataset, tmp_path / "d"))
    assert not any("images" in key for key in info["features"])
    data = read_back(Import(tmp_path / "d", tmp_path / "back.zarr"))
    assert data.num_episodes == 2


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("codebase_version", "v2.1", "is of v2.1; expected v3.0"),
        ("fps", 30, r"has 30 steps/s; one_leg 10"),
    ],
)
def test_other_datasets_are_refused(dataset, tmp_path, key, value, fault):
    export(Export(dataset, tmp_path / "d"))
    path = tmp_path / "d/meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(DataError, match=fault):
        read_back(Import(tmp_path / "d", tmp_path / "back.zarr"))


def test_damaged_and_foreign_folders_are_named(dataset, tmp_path):
    export(Export(dataset, tmp_path / "d"))
    (tmp_path / "d/data/chunk-000/file-001.parquet").write_bytes(b"cut off")
    with pytest.raises(DataError, match="is damaged"):
        read_back(Import(tmp_path / "d", tmp_path / "back.zarr"))
    assert not (tmp_path / "back.zarr").exists()
    with pytest.raises(DataError, match="no LeRobot dataset"):
        read_back(Import(tmp_path, tmp_path / "back.zarr"))
    with pytest.raises(DataError, match="not one of our datasets"):
        export(Export(tmp_path / "nothing", tmp_path / "e"))
    with pytest.raises(ResipError, match="exists already"):
        export(Export(dataset, tmp_path / "d"))
    export(Export(dataset, tmp_path / "whole"))
    with pytest.raises(DataError, match="peg_in_hole needs"):
        read_back(Import(tmp_path / "whole", tmp_path / "back.zarr", task="peg_in_hole"))
