# SPDX-License-Identifier: Apache-2.0
import io

import pytest
from rich.console import Console

from resip_ros.bags import review, sidecar
from resip_ros.bags.layout import JOINT_STATES, TRASH, part_pose
from resip_ros.bags.review import BagCount
from resip_ros.bags.sidecar import Episode, TopicStatistics, load_episode, write_episode
from resip_ros.core.errors import DataError, ResipError


def shown(folder):
    console = Console(file=io.StringIO(), width=250)
    console.print(review.build_table([review.describe(p) for p in review.find_bags(folder)]))
    return console.file.getvalue()


@pytest.fixture
def demos(closed_bag, notes):
    """Two bags of the recorder, one foreign, one that was not closed."""
    folder = closed_bag.parent
    for name, success in (("second", True), ("third", None)):
        notes.write(folder / name, 10).finish()
        topics = {
            JOINT_STATES: TopicStatistics("sensor_msgs/msg/JointState", 1000, 99.9, 0.012),
            part_pose("top"): TopicStatistics("geometry_msgs/msg/PoseStamped", 500, 49.8, 0.42),
        }
        episode = Episode(
            "one_leg", state=sidecar.SAVED, success=success, topics=topics, duration_s=12.3
        )
        write_episode(folder / name, episode)
    notes.write(folder / "crashed", 10).abandon()
    return folder


def test_table_shows_what_a_person_decides_by(demos):
    lines = {line.split()[1]: line for line in shown(demos).splitlines() if "│ " in line}
    assert "foreign" in lines["first"]
    second = lines["second"].split("│")
    assert [cell.strip() for cell in second[2:10]] == [
        "one_leg", "saved", "yes", "12.3", "100", "50", "-", "-",
    ]  # fmt: skip
    assert "0.42 !" in lines["second"]
    assert "not closed" in lines["crashed"]
    assert "resip repair" in shown(demos)
    assert "?" in lines["third"]


def test_drop_and_keep(demos):
    (dropped,) = review.drop(demos, ["second"])
    assert dropped == demos / TRASH / "second"
    assert "second" not in shown(demos)
    assert review.keep(demos, ["second"]) == [demos / "second"]
    assert "second" in shown(demos)


def draw(folder, name):
    picture = review.picture_path(folder / name)
    picture.parent.mkdir(exist_ok=True)
    picture.write_text(f"picture of {name}")
    return picture


def test_the_picture_of_a_bag_goes_where_the_bag_goes(demos, notes):
    picture, other = draw(demos, "second"), draw(demos, "third")
    (dropped,) = review.drop(demos, ["second"])
    there = demos / TRASH / "review" / "second.png"
    assert [p.name for p in picture.parent.iterdir()] == [other.name]
    assert there.read_text() == "picture of second"
    # another one of that name, without a picture, and then one with
    notes.write(demos / "second", 5).finish()
    review.drop(demos, ["second"])
    notes.write(demos / "second", 5).finish()
    draw(demos, "second").write_text("picture of the third second")
    assert review.drop(demos, ["second"]) == [dropped.with_name("second_3")]
    assert there.read_text() == "picture of second"
    assert there.with_name("second_3.png").read_text() == "picture of the third second"
    review.keep(demos, ["second"])
    assert picture.read_text() == "picture of second"
    assert not there.exists()


def test_a_picture_that_cannot_follow_is_named(demos):
    draw(demos, "second")
    (demos / TRASH).mkdir()
    (demos / TRASH / "review").write_text("a file")
    with pytest.raises(ResipError, match=r"review/second\.png cannot follow.*draw it again"):
        review.drop(demos, ["second"])
    assert (demos / TRASH / "second").is_dir()


def test_an_unknown_name_changes_nothing(demos):
    with pytest.raises(DataError, match=r"no bag nothing.*second"):
        review.drop(demos, ["second", "nothing"])
    assert (demos / "second").is_dir()
    with pytest.raises(DataError, match="no bag second"):
        review.keep(demos, ["second"])


def test_two_of_one_name_both_stay(demos, notes):
    review.drop(demos, ["second"])
    notes.write(demos / "second", 5).finish()
    (again,) = review.drop(demos, ["second"])
    assert again.name == "second_2"
    assert (demos / TRASH / "second").is_dir()


def test_labels_are_written_to_the_sidecar(demos):
    review.label(demos, ["second", "third"], False)
    assert load_episode(demos / "second").success is False
    assert load_episode(demos / "third").success is False
    with pytest.raises(DataError, match="no sidecar"):
        review.label(demos, ["first"], True)


def test_a_run_says_how_many_bags_it_left(demos, notes):
    count = BagCount(demos)
    assert "only 0 of 1" in count.describe(1)[0]
    notes.write(demos / "fifth", 5).finish()
    write_episode(demos / "fifth", Episode("one_leg", state=sidecar.SAVED))
    assert count.describe(1) == [f"recorded 1 bags in {demos}"]
    notes.write(demos / "sixth", 5).abandon()
    assert "sixth is not closed" in count.describe(2)[0]
