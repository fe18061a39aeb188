# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.bags import layout
from resip_ros.bags.picture_strip import (
    COUNT,
    HEIGHT,
    WIDTH,
    find_cameras,
    place_slots,
    read_strips,
    shrink_picture,
)
from resip_ros.bags.reader import Bag
from resip_ros.core.errors import DataError

from .script import LOG_NS, Script, ns, plain

FRONT = layout.image("front")
WRIST_JPEG = layout.compressed_image("wrist")


def strips_of(path, first_s=0.0, last_s=9.0):
    with Bag(path) as bag:
        return {s.camera: s for s in read_strips(bag, LOG_NS + ns(first_s), LOG_NS + ns(last_s))}


def seconds(strip):
    return [None if s is None else round((s.log_ns - LOG_NS) / 1e9, 3) for s in strip.shown]


def values(strip):
    return [None if s is None or s.picture is None else int(s.picture.mean()) for s in strip.shown]


@pytest.fixture
def script():
    """12 s: front raw every 0.3 s, of grey value 10 times the time; wrist as JPEG, each 0.4 s."""
    script = Script()
    for i in range(40):
        script.raw(0.3 * i, FRONT, plain(round(3 * i)))
    for i in range(30):
        script.jpeg(0.4 * i, WRIST_JPEG, plain(200 - 4 * i))
    return script


def test_pictures_nearest_to_even_times_are_chosen(script, tmp_path):
    strips = strips_of(script.write(tmp_path / "a"))
    assert list(strips) == ["front", "wrist"]
    assert len(strips["front"].shown) == COUNT
    # nearest multiple of 0.3 s to 0, 1, ... 9 s
    expected = [round(round(second / 0.3) * 0.3, 3) for second in range(COUNT)]
    assert seconds(strips["front"]) == expected
    assert values(strips["front"]) == [round(10 * second) for second in expected]
    expected = [round(round(second / 0.4 - 1e-9) * 0.4, 3) for second in range(COUNT)]
    assert seconds(strips["wrist"]) == expected
    np.testing.assert_allclose(values(strips["wrist"]), [200 - 10 * s for s in expected], atol=1)


def test_a_time_without_pictures_stays_empty(script, tmp_path):
    script.silence(FRONT, 2.9, 6.5)
    script.silence(WRIST_JPEG, 5.3)
    strips = strips_of(script.write(tmp_path / "a"))
    assert seconds(strips["front"])[2:8] == [2.1, 2.7, None, None, None, 6.9]
    assert seconds(strips["wrist"])[4:] == [4.0, 4.8, None, None, None, None]


def test_raw_goes_before_jpeg_and_foreign_names_are_read():
    topics = [
        layout.compressed_image("front"),
        FRONT,
        "/usb/image_raw/compressed",
        "/fr3/joint_states",
        "/fr3/front/depth/image_rect_raw",
        "/image_raw",
        "/front/image_raw",
    ]
    assert find_cameras(topics) == {
        "/image_raw": "/image_raw",
        "front": FRONT,
        "/front/image_raw": "/front/image_raw",
        "usb": "/usb/image_raw/compressed",
    }


def test_slots_of_a_moment(script, tmp_path):
    assert place_slots(5, 5) == [5] * COUNT
    strip = strips_of(script.write(tmp_path / "a"), 3.0, 3.0)["front"]
    assert seconds(strip) == [3.0] * COUNT


def test_a_damaged_picture_is_said_and_the_others_are_shown(tmp_path):
    script = Script()
    for i in range(COUNT):
        cut = b"\xff\xd8 no picture" if i == 4 else b""
        script.jpeg(float(i), WRIST_JPEG, None if cut else plain(10 * i), cut)
        script.raw(float(i), FRONT, plain(i), "yuv422" if i == 2 else "rgb8")
    strips = strips_of(script.write(tmp_path / "a"))
    assert [v is None for v in values(strips["wrist"])] == [i == 4 for i in range(COUNT)]
    assert "cannot be decoded" in strips["wrist"].shown[4].problem
    assert "yuv422" in strips["front"].shown[2].problem
    assert seconds(strips["front"])[2] == 2.0


def test_a_cut_off_jpeg_is_damaged():
    script = Script()
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    script.jpeg(0.0, WRIST_JPEG, noise)
    message = script.rows[0][2]
    assert shrink_picture(message).shape == (240, 320, 3)
    message.data = message.data[: len(message.data) // 2]
    with pytest.raises(DataError, match="truncated"):
        shrink_picture(message)


def test_large_pictures_are_made_small_whole():
    script = Script()
    wide = plain(0, 720, 1280)
    wide[:, :20] = 255
    script.raw(0.0, FRONT, wide)
    small = shrink_picture(script.rows[0][2])
    assert small.shape == (180, WIDTH, 3)
    assert small.shape[0] <= HEIGHT
    assert small[:, :4].min() > 200
    assert small[:, 8:].max() < 50
