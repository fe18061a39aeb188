# SPDX-License-Identifier: Apache-2.0
"""Parts: kept when whole, made once, the same for any number of processes."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError, DataError
from training.collect import CollectSettings, run
from training.collect_parts import Part, PartStore, join_parts, run_parts
from training.dataset import read_demonstrations


def make_part(settings: int, number: int, *, quiet: bool = False) -> Part:
    """Two episodes of lengths that tell the part, or none for part 9."""
    del quiet
    if number == 9:
        return Part(attempts=3, failures={"thrown": 3})
    lengths = [2 + number, settings]
    return Part(
        [np.full((n, 37), number + 0.5) for n in lengths],
        [np.full((n, 10), number) for n in lengths],
        [np.full((n, 5), -number) for n in lengths],
        attempts=4,
        failures={"thrown": 2},
    )


def equal(left: Part, right: Part) -> bool:
    pairs = [(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(Part)]
    return all(
        len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        if isinstance(a, list)
        else a == b
        for a, b in pairs
    )


def test_a_part_comes_back_as_it_was_saved(tmp_path):
    store = PartStore(tmp_path / "x.zarr", {"seed": "1"}, resume=False)
    for number in (0, 9):
        store.save(number, make_part(3, number))
        assert equal(store.load(number), make_part(3, number))
    path = store.folder / "part-00000.npz"
    for damaged in (b"cut", b"", path.read_bytes()[:-200]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot read"):
            store.load(0)


@pytest.mark.parametrize("text", [None, "", "{", "3"])
def test_parts_of_unknown_settings_are_not_taken_over(tmp_path, text):
    store = PartStore(tmp_path / "x.zarr", {"seed": "1"}, resume=False)
    store.save(0, make_part(3, 0))
    (store.folder / "settings.json").unlink()
    if text is not None:
        (store.folder / "settings.json").write_text(text)
    with pytest.raises(DataError, match=r"cannot read .*settings\.json.*: remove"):
        PartStore(tmp_path / "x.zarr", {"seed": "1"}, resume=True)


def test_an_interrupted_collection_goes_on(tmp_path):
    made = []

    def interrupted(settings, number, *, quiet=False):
        made.append(number)
        if len(made) == 3:
            raise KeyboardInterrupt
        return make_part(settings, number, quiet=quiet)

    out = tmp_path / "x.zarr"
    with pytest.raises(KeyboardInterrupt):
        run_parts(PartStore(out, {"seed": "1"}, resume=False), interrupted, 3, 4, 1)
    with pytest.raises(ConfigError, match="--resume"):
        PartStore(out, {"seed": "1"}, resume=False)
    with pytest.raises(ConfigError, match="seed = 1, now it is 2"):
        PartStore(out, {"seed": "2"}, resume=True)
    store = PartStore(out, {"seed": "1"}, resume=True)
    parts = run_parts(store, interrupted, 3, 4, 1)
    assert made == [0, 1, 2, 2, 3]
    assert all(equal(part, make_part(3, k)) for k, part in enumerate(parts))
    store.remove()
    assert not store.folder.exists()


def test_joined_parts_are_one_dataset(tmp_path):
    parts = run_parts(PartStore(tmp_path / "a", {}, resume=False), make_part, 3, 3, 1)
    data = join_parts("peg_in_hole", [*parts, make_part(3, 9)], source="test", seed=0)
    assert data.episode_ends.tolist() == [2, 5, 8, 11, 15, 18]
    assert data.sim_state is not None
    assert data.sim_state.shape == (18, 5)


def test_processes_change_nothing(tmp_path):
    """The scripted operator of the smallest task, in two parts."""
    settings = CollectSettings(
        "peg_in_hole", tmp_path / "1", episodes=2, parts=2, envs=1, num_threads=1, max_attempts=4
    )
    run(settings)
    run(dataclasses.replace(settings, out=tmp_path / "2", processes=2))
    one, two = (read_demonstrations(tmp_path / n, "peg_in_hole") for n in "12")
    assert one.hash == two.hash
    assert one.sim_state is not None
    np.testing.assert_array_equal(one.sim_state, two.sim_state)
    # attempt 0 of the second part is attempt 2 of the seed
    starts = one.state_obs[np.concatenate([[0], one.episode_ends[:-1]])]
    assert np.abs(starts[0] - starts[1]).max() > 0.01
