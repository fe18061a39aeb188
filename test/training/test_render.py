# SPDX-License-Identifier: Apache-2.0
"""Re-rendering: the same for any number of processes and after an interruption."""

import dataclasses

import mujoco
import numpy as np
import pytest
import zarr

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.images import POLICY_CAMERAS, image_array
from resip_ros.sim.gl import NoRenderingError, find_backend
from resip_ros.sim.scene import build_scene
from training import render as program
from training.dataset import build_demonstrations, read_demonstrations, write_demonstrations
from training.image_dataset import ImageReader
from training.render import RenderSettings, picture_file, run, shown_rows

TASK = "peg_in_hole"


@pytest.fixture(scope="module", autouse=True)
def _graphics():
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two episodes of 6 and 4 steps in which the peg moves along y."""
    config = load_control_config()
    model = build_scene(TASK, config).compile()
    state = mujoco.MjData(model)
    state.qpos[:7] = config.home_joints
    rows = np.tile(np.concatenate([state.qpos, state.mocap_pos.ravel()]), (10, 1))
    rows[:, model.joint("peg").qposadr[0] + 1] += np.linspace(0.0, 0.1, 10)
    obs, action = np.zeros((10, 37)), np.zeros((10, 10))
    cut = [slice(0, 6), slice(6, 10)]
    demos = build_demonstrations(
        TASK,
        [obs[c] for c in cut],
        [action[c] for c in cut],
        source="test",
        seed=0,
        sim_states=[rows[c] for c in cut],
    )
    path = tmp_path_factory.mktemp("render") / "demos.zarr"
    write_demonstrations(path, demos)
    return path


def pictures(path) -> dict[str, np.ndarray]:
    reader = ImageReader(path, POLICY_CAMERAS, 10)
    reader.check()
    return {n: np.stack([reader.read(n, row) for row in range(10)]) for n in POLICY_CAMERAS}


@pytest.fixture(scope="module")
def drawn(data):
    out = data.with_name("one.zarr")
    figures = run(RenderSettings(data, out, seed=3))
    assert (figures["steps"], figures["drawn"]) == (10, 10)
    return out


def test_processes_change_nothing(data, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "_UNIT_FRAMES", 4)
    run(RenderSettings(data, tmp_path / "two.zarr", seed=3, processes=2))
    one, two = pictures(drawn), pictures(tmp_path / "two.zarr")
    for name in POLICY_CAMERAS:
        np.testing.assert_array_equal(one[name], two[name])
        # another look in every frame
        assert len(np.unique(one[name][:, 200, 160], axis=0)) > 5


def test_an_interrupted_one_goes_on(data, drawn, tmp_path, monkeypatch):
    settings = RenderSettings(data, tmp_path / "cut.zarr", seed=3)
    original = program._Worker.draw

    def interrupted(self, row):
        if row == 9:
            raise KeyboardInterrupt
        return original(self, row)

    monkeypatch.setattr(program._Worker, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    with pytest.raises(DataError, match="no complete pictures"):
        ImageReader(settings.out, POLICY_CAMERAS, 10)
    monkeypatch.setattr(program._Worker, "draw", original)
    with pytest.raises(ConfigError, match="go on with --resume"):
        run(settings)
    with pytest.raises(ConfigError, match="'seed': 3"):
        run(dataclasses.replace(settings, seed=4, resume=True))
    assert run(dataclasses.replace(settings, resume=True))["drawn"] == 1
    for name in POLICY_CAMERAS:
        np.testing.assert_array_equal(pictures(drawn)[name], pictures(settings.out)[name])
    assert picture_file(settings.out, "front", 9).is_file()


def test_what_an_earlier_version_began_is_not_mixed(data, tmp_path):
    settings = RenderSettings(data, tmp_path / "old.zarr", seed=3)
    program.prepare(settings)
    group = zarr.open_group(str(settings.out), mode="r+")
    group.create_array(
        "image_front", shape=(10, 240, 320, 3), chunks=(4, 240, 320, 3), dtype="u1", overwrite=True
    )
    with pytest.raises(ConfigError, match="begun by an earlier version"):
        run(dataclasses.replace(settings, resume=True))


def test_the_stand_in_shows_the_step_before(data, tmp_path):
    episode, rows = shown_rows(read_demonstrations(data, TASK), 1)
    assert episode.tolist() == [0] * 6 + [1] * 4
    assert rows.tolist() == [0, 0, 1, 2, 3, 4, 6, 6, 7, 8]


def test_demonstrations_without_states_are_refused(tmp_path):
    demos = build_demonstrations(
        TASK, [np.zeros((3, 37))], [np.zeros((3, 10))], source="bags", seed=0
    )
    write_demonstrations(tmp_path / "bags.zarr", demos)
    with pytest.raises(DataError, match="no sim_state"):
        run(RenderSettings(tmp_path / "bags.zarr", tmp_path / "x.zarr"))
    with pytest.raises(DataError, match="no dataset"):
        run(RenderSettings(tmp_path / "none.zarr", tmp_path / "x.zarr"))
    assert not (tmp_path / "x.zarr").exists()


def test_scenes_of_another_width_or_size_are_refused(data, tmp_path):
    demos = read_demonstrations(data, TASK)
    narrow = dataclasses.replace(demos, sim_state=demos.sim_state[:, :-1])
    far = demos.sim_state.copy()
    far[2, 0] = 1e30
    for states, reason in (
        (narrow, f"columns, expected .* of {TASK}'s scene"),
        (dataclasses.replace(demos, sim_state=far), "sim_state holds 1e.30 in row 2"),
    ):
        write_demonstrations(tmp_path / "bad.zarr", states)
        with pytest.raises(DataError, match=reason):
            run(RenderSettings(tmp_path / "bad.zarr", tmp_path / "x.zarr"))
        assert not (tmp_path / "x.zarr").exists()
    with pytest.raises(ConfigError, match="--seed: got -1"):
        RenderSettings(data, tmp_path / "x.zarr", seed=-1)


def test_a_dataset_keeps_everything_else(data, drawn):
    before, after = zarr.open_group(data, mode="r"), zarr.open_group(drawn, mode="r")
    for name in ("state_obs", "action", "episode_ends", "sim_state"):
        np.testing.assert_array_equal(before[name][:], after[name][:])
    assert after.attrs["images"] == list(POLICY_CAMERAS)
    assert after[image_array("front")].shape == (10, 240, 320, 3)
