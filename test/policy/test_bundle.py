# SPDX-License-Identifier: Apache-2.0
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from resip_ros.core.errors import CheckpointMismatch, DataError, ResipError
from resip_ros.core.observation import observation_names
from resip_ros.core.paths import models_dir
from resip_ros.policy import bundle
from resip_ros.policy.bundle import (
    CARD_FILE,
    WEIGHTS_FILE,
    load_base,
    load_policy,
    load_residual,
    record_success,
    save_base,
)
from resip_ros.policy.card import BaseCard, ResidualCard, Success, card_to_mapping, parse_card
from resip_ros.policy.golden import plausible_input
from resip_ros.policy.normalizer import Normalizer
from resip_ros.policy.plan_network import NetworkSpec
from resip_ros.policy.runtime import BasePolicy
from resip_ros.policy.unet import ConditionalUNet, UNetSpec

OBS = np.random.default_rng(3).normal(size=(2, 58))


def edit_card(directory: Path, change: Callable[[dict], object]) -> None:
    path = directory / CARD_FILE
    card = yaml.safe_load(path.read_text())
    change(card)
    path.write_text(yaml.safe_dump(card))


def edit_weights(directory: Path, change: Callable[[dict], object]) -> None:
    """Change tensors and make the card's file hash fit again."""
    path = directory / WEIGHTS_FILE
    tensors = safetensors.torch.load(path.read_bytes())
    change(tensors)
    payload = safetensors.torch.save(tensors)
    path.write_bytes(payload)
    edit_card(directory, lambda card: card.update(weights_hash=bundle.hash_bytes(payload)))


def test_round_trip_gives_the_same_policy(
    policy_folder: Path, network: ConditionalUNet, normalizer: Normalizer
) -> None:
    policy = load_policy(policy_folder)
    assert policy.normalizer.hash == normalizer.hash
    # float16 on disk, float32 in use: the network is the rounded one
    for name, value in policy.base._network.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, network.state_dict()[name].half().float())
    again = load_policy(policy_folder)
    chunk = policy.base.predict_chunk(OBS)
    np.testing.assert_array_equal(again.base.predict_chunk(OBS), chunk)
    correction = policy.correct(OBS, chunk[:, 0])
    assert correction.any()
    np.testing.assert_array_equal(again.correct(OBS, chunk[:, 0]), correction)


@pytest.fixture
def bundle_of_spec(
    tmp_path: Path, spec: NetworkSpec, base_card: BaseCard, normalizer: Normalizer
) -> tuple[Path, BasePolicy]:
    """A bundle of any architecture, and the policy as it was before it was saved."""
    sampler = base_card.sampler if spec.denoises else None
    card = dataclasses.replace(base_card, network=spec, sampler=sampler)
    network = spec.build(len(card.action), len(card.observation), card.prediction_horizon)
    network.load_state_dict({k: v.half().float() for k, v in network.state_dict().items()})
    card = save_base(tmp_path / "base", card, normalizer, network)
    return tmp_path / "base", BasePolicy(card, normalizer, network)


def test_every_architecture_makes_the_same_plans_after_a_round_trip(
    bundle_of_spec: tuple[Path, BasePolicy],
) -> None:
    directory, before = bundle_of_spec
    after = load_base(directory)
    assert after.card == before.card
    np.testing.assert_array_equal(after.predict_chunk(OBS), before.predict_chunk(OBS))


def test_every_architecture_refuses_sizes_that_are_not_its_weights(
    bundle_of_spec: tuple[Path, BasePolicy], spec: NetworkSpec
) -> None:
    directory, _ = bundle_of_spec
    size = "width" if hasattr(spec, "width") else "step_embed_dim"
    edit_card(directory, lambda card: card["network"].update({size: 2 * card["network"][size]}))
    with pytest.raises(CheckpointMismatch, match="do not fit the network its card describes"):
        load_base(directory)


def test_a_card_without_architecture_is_a_unet(policy_folder: Path) -> None:
    """The first bundles name none."""
    before = load_base(policy_folder / "base")
    edit_card(policy_folder / "base", lambda card: card["network"].pop("architecture"))
    after = load_base(policy_folder / "base")
    assert isinstance(after.card.network, UNetSpec)
    np.testing.assert_array_equal(after.predict_chunk(OBS), before.predict_chunk(OBS))


def test_residual_weights_are_stored_exactly(
    policy_folder: Path, actor: torch.nn.Sequential
) -> None:
    policy = load_policy(policy_folder)
    for name, value in policy.residual._actor.state_dict().items():
        assert torch.equal(value, actor.state_dict()[name])


def test_single_base_bundle_loads_without_residual(policy_folder: Path) -> None:
    policy = load_policy(policy_folder / "base")
    assert policy.residual is None
    assert not policy.correct(OBS, np.ones((2, 10), np.float32)).any()


