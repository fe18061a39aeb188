# SPDX-License-Identifier: Apache-2.0
import dataclasses
import shutil
import sys

import numpy as np
import pytest
import yaml

from resip_ros.core.errors import CheckpointMismatch
from resip_ros.core.paths import models_dir
from resip_ros.core.tasks import get_task
from resip_ros.policy import golden
from resip_ros.policy.bundle import load_base, load_policy, save_base
from resip_ros.policy.card import parse_card


@pytest.mark.parametrize("folder", sorted(models_dir().iterdir()), ids=lambda f: f.name)
def test_shipped_policies_answer_as_when_they_were_saved(folder):
    policy = load_policy(folder)
    assert policy.base.card.golden is not None
    assert (policy.residual is None) == (folder.name == "lamp")
    if policy.residual is not None:
        assert policy.residual.card.golden is not None
    golden.check_golden(policy)


@pytest.fixture
def student(tmp_path):
    return shutil.copytree(models_dir() / "mug_rack" / "student", tmp_path / "student")


def test_a_student_answers_as_when_it_was_saved(student):
    policy = load_policy(student, images=True)
    assert policy.base.card.golden is not None
    golden.check_golden(policy)


@pytest.mark.parametrize("size", [104, 111, 113, 128])
def test_a_student_of_another_picture_size_is_refused(student, size):
    """The weights fit any size: only the answer tells."""
    edit(student, lambda card: card["encoder"].update(size=size))
    with pytest.raises(CheckpointMismatch, match="the student answers its golden input"):
        golden.check_golden(load_policy(student, images=True))


def test_a_student_of_before_can_be_given_an_answer(student, monkeypatch):
    saved = yaml.safe_load((student / "card.yaml").read_text())["golden"]
    edit(student, lambda card: card.update(golden=None))
    golden.check_golden(load_policy(student, images=True))
    monkeypatch.setattr(sys, "argv", ["golden", str(student)])
    assert golden.main() == 0
    again = load_policy(student, images=True).base.card.golden
    assert np.abs(np.array(again.output) - saved["output"]).max() < golden.TOLERANCE


def test_the_answer_is_that_of_the_loaded_bundle(tmp_path):
    """Nothing is rounded but what is stored: a step's embedding is not."""
    base = load_policy(models_dir() / "mug_rack").base
    network, given = base.copy_network(), (base.card, base.normalizer)
    save_base(tmp_path / "again", *given, network, base.plan_range)
    again = load_base(tmp_path / "again")
    answer = golden._answer(again, np.array(again.card.golden.observation))
    assert np.abs(answer - again.card.golden.output).max() < 2e-6


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(models_dir() / "peg_in_hole", tmp_path / "policy")


def edit(folder, change):
    file = folder / "card.yaml"
    card = yaml.safe_load(file.read_text())
    change(card)
    file.write_text(yaml.safe_dump(card))


@pytest.mark.parametrize("kind", ["base", "residual"])
def test_another_answer_is_refused(folder, kind):
    def shift(card):
        card["golden"]["output"][0] += 2 * golden.TOLERANCE

    edit(folder / kind, shift)
    with pytest.raises(CheckpointMismatch, match=f"the {kind} answers its golden input"):
        golden.check_golden(load_policy(folder))


def test_bundles_of_before_load_and_can_be_given_one(folder, monkeypatch, capsys):
    for kind in ("base", "residual"):
        edit(folder / kind, lambda card: card.pop("golden"))
    policy = load_policy(folder)
    assert policy.base.card.golden is None
    golden.check_golden(policy)
    monkeypatch.setattr(sys, "argv", ["golden", str(folder)])
    assert golden.main() == 0
    again = load_policy(folder)
    assert again.base.card.golden is not None
    assert again.base.card.weights_hash == policy.base.card.weights_hash
    golden.check_golden(again)


def test_an_answer_that_is_no_number_is_refused(folder):
    policy = load_policy(folder)
    bad = dataclasses.replace(policy.base.card.golden, output=(float("nan"),) * 10)
    policy.base.card = dataclasses.replace(policy.base.card, golden=bad)
    with pytest.raises(CheckpointMismatch):
        golden.check_golden(policy)


def test_plausible_observation_gives_finite_features():
    for task in ("one_leg", "biman_insert"):
        assert np.isfinite(golden.plausible_observation(get_task(task))).all()


def test_cards_without_the_key_are_read(folder):
    mapping = yaml.safe_load((folder / "base" / "card.yaml").read_text())
    mapping.pop("golden", None)
    assert parse_card(mapping).golden is None
