# SPDX-License-Identifier: Apache-2.0
"""A figure's file is whole, or was not touched."""

import pytest
from matplotlib.figure import Figure

from resip_ros.core.errors import ConfigError
from training.figure_file import check_png, write_png

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_figure_replaces_what_was_there(tmp_path):
    out = tmp_path / "new" / "a.png"
    check_png(out)
    out.write_bytes(b"old")
    write_png(Figure(), out)
    assert out.read_bytes().startswith(PNG)
    assert list(out.parent.iterdir()) == [out]


def test_an_error_leaves_the_old_one(tmp_path, monkeypatch):
    out = tmp_path / "a.png"
    out.write_bytes(b"old")

    def full(_, path, **kwargs):
        path.write_bytes(PNG)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(ConfigError, match=r"cannot write .*a.png: No space left"):
        write_png(Figure(), out)
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_bad_places_are_refused_before(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for name, message in (
        ("a.jpg", r"expected a file that ends in .png"),
        ("folder.png", r"expected a file that ends in .png"),
        ("file/a.png", "cannot make .*file: .*; choose another --out"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_png(tmp_path / name)