def test_card_round_trip_and_recorded_success(policy_folder: Path) -> None:
    before = load_base(policy_folder / "base").card
    assert parse_card(yaml.safe_load(yaml.safe_dump(card_to_mapping(before)))) == before
    success = Success(episodes=256, successes=128, ci95=(0.44, 0.56), randomness="low")
    record_success(policy_folder / "base", success)
    after = load_policy(policy_folder).base.card
    assert after.provenance.success == success
    assert after.weights_hash == before.weights_hash


def test_saving_replaces_the_whole_bundle(
    policy_folder: Path, base_card: BaseCard, normalizer: Normalizer, network: ConditionalUNet
) -> None:
    saved = save_base(policy_folder / "base", base_card, normalizer, network)
    assert load_base(policy_folder / "base").card == saved
    assert sorted(p.name for p in (policy_folder / "base").iterdir()) == [CARD_FILE, WEIGHTS_FILE]
    assert sorted(p.name for p in policy_folder.iterdir()) == ["base", "residual"]


def test_full_disk_keeps_the_old_bundle(
    policy_folder: Path,
    base_card: BaseCard,
    normalizer: Normalizer,
    network: ConditionalUNet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_self: Path, _text: str) -> int:
        raise OSError(28, "No space left on device")

    before = load_base(policy_folder / "base").card
    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(ResipError, match="No space left on device.*free space"):
        save_base(policy_folder / "base", base_card, normalizer, network)
    with pytest.raises(ResipError, match="No space left on device"):
        record_success(policy_folder / "base", Success(1, 1, (0.2, 1.0), "low"))
    monkeypatch.undo()
    assert load_base(policy_folder / "base").card == before
    assert sorted(p.name for p in policy_folder.iterdir()) == ["base", "residual"]


def test_weights_that_diverged_are_not_saved(
    tmp_path: Path, base_card: BaseCard, normalizer: Normalizer, network: ConditionalUNet
) -> None:
    # finite in float32, infinite in the float16 of the file
    with torch.no_grad():
        next(network.parameters()).fill_(1e6)
    with pytest.raises(DataError, match="not finite"):
        save_base(tmp_path / "base", base_card, normalizer, network)
    assert not (tmp_path / "base").exists()


def truncate(directory: Path) -> None:
    path = directory / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-100])


def write_pickle(directory: Path) -> None:
    payload = pickle.dumps({"weights": [1.0]})
    (directory / WEIGHTS_FILE).write_bytes(payload)
    edit_card(directory, lambda card: card.update(weights_hash=bundle.hash_bytes(payload)))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no card": (lambda d: (d / CARD_FILE).unlink(), "has no card.yaml"),
    "no weights": (lambda d: (d / WEIGHTS_FILE).unlink(), "no readable weights"),
    "card is no yaml": (lambda d: (d / CARD_FILE).write_text("a: [1"), "cannot read"),
    "card is a list": (lambda d: (d / CARD_FILE).write_text("- 1"), "must be a mapping"),
    "card is binary": (lambda d: (d / CARD_FILE).write_bytes(b"\xff\xfe\x00"), "cannot read"),
    "truncated": (truncate, "truncated"),
    "pickle": (write_pickle, "not a safetensors file"),
    "unknown key": (lambda d: edit_card(d, lambda c: c.update(colour=1)), "unknown keys.*colour"),
    "missing key": (lambda d: edit_card(d, lambda c: c.pop("rate_hz")), "lacks keys.*rate_hz"),
    "unknown nested key": (
        lambda d: edit_card(d, lambda c: c["network"].update(depth=3)),
        r"card\.network has unknown keys.*depth",
    ),
    "wrong type": (
        lambda d: edit_card(d, lambda c: c.update(action_horizon="8")),
        r"card\.action_horizon is '8', expected int",
    ),
    "newer schema": (lambda d: edit_card(d, lambda c: c.update(schema=2)), "schema 2"),
    "unknown kind": (lambda d: edit_card(d, lambda c: c.update(kind="critic")), "kind 'critic'"),
    "unknown task": (lambda d: edit_card(d, lambda c: c.update(task="two_leg")), "two_leg"),
    "other rate": (lambda d: edit_card(d, lambda c: c.update(rate_hz=50.0)), "rate_hz is 50"),
    "other observation": (
        lambda d: edit_card(d, lambda c: c["observation"].reverse()),
        "observation names differ.*dimension 0",
    ),
    "fewer actions": (lambda d: edit_card(d, lambda c: c["action"].pop()), "9 dimensions"),
    "impossible network": (
        lambda d: edit_card(d, lambda c: c["network"].update(kernel_size=4)),
        "kernel_size must be odd",
    ),
    "other network": (
        lambda d: edit_card(d, lambda c: c["network"].update(kernel_size=5)),
        "do not fit the network",
    ),
    "unknown architecture": (
        lambda d: edit_card(d, lambda c: c["network"].update(architecture="lstm")),
        "architecture is 'lstm', this version has unet, transformer, mlp, act",
    ),
    "architecture of other sizes": (
        lambda d: edit_card(d, lambda c: c["network"].update(architecture="mlp")),
        r"card\.network has unknown keys.*lacks keys.*blocks",
    ),
    "denoiser without sampler": (
        lambda d: edit_card(d, lambda c: c.update(sampler=None)),
        "unet needs a sampler",
    ),
    "sampler that nothing needs": (
        lambda d: edit_card(
            d,
            lambda c: c.update(
                network={"architecture": "mlp", "width": 8, "blocks": 1, "dropout": 0.1}
            ),
        ),
        "mlp has no use for a sampler",
    ),
    "impossible horizon": (
        lambda d: edit_card(d, lambda c: c.update(prediction_horizon=31)),
        "multiple of 2",
    ),
    "normaliser changed": (
        lambda d: edit_weights(d, lambda t: t["normalizer.obs_max"].add_(0.1)),
        "normaliser hash",
    ),
    "normaliser missing": (
        lambda d: edit_weights(d, lambda t: t.pop("normalizer.action_min")),
        "lack the normaliser",
    ),
    "normaliser inverted": (
        lambda d: edit_weights(d, lambda t: t["normalizer.obs_max"].neg_().sub_(10)),
        "range is empty",
    ),
    "weights not finite": (
        lambda d: edit_weights(d, lambda t: t["network.final.1.bias"].fill_(torch.nan)),
        "not finite",
    ),
    "weight missing": (
        lambda d: edit_weights(d, lambda t: t.pop("network.final.1.bias")),
        "Missing key",
    ),
    "weight too many": (
        lambda d: edit_weights(d, lambda t: t.update(extra=torch.zeros(1))),
        "Unexpected key",
    ),
}


