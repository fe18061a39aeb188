# SPDX-License-Identifier: Apache-2.0
"""Cards of students; those of bases, residuals and values are tried in test_bundle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from resip_ros.core.errors import CheckpointMismatch
from resip_ros.core.images import IMAGE_SHAPE, POLICY_CAMERAS
from resip_ros.core.tasks import TaskSpec
from resip_ros.policy.bundle import load_base, load_policy
from resip_ros.policy.bundle_folder import CARD_FILE
from resip_ros.policy.card import StudentCard
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.mlp import MlpSpec

from ..bundles import save_student


def edit_card(directory: Path, change: Callable[[dict], object]) -> None:
    card = yaml.safe_load((directory / CARD_FILE).read_text())
    change(card)
    (directory / CARD_FILE).write_text(yaml.safe_dump(card))


def make_student(task: TaskSpec, directory: Path) -> StudentCard:
    encoder = EncoderSpec(size=32, width=8, stages=1)
    return save_student(directory, task.name, MlpSpec(width=16, blocks=1), 8, encoder)


def test_a_student_makes_the_same_plans_after_a_round_trip(task: TaskSpec, tmp_path: Path) -> None:
    card = make_student(task, tmp_path / "student")
    policy = load_policy(tmp_path / "student", images=True)
    assert policy.base.card == card
    assert policy.base.images == POLICY_CAMERAS
    rng = np.random.default_rng(1)
    images = {n: rng.integers(0, 255, (2, *IMAGE_SHAPE), np.uint8) for n in POLICY_CAMERAS}
    plan = policy.plan(rng.normal(size=(2, 16)), None, images)
    assert plan.shape == (2, 8, 10)
    again = load_base(tmp_path / "student", images=True).predict_chunk(
        np.zeros((1, 16)), None, {n: p[:1] for n, p in images.items()}
    )
    assert np.isfinite(again).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda c: c.update(images=["front", "side"]),
            "images is front, side; expected of front, wrist",
        ),
        (lambda c: c.update(images=[]), "images is empty"),
        (lambda c: c.update(images=["wrist", "front"]), "in this order"),
        (lambda c: c["encoder"].update(size=512), "size must be"),
        (lambda c: c["encoder"].update(width=16), "do not fit the network"),
        (lambda c: c.update(tells_poses=True), "normaliser is for 16 observation"),
        (lambda c: c["encoder"].update(pool="keypoints"), "do not fit the network"),
        (lambda c: c["observation"].append("peg_x"), "17 dimensions, expected 16"),
        (
            lambda c: c.update(features="finest"),
            "one of absolute, relative, precise, got 'finest'",
        ),
        (lambda c: c.update(features="relative"), "which this student does not tell"),
        (lambda c: c.update(kind="base"), "unknown keys"),
    ],
)
def test_a_damaged_student_is_refused(
    task: TaskSpec, tmp_path: Path, change: Callable, reason: str
) -> None:
    make_student(task, tmp_path / "student")
    edit_card(tmp_path / "student", change)
    with pytest.raises(CheckpointMismatch, match=reason):
        load_policy(tmp_path / "student", images=True)


def test_the_first_students_tell_no_poses(task: TaskSpec, tmp_path: Path) -> None:
    card = make_student(task, tmp_path / "student")
    edit_card(tmp_path / "student", lambda c: c.pop("tells_poses"))
    assert load_base(tmp_path / "student", images=True).card == card


def test_a_student_is_not_taken_for_a_base_that_sees_the_state(
    task: TaskSpec, tmp_path: Path
) -> None:
    make_student(task, tmp_path / "base")
    for load, folder in ((load_policy, tmp_path / "base"), (load_policy, tmp_path)):
        with pytest.raises(CheckpointMismatch, match="needs pictures of front, wrist"):
            load(folder)
    with pytest.raises(CheckpointMismatch, match="needs pictures of front, wrist"):
        load_base(tmp_path / "base")
