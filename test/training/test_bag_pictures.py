# SPDX-License-Identifier: Apache-2.0
"""Pictures of bags to datasets; that they equal what a policy sees live is in
``test/nodes/test_camera_node.py``."""

import json
import re

import numpy as np
import pytest
import zarr

from resip_ros.bags import layout
from resip_ros.bags.layout import Topic
from resip_ros.cameras.pictures import decode_jpeg, encode_jpeg
from resip_ros.core.errors import ResipError
from training import convert_bags
from training.convert_bags import ConvertSettings
from training.dataset import read_demonstrations
from training.image_dataset import ImageReader

from .test_convert_bags import LOG_NS, MS, START_NS, header, make_episode, message_of

STEPS = 4


def picture(seed, rows=240, columns=320):
    small = np.random.default_rng(seed).integers(0, 256, (rows // 16, columns // 16, 3))
    return small.repeat(16, 0).repeat(16, 1).astype(np.uint8)


def add_raw(script, camera, stamp_ns, image, encoding="rgb8"):
    topic = Topic(layout.image(camera), "sensor_msgs/msg/Image")
    rows, columns = image.shape[:2]
    message = message_of(topic.msgtype)(
        header(stamp_ns, f"{camera}_color_optical_frame"),
        rows,
        columns,
        encoding,
        0,
        columns * 3,
        image.ravel(),
    )
    script.add(topic, LOG_NS + stamp_ns - START_NS + 30 * MS, message)


def add_jpeg(script, camera, stamp_ns, data):
    topic = Topic(layout.compressed_image(camera), "sensor_msgs/msg/CompressedImage")
    data = np.frombuffer(data, dtype=np.uint8)
    message = message_of(topic.msgtype)(header(stamp_ns, "x"), "jpeg", data)
    script.add(topic, LOG_NS + stamp_ns - START_NS + 30 * MS, message)


def add_camera(script, camera, *, jpeg=False, period_ms=40, steps=STEPS, skip=()):
    """A camera at 25 Hz whose stamps lie beside the steps'; returns its pictures by stamp."""
    sent = {}
    for number in range(-2, (steps * 100) // period_ms + 3):
        stamp_ns = START_NS + (number * period_ms + 7) * MS
        if number in skip:
            continue
        sent[stamp_ns] = picture(number + 100)
        if jpeg:
            add_jpeg(script, camera, stamp_ns, encode_jpeg(sent[stamp_ns]))
        else:
            add_raw(script, camera, stamp_ns, sent[stamp_ns])
    return sent


def newest(sent, at_ns):
    """The one that was there at an instant; in this camera's case the next one is nearer."""
    return sent[max(stamp for stamp in sent if stamp <= at_ns)]


@pytest.fixture
def demos(tmp_path):
    (tmp_path / "demos").mkdir()
    return tmp_path / "demos"


def run(demos, out, **options):
    return convert_bags.run(ConvertSettings(demos, out, task="one_leg", **options))


def test_the_newest_pictures_at_the_steps_become_arrays(demos, tmp_path, capsys):
    sent = {}
    for name in "ab":
        script = make_episode(steps=STEPS, seed=ord(name))
        sent = {
            "front": add_camera(script, "front"),
            "wrist": add_camera(script, "wrist", jpeg=True, period_ms=33),
        }
        script.write(demos / name)
    out = tmp_path / "real.zarr"
    assert run(demos, out) == 0
    assert json.loads(capsys.readouterr().out)["images"] == ["front", "wrist"]
    reader = ImageReader(out, ("front", "wrist"), 2 * STEPS)
    for row in range(2 * STEPS):
        at_ns = START_NS + row % STEPS * 100 * MS
        np.testing.assert_array_equal(reader.read("front", row), newest(sent["front"], at_ns))
        expected = decode_jpeg(encode_jpeg(newest(sent["wrist"], at_ns)))
        np.testing.assert_array_equal(reader.read("wrist", row), expected)
    assert read_demonstrations(out, "one_leg").num_episodes == 2
    noted = zarr.open_group(str(out), mode="r").attrs["provenance"]["episodes"]
    assert noted[0]["pictures"] == {
        "front": "/fr3/front/color/image_raw",
        "wrist": "/fr3/wrist/color/image_raw/compressed",
    }
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_raw_goes_before_jpeg_and_larger_ones_are_fitted(demos, tmp_path):
    script = make_episode(steps=STEPS)
    add_camera(script, "front", jpeg=True)
    for number in range(-1, 5):
        large = picture(number + 50, 480, 640)
        add_raw(script, "front", START_NS + number * 100 * MS, large, "bgr8")
    script.write(demos / "a")
    run(demos, tmp_path / "o.zarr")
    read = ImageReader(tmp_path / "o.zarr", ("front",), STEPS).read("front", 1)
    np.testing.assert_array_equal(read, picture(51, 480, 640)[::2, ::2, ::-1])


def test_without_pictures_there_are_none(demos, tmp_path):
    script = make_episode(steps=STEPS)
    script.write(demos / "a")
    run(demos, tmp_path / "a.zarr")
    add_camera(script, "front")
    script.write(demos / "b")
    run(demos / "b", tmp_path / "b.zarr", images=False)
    for name in "ab":
        group = zarr.open_group(str(tmp_path / f"{name}.zarr"), mode="r")
        assert "images" not in group.attrs
        assert "image_front" not in group


@pytest.mark.parametrize(
    ("skip", "fault"),
    [
        (range(3, 20), r"front/color/image_raw: newest value is 0\.2\d\d s old"),
        (range(-5, 20), r"front/color/image_raw: newest value is 0\.400 s old"),
    ],
)
def test_stale_pictures_are_refused_with_the_time(demos, tmp_path, capsys, skip, fault):
    script = make_episode(steps=6)
    add_camera(script, "front", steps=6, skip=skip)
    if skip[0] == -5:
        add_raw(script, "front", START_NS - 400 * MS, picture(1))
    script.write(demos / "a")
    with pytest.raises(ResipError, match="1 bags refused"):
        run(demos, tmp_path / "a.zarr")
    text = capsys.readouterr().err
    assert "bag a: " in text
    assert " of the ROS clock" in text
    assert re.search(fault, text)
    assert not (tmp_path / "a.zarr").exists()


def test_a_damaged_picture_is_named_where_it_is_used(demos, tmp_path, capsys):
    script = make_episode(steps=STEPS)
    whole = encode_jpeg(picture(1))
    for number in range(-1, STEPS + 1):
        add_jpeg(
            script, "front", START_NS + number * 100 * MS, whole[:900] if number == 2 else whole
        )
    script.write(demos / "a")
    with pytest.raises(ResipError):
        run(demos, tmp_path / "a.zarr")
    assert "front/color/image_raw/compressed: step at 5.200 s" in capsys.readouterr().err


def test_bags_of_other_cameras_are_refused_and_the_rest_is_kept(demos, tmp_path, capsys):
    for name, cameras in (("a", ("front",)), ("b", ("front", "wrist")), ("c", ("front",))):
        script = make_episode(steps=STEPS, seed=ord(name))
        for camera in cameras:
            add_camera(script, camera)
        script.write(demos / name)
    assert run(demos, tmp_path / "o.zarr") == 1
    assert "bag b: it has pictures of ['front', 'wrist'], the bags before it of" in (
        capsys.readouterr().err
    )
    assert read_demonstrations(tmp_path / "o.zarr", "one_leg").num_episodes == 2
    ImageReader(tmp_path / "o.zarr", ("front",), 2 * STEPS)