@pytest.mark.parametrize("name", sorted(DAMAGE))
def test_damaged_base_is_refused_with_the_reason(policy_folder: Path, name: str) -> None:
    damage, reason = DAMAGE[name]
    damage(policy_folder / "base")
    with pytest.raises(CheckpointMismatch, match=reason) as caught:
        load_base(policy_folder / "base")
    assert str(policy_folder / "base") in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"base_hash": "0" * 64}, "was trained on base 000000000000.*retrain"),
        ({"normalizer_hash": "0" * 64}, "expects normaliser 000000000000"),
        ({"features": "absolute"}, "do not fit the network"),
        ({"bound": "clip"}, "bound must be one of tanh, none"),
        ({"alpha": 0.0}, "alpha must be in"),
    ],
)
def test_foreign_residual_is_refused(policy_folder: Path, change: dict, reason: str) -> None:
    edit_card(policy_folder / "residual", lambda card: card.update(change))
    with pytest.raises(CheckpointMismatch, match=reason):
        load_policy(policy_folder)


def test_residual_refuses_a_base_that_was_trained_again(
    policy_folder: Path, base_card: BaseCard, normalizer: Normalizer, network: ConditionalUNet
) -> None:
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    save_base(policy_folder / "base", base_card, normalizer, network)
    with pytest.raises(CheckpointMismatch, match="was trained on base"):
        load_policy(policy_folder)


def test_kinds_cannot_be_swapped(policy_folder: Path) -> None:
    with pytest.raises(CheckpointMismatch, match="is a residual"):
        load_base(policy_folder / "residual")
    with pytest.raises(CheckpointMismatch, match="is a base"):
        load_residual(policy_folder / "base", load_base(policy_folder / "base"))
    with pytest.raises(CheckpointMismatch, match="needs its base"):
        load_policy(policy_folder / "residual")


@pytest.mark.parametrize("make", [True, False])
def test_directory_without_policy_is_refused(tmp_path: Path, make: bool) -> None:
    directory = tmp_path / "nowhere"
    if make:
        directory.mkdir()
        (directory / "notes.txt").touch()
    with pytest.raises(CheckpointMismatch, match="found notes.txt" if make else "found nothing"):
        load_policy(directory)


def test_cards_refuse_bad_values_when_they_are_made(base_card: BaseCard) -> None:
    with pytest.raises(ResipError, match="multiple of 2"):
        dataclasses.replace(base_card, prediction_horizon=31)
    with pytest.raises(ResipError, match="action_horizon"):
        dataclasses.replace(base_card, action_horizon=33)


@pytest.mark.parametrize("folder", sorted(models_dir().glob("*/student")), ids=str)
def test_shipped_students_plan(folder: Path) -> None:
    """From pictures of a pattern, but they plan."""
    base = load_policy(folder, images=True).base
    obs, images = plausible_input(base)
    assert base.tell_state(obs, images).shape == (1, len(observation_names(base.task)))
    assert base.predict_chunk(obs, images=images).shape == (1, base.horizon, 10)


@pytest.mark.parametrize("task", sorted(path.name for path in models_dir().iterdir()))
def test_shipped_policies_load(task):
    """What is shipped was written by an earlier version."""
    policy = load_policy(models_dir() / task)
    assert policy.task.name == task
    assert not policy.decides_per_chunk


def test_a_residual_of_the_first_cards_corrects_each_step():
    card = yaml.safe_load((models_dir() / "one_leg" / "residual" / CARD_FILE).read_text())
    card.pop("chunk_steps", None)
    parsed = parse_card(card)
    assert isinstance(parsed, ResidualCard)
    assert parsed.chunk_steps == 1
