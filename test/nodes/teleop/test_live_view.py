# SPDX-License-Identifier: Apache-2.0
import io
import urllib.request

import numpy as np
import pytest
from PIL import Image

from resip_ros.nodes.teleop.live_view import LiveView


@pytest.fixture
def view(tmp_path):
    view = LiveView(tmp_path / "view.jpg")
    yield view
    view.close()


def test_a_browser_gets_the_page_and_every_new_picture(view, tmp_path):
    with urllib.request.urlopen(view.address, timeout=10) as page:
        assert b"/stream" in page.read()
    with urllib.request.urlopen(f"{view.address}/stream", timeout=10) as stream:
        for grey in (40, 200):
            view.show(np.full((24, 32, 3), grey, np.uint8))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.read(1)
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            picture = np.asarray(Image.open(io.BytesIO(stream.read(length))))
            assert picture.shape == (24, 32, 3)
            assert abs(int(picture.mean()) - grey) < 3
            stream.read(2)
    assert np.asarray(Image.open(tmp_path / "view.jpg")).mean() == pytest.approx(200, abs=3)
    assert [p.name for p in tmp_path.iterdir()] == ["view.jpg"]


def test_a_file_that_cannot_be_written_disturbs_nobody(tmp_path):
    view = LiveView(tmp_path / "none" / "view.jpg")
    view.show(np.zeros((8, 8, 3), np.uint8))
    view.close()
