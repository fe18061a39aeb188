# SPDX-License-Identifier: Apache-2.0
"""A bundle takes the place of a bundle or of nothing, never of anything else."""

from pathlib import Path

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.policy.bundle_folder import CARD_FILE, WEIGHTS_FILE, check_place, replacing


def put_bundle(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in (CARD_FILE, WEIGHTS_FILE):
        (folder / name).write_text("old")
    return folder


def write(folder: Path) -> None:
    with replacing(folder) as new:
        for name in (CARD_FILE, WEIGHTS_FILE):
            (new / name).write_text("new")


def test_a_new_place_an_empty_folder_and_a_bundle(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (
        tmp_path / "new" / "base",
        tmp_path / "empty",
        put_bundle(tmp_path / "old" / "base"),
    ):
        check_place(folder)
        write(folder)
        assert (folder / CARD_FILE).read_text() == "new"
        assert {entry.name for entry in folder.iterdir()} == {CARD_FILE, WEIGHTS_FILE}
        assert [entry.name for entry in folder.parent.iterdir() if entry.name[0] == "."] == []


def test_what_is_no_bundle_stays(tmp_path):
    policy = put_bundle(tmp_path / "one_leg" / "base").parent
    notes = put_bundle(tmp_path / "mine") / "notes.txt"
    notes.write_text("mine")
    for folder, reason in (
        (policy, "holds base,.*for example .*one_leg/base"),
        (notes.parent, "notes.txt"),
    ):
        for attempt in (check_place, write):
            with pytest.raises(ConfigError, match=f"--out .* is no bundle.*{reason}"):
                attempt(folder)
    assert notes.read_text() == "mine"
    assert (policy / "base" / CARD_FILE).read_text() == "old"
    with pytest.raises(ConfigError, match="is a file; give"):
        check_place(notes)
    assert notes.read_text() == "mine"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "base", Path("/proc/base")):
        with pytest.raises(ConfigError, match="cannot write in .*choose another place"):
            check_place(folder)
