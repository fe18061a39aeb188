# SPDX-License-Identifier: Apache-2.0
from resip_ros.core.images import IMAGE_SHAPE, POLICY_CAMERAS, image_array


def test_names_and_sizes_that_datasets_rely_on() -> None:
    assert [image_array(name) for name in POLICY_CAMERAS] == ["image_front", "image_wrist"]
    assert IMAGE_SHAPE == (240, 320, 3)
