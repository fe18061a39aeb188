# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import config_path
from resip_ros.nodes.bench_files import (
    camera_names,
    find_file,
    read_cameras,
    read_tags,
    view_camera,
)


@pytest.fixture
def cameras(tmp_path):
    """Writes a file of cameras of these names."""

    def write(*names, source="uvc"):
        path = tmp_path / "mine.yaml"
        path.write_text("".join(f"{name}: {{source: {source}}}\n" for name in names))
        return str(path)

    return write


def test_a_file_is_a_path_or_a_name_in_config(cameras, monkeypatch, tmp_path):
    assert camera_names("sim_cameras.yaml") == ("front", "wrist")
    assert camera_names(cameras("side")) == ("side",)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert camera_names("~/mine.yaml") == ("side",)
    monkeypatch.chdir(tmp_path)
    assert camera_names("mine.yaml") == ("side",)
    assert read_tags("tags.yaml", "peg_in_hole").parts == ("peg", "hole")
    # a path goes before a name
    (tmp_path / "cameras.yaml").write_text("left: {source: uvc}")
    assert camera_names("cameras.yaml") == ("left",)


@pytest.mark.parametrize(
    "given", ["none.yaml", "sub/none.yaml", "/tmp", "../none.yaml", "/n.yaml"]
)
def test_what_is_no_file_is_named_with_what_to_copy(given):
    with pytest.raises(ConfigError) as error:
        find_file(given, "tags.yaml")
    text = str(error.value)
    assert text.startswith(f"{given} is no file; expected a path or a name in ")
    assert str(config_path("tags.yaml").parent) in text
    assert "such as tags.yaml" in text


def test_tags_are_of_the_task(tmp_path):
    with pytest.raises(ConfigError, match=r"tags\.yaml: tag 0: part 'peg'; expected one of"):
        read_tags("tags.yaml", "one_leg")


def test_what_the_simulation_cannot_draw_is_refused(cameras):
    with pytest.raises(ConfigError, match=r"mine\.yaml: source sim: unknown camera 'side'"):
        read_cameras(cameras("front", "side", source="sim"))
    assert len(read_cameras(cameras("front", "side"))) == 2
    path = Path(cameras("front", source="sim"))
    path.write_text(path.read_text() + "wrist: {source: sim, rate_hz: 10.0}\n")
    with pytest.raises(ConfigError, match=r"rates \[10.0, 30.0\]; expected one"):
        read_cameras(str(path))


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("wrist", "front", "overview"), "overview"),
        (("wrist", "front"), "front"),
        (("side", "wrist"), "side"),
    ],
)
def test_people_see_the_camera_that_shows_most(cameras, names, shown):
    assert view_camera(cameras(*names), "overview") == shown
    assert view_camera(cameras(*names), "overview", "wrist") == "wrist"
    with pytest.raises(ConfigError, match=r"camera 'top' is not in .*; expected one of \["):
        view_camera(cameras(*names), "overview", "top")


def test_without_a_file_nobody_knows_which_cameras_there_are():
    assert view_camera("", "overview") == "overview"
    assert view_camera("", "overview", "side") == "side"
