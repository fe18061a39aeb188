# SPDX-License-Identifier: Apache-2.0
"""Files that describe a bench, its cameras and the tags on its parts: found, read, checked.

The nodes read them with these functions, and so does whoever starts the nodes: a mistake is told
before anything runs.
"""

from __future__ import annotations

from pathlib import Path

from resip_ros.cameras.settings import SIM, CameraSettings, load_camera_settings
from resip_ros.cameras.tag_layout import TagLayout, load_tag_layout
from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import share_dir

SHOWN_FIRST = ("overview", "front")
"""Cameras that show people most of the bench, best first."""


def find_file(given: str, example: str) -> Path:
    """A file by its path, or by its name in config/.

    Args:
        given: What the user said.
        example: File in config/ that one begins with.

    Raises:
        ConfigError: when there is none.
    """
    own = share_dir() / "config"
    for path in (Path(given).expanduser(), own / given):
        if path.is_file():
            return path
    raise ConfigError(
        f"{given} is no file; expected a path or a name in {own}, such as {example}, to copy and "
        "adapt"
    )


def read_cameras(given: str) -> tuple[CameraSettings, ...]:
    """Cameras of a YAML file.

    Raises:
        ConfigError: for a file that is missing or wrong.
    """
    path = find_file(given, "cameras.yaml")
    cameras = load_camera_settings(path)
    drawn = [camera for camera in cameras if camera.source == SIM]
    if not drawn:
        return cameras
    # it takes the simulation with it, half a second
    from resip_ros.sim.cameras import get_camera

    for camera in drawn:
        try:
            get_camera(camera.name)
        except ConfigError as error:
            raise ConfigError(f"{path}: source sim: {error}") from error
    rates = sorted({camera.rate_hz for camera in drawn})
    if len(rates) > 1:
        # one renderer draws them all
        raise ConfigError(f"{path}: simulated cameras have rates {rates}; expected one")
    return cameras


def read_tags(given: str, task: str) -> TagLayout:
    """Tags of a YAML file.

    Raises:
        ConfigError: for a file that is missing, wrong, or of another task.
    """
    return load_tag_layout(find_file(given, "tags.yaml"), task)


def camera_names(given: str) -> tuple[str, ...]:
    """Names of the cameras of a YAML file.

    Raises:
        ConfigError: for a file that is missing or wrong.
    """
    return tuple(camera.name for camera in read_cameras(given))


def view_camera(given: str, otherwise: str, asked: str = "") -> str:
    """The camera whose pictures people are shown.

    Args:
        given: File of cameras; empty: none.
        otherwise: Camera where there is no file.
        asked: Camera that the user chose; empty: the file's overview, else front, else first.

    Raises:
        ConfigError: for a camera that the file does not have, or a file that is wrong.
    """
    if not given:
        return asked or otherwise
    names = camera_names(given)
    if not asked:
        return next((name for name in SHOWN_FIRST if name in names), names[0])
    if asked not in names:
        raise ConfigError(f"camera {asked!r} is not in {given}; expected one of {list(names)}")
    return asked
