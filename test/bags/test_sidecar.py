# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.bags.layout import SIDECAR
from resip_ros.bags.sidecar import (
    Episode,
    TopicStatistics,
    installed_versions,
    load_episode,
    write_episode,
)
from resip_ros.core.errors import DataError


def test_round_trip(tmp_path):
    episode = Episode(
        task="one_leg",
        operator="Žofie",
        policy={"base_policy": {"base_hash": "abc"}},
        parameters={"franka_bridge": {"shadow": False, "rates": [1.0, 2.0]}},
        versions=installed_versions(),
        success=False,
        topics={"/fr3/x": TopicStatistics("std_msgs/msg/String", 3, None, 0.5)},
        problems=["one: two"],
    )
    write_episode(tmp_path, episode)
    assert load_episode(tmp_path) == episode
    assert {"python", "rosbags", "mcap"} <= set(episode.versions)


def test_no_sidecar_is_none(tmp_path):
    assert load_episode(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "None"),
        ("state: saved", "task"),
        ("task: a\ncolour: red", "colour"),
        ("task: a\nstate: lost", "lost"),
        ("task: a\nsuccess: maybe", "maybe"),
        ("task: a\nschema_version: 9", "9"),
        ("task: a\ntopics: [1]", "topics|items"),
        ("a: [", "cannot read"),
    ],
)
def test_damaged_sidecar_is_named(tmp_path, text, named):
    (tmp_path / SIDECAR).write_text(text)
    with pytest.raises(DataError, match=named) as error:
        load_episode(tmp_path)
    assert SIDECAR in str(error.value)
    assert "\n" not in str(error.value)
