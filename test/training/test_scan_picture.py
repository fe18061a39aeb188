# SPDX-License-Identifier: Apache-2.0
"""The picture shows scan, pieces in colours, and the part's axes."""

import imageio.v3 as imageio
import numpy as np
import pytest
import yaml

from resip_ros.sim.gl import NoRenderingError, find_backend
from resip_ros.sim.scans import PART_FILE, hash_file
from training import scan_picture
from training.import_scan import write_obj
from training.scan_picture import draw_part

scan_mesh = pytest.importorskip("training.scan_mesh")
manifold3d = pytest.importorskip("manifold3d")


@pytest.fixture
def folder(tmp_path):
    """A cube of 40 mm in two halves of 20 mm."""
    cube = manifold3d.Manifold.cube
    solids = {
        "visual.obj": cube((0.04, 0.04, 0.04), True),
        "piece_000.obj": cube((0.04, 0.02, 0.04), True).translate((0, -0.01, 0)),
        "piece_001.obj": cube((0.04, 0.02, 0.04), True).translate((0, 0.01, 0)),
    }
    for name, solid in solids.items():
        write_obj(tmp_path / name, scan_mesh.from_manifold(solid))
    description = {
        "schema": 1,
        "name": "cube",
        "mass_kg": 0.1,
        "size_m": [0.04, 0.04, 0.04],
        "center_of_mass_m": [0, 0, 0],
        "inertia_kgm2": dict(
            zip(("xx", "yy", "zz", "xy", "xz", "yz"), [3e-5] * 3 + [0] * 3, strict=True)
        ),
        "files": {name: hash_file(tmp_path / name) for name in solids},
    }
    (tmp_path / PART_FILE).write_text(yaml.safe_dump(description, sort_keys=False))
    return tmp_path


def test_the_picture_shows_the_halves_in_two_colours_under_the_cube(folder):
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))
    draw_part(folder, folder / "part.png")
    picture = imageio.imread(folder / "part.png")[..., :3].astype(int)
    # bottom row, first column: seen along x, the halves left and right of the middle
    left, right = picture[585, 145], picture[585, 205]
    assert np.abs(left - right).sum() > 100
    above = picture[225, 145], picture[225, 205]
    assert np.abs(above[0] - above[1]).sum() < 20
    red, green, blue = picture.reshape(-1, 3).T
    for channel, others in ((red, green + blue), (green, red + blue), (blue, red + green)):
        assert (channel > others + 60).sum() > 50, "an axis is not to be seen"


def test_without_rendering_the_reason_is_given(folder, monkeypatch):
    def fail() -> str:
        raise NoRenderingError("no OpenGL")

    monkeypatch.setattr(scan_picture, "find_backend", fail)
    with pytest.raises(NoRenderingError, match="no OpenGL"):
        draw_part(folder, folder / "part.png")
    assert not (folder / "part.png").exists()
