# SPDX-License-Identifier: Apache-2.0
import dataclasses
import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from resip_ros.core.errors import DataError
from resip_ros.policy.normalizer import Normalizer
from training.dataset import (
    ChunkWindows,
    Demonstrations,
    build_demonstrations,
    join_demonstrations,
    new_folder,
    read_demonstrations,
    split_episodes,
    write_demonstrations,
)

LENGTHS = (5, 40, 7)


@pytest.fixture
def data() -> Demonstrations:
    rng = np.random.default_rng(0)
    return build_demonstrations(
        "one_leg",
        [rng.normal(size=(n, 58)) for n in LENGTHS],
        [rng.normal(size=(n, 10)) for n in LENGTHS],
        source="scripted",
        seed=4,
    )


@pytest.fixture
def path(tmp_path: Path, data: Demonstrations) -> Path:
    path = tmp_path / "demos.zarr"
    write_demonstrations(path, data)
    return path


def test_round_trip(path: Path, data: Demonstrations) -> None:
    back = read_demonstrations(path, "one_leg")
    for field in dataclasses.fields(data):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(data, field.name))
    assert back.hash == data.hash
    np.testing.assert_array_equal(back.episode_ends, np.cumsum(LENGTHS))


def test_scenes_are_kept_and_part_of_no_hash(tmp_path: Path, data: Demonstrations) -> None:
    states = np.arange(3.0 * len(data.action), dtype=np.float32).reshape(-1, 3)
    seen = dataclasses.replace(data, sim_state=states)
    write_demonstrations(tmp_path / "a.zarr", seen)
    read = read_demonstrations(tmp_path / "a.zarr", data.task)
    assert read.sim_state is not None
    np.testing.assert_array_equal(read.sim_state, states)
    assert read.hash == data.hash
    with pytest.raises(DataError, match="sim_state has shape"):
        dataclasses.replace(data, sim_state=states[1:])


def test_joined_datasets_count_through(data: Demonstrations) -> None:
    both = join_demonstrations([data, data])
    count = len(data.action)
    assert both.num_episodes == 2 * data.num_episodes
    np.testing.assert_array_equal(
        both.episode_ends[data.num_episodes :], data.episode_ends + count
    )
    np.testing.assert_array_equal(both.action[count:], data.action)
    assert join_demonstrations([data]) is data
    rows = both.rows(np.array([data.num_episodes]))
    np.testing.assert_array_equal(rows, count + data.rows(np.array([0])))


def test_two_arms_at_another_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    obs, action = [rng.normal(size=(4, 46))], [rng.normal(size=(4, 20))]
    data = build_demonstrations("biman_insert", obs, action, source="scripted", seed=1)
    write_demonstrations(tmp_path / "two.zarr", data)
    assert read_demonstrations(tmp_path / "two.zarr", "biman_insert").hash == data.hash
    attributes = zarr.open_group(str(tmp_path / "two.zarr"), mode="r").attrs
    assert (attributes["rate_hz"], len(attributes["action"])) == (50.0, 20)
    with pytest.raises(DataError, match=r"action has shape \(4, 10\), expected \(4, 20\)"):
        dataclasses.replace(data, action=data.action[:, :10])


def test_writing_again_replaces_the_dataset(path: Path, data: Demonstrations) -> None:
    shorter = build_demonstrations(
        "one_leg", [data.state_obs[:5]], [data.action[:5]], source="scripted", seed=4
    )
    write_demonstrations(path, shorter)
    assert read_demonstrations(path, "one_leg").hash == shorter.hash
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_hash_sees_every_array(data: Demonstrations) -> None:
    hashes = {data.hash}
    for name in ("state_obs", "action"):
        changed = getattr(data, name).copy()
        changed[-1, -1] += 1
        hashes.add(dataclasses.replace(data, **{name: changed}).hash)
    ends = data.episode_ends.copy()
    ends[0] += 1
    hashes.add(dataclasses.replace(data, episode_ends=ends).hash)
    assert len(hashes) == 4


def put(name: str, index: object, value: float) -> Callable[[zarr.Group], None]:
    return lambda group: group[name].__setitem__(index, value)


DAMAGE: dict[str, tuple[Callable[[zarr.Group], object], str]] = {
    "other task": (lambda g: g.attrs.update(task="lamp"), "attribute task is .lamp"),
    "other rate": (lambda g: g.attrs.update(rate_hz=50.0), "attribute rate_hz is 50"),
    "other observation": (
        lambda g: g.attrs.update(observation=["x"]),
        'attribute observation is "x" in place 0, expected "ee_x" in place 0',
    ),
    "observation of fewer": (
        lambda g: g.attrs.update(observation=list(g.attrs["observation"])[:-1]),
        "attribute observation is 57 long, expected .* in place 57",
    ),
    "other action": (lambda g: g.attrs.update(action=["x"]), "attribute action"),
    "other version": (lambda g: g.attrs.update(format_version=2), "format_version is 2"),
    "no source": (lambda g: g.attrs.__delitem__("source"), "lacks attributes .*source"),
    "no actions": (lambda g: g.__delitem__("action"), "no array action"),
    "nan observation": (put("state_obs", (44, 3), np.nan), r"state_obs .*row 44 \(episode 1\)"),
    "infinite action": (put("action", (45, 0), np.inf), r"action .*row 45 \(episode 2\)"),
    "ends fall": (put("episode_ends", 1, 3), "episode_ends must rise"),
    "ends too short": (put("episode_ends", 2, 50), r"state_obs has shape \(52, 58\)"),
    "flat observation": (
        lambda g: g.create_array("state_obs", data=np.ones((52, 57), "f4"), overwrite=True),
        r"state_obs has shape \(52, 57\), expected \(52, 58\)",
    ),
    "text ends": (
        lambda g: g.create_array("episode_ends", data=np.ones(3, "f4"), overwrite=True),
        "episode_ends has type float32",
    ),
}


@pytest.mark.parametrize("name", sorted(DAMAGE))
def test_damaged_dataset_is_refused_naming_the_field(path: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    damage(zarr.open_group(str(path), mode="r+"))
    with pytest.raises(DataError, match=reason):
        read_demonstrations(path, "one_leg")


@pytest.mark.parametrize("name", ["state_obs", "action", "episode_ends", "sim_state"])
def test_files_that_are_missing_or_cut_short_are_no_zeros(
    tmp_path: Path, data: Demonstrations, name: str
) -> None:
    states = np.ones((len(data.action), 45), np.float32)
    path = tmp_path / "whole.zarr"
    write_demonstrations(path, dataclasses.replace(data, sim_state=states))
    read_demonstrations(path, "one_leg")
    chunk = next(file for file in (path / name / "c").rglob("*") if file.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"array {name} cannot be read"):
        read_demonstrations(path, "one_leg")
    chunk.unlink()
    with pytest.raises(DataError, match=f"1 of 1 files of array {name} are missing"):
        read_demonstrations(path, "one_leg")
    (path / name / "zarr.json").write_text("{")
    with pytest.raises(DataError, match=f"array {name} cannot be read"):
        read_demonstrations(path, "one_leg")


def test_zeros_are_no_missing_file(tmp_path: Path, data: Demonstrations) -> None:
    path = tmp_path / "still.zarr"
    write_demonstrations(path, dataclasses.replace(data, action=np.zeros_like(data.action)))
    assert not read_demonstrations(path, "one_leg").action.any()


def test_missing_and_foreign_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dataset at .*training\.collect"):
        read_demonstrations(tmp_path / "none.zarr", "one_leg")
    (tmp_path / "file.zarr").write_text("not zarr")
    with pytest.raises(DataError, match="not a zarr group"):
        read_demonstrations(tmp_path / "file.zarr", "one_leg")


def test_episodes_must_have_as_many_actions_as_observations() -> None:
    with pytest.raises(DataError, match="episode 1 has 4 observations, 3 actions"):
        build_demonstrations(
            "one_leg",
            [np.zeros((4, 58))] * 2,
            [np.zeros((4, 10)), np.zeros((3, 10))],
            source="scripted",
            seed=0,
        )


def test_every_step_conditions_a_window_and_the_last_action_repeats(data: Demonstrations) -> None:
    normalizer = Normalizer.fit(data.state_obs, data.action)
    windows = ChunkWindows.cut(data, normalizer, np.array([0, 2]), horizon=8)
    assert len(windows) == LENGTHS[0] + LENGTHS[2]
    obs, action = windows.obs, windows.plans
    all_obs = data.state_obs
    all_action = normalizer.normalize_action(data.action)
    row = 0
    for start, end in ((0, 5), (45, 52)):
        for step in range(start, end):
            np.testing.assert_array_equal(obs[row], all_obs[step])
            expected = [all_action[min(step + k, end - 1)] for k in range(8)]
            np.testing.assert_array_equal(action[row], expected)
            row += 1


@pytest.mark.parametrize(("episodes", "held_out"), [(2, 1), (10, 1), (50, 2), (200, 10)])
def test_split_is_by_episode_and_complete(episodes: int, held_out: int) -> None:
    train, val = split_episodes(episodes, seed=3)
    assert len(val) == held_out
    np.testing.assert_array_equal(np.sort(np.concatenate([train, val])), np.arange(episodes))
    np.testing.assert_array_equal(split_episodes(episodes, seed=3)[1], val)


def test_one_episode_cannot_be_split() -> None:
    with pytest.raises(DataError, match="at least 2 episodes"):
        split_episodes(1, seed=0)


def test_a_new_folder_is_there_whole_or_not_at_all(data: Demonstrations, tmp_path: Path) -> None:
    def fill_the_disk(folder: Path) -> None:
        folder.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    with new_folder(tmp_path / "good") as work:
        write_demonstrations(work, data)
        assert not (tmp_path / "good").exists()
    with (
        pytest.raises(DataError, match="cannot write .*bad"),
        new_folder(tmp_path / "bad") as work,
    ):
        fill_the_disk(work)
    assert [path.name for path in tmp_path.iterdir()] == ["good"]
