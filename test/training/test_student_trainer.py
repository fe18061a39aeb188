# SPDX-License-Identifier: Apache-2.0
"""A student from pictures to bundle: two steps, resume, two more; mixed data; bad input told."""

import dataclasses

import numpy as np
import pytest
import torch
import zarr

from resip_ros.core.errors import CheckpointMismatch, ConfigError, DataError
from resip_ros.core.images import POLICY_CAMERAS, image_array
from resip_ros.policy.bundle import load_base, load_policy
from resip_ros.policy.card import StudentCard
from resip_ros.policy.image_encoder import EncoderSpec, prepare_images
from training import student_trainer
from training.bc import CHECKPOINT_FILE, make_trainer, train
from training.bc_config import BcConfig
from training.distributed import ALONE
from training.image_dataset import IMAGES_ATTRIBUTE
from training.presets import StudentPreset, student_preset

from ..student_data import STEPS, TINY, make_config, write_pictures


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(student_trainer, "student_preset", lambda *_, **__: TINY)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("student") / "synthetic.zarr", 0)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("student") / "real.zarr", 5)


@pytest.fixture
def config(tmp_path, synthetic) -> BcConfig:
    return make_config(tmp_path, synthetic)


def weights(config: BcConfig) -> dict[str, torch.Tensor]:
    state = torch.load(config.resolved_run_dir / CHECKPOINT_FILE, weights_only=True)
    return state["network"]


def test_resume_is_bit_exact(config, tmp_path):
    train(config)
    other = dataclasses.replace(config, run_dir=tmp_path / "again", out=tmp_path / "b")
    train(other, until=2)
    train(dataclasses.replace(other, resume=True))
    one, two = weights(config), weights(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any("encoders.wrist" in name for name in one)


def test_the_bundle_plans_from_proprioception_and_pictures(config, synthetic):
    metrics = train(config)
    policy = load_policy(config.out, images=True).base
    assert isinstance(policy.card, StudentCard)
    assert (policy.card.kind, policy.images) == ("student", POLICY_CAMERAS)
    assert len(policy.card.observation) == 16
    assert metrics["weights_hash"] == policy.card.weights_hash
    group = zarr.open_group(str(synthetic), mode="r")
    obs = group["state_obs"][:2, :16]
    images = {name: group[image_array(name)][:2] for name in POLICY_CAMERAS}
    plan = policy.predict_chunk(obs, torch.Generator().manual_seed(0), images)
    assert plan.shape == (2, 32, 10)
    dark = images | {"wrist": np.zeros_like(images["wrist"])}
    other = policy.predict_chunk(obs, torch.Generator().manual_seed(0), dark)
    assert np.abs(plan - other).max() > 1e-4
    # the same function as in training, without augmentation
    trainer = make_trainer(config, ALONE)
    seen = {n: prepare_images(n, p, 32) for n, p in images.items()}
    network = trainer.network
    network.load_state_dict(load_base(config.out, images=True)._network.state_dict())
    with torch.inference_mode():
        ours = network.encode(*policy._see(obs, images))
        theirs = network.encode(torch.from_numpy(policy.build_input(obs)), seen)
    torch.testing.assert_close(ours, theirs)
    with pytest.raises(DataError, match="no picture of camera front"):
        policy.predict_chunk(obs)
    with pytest.raises(CheckpointMismatch, match="needs pictures of front, wrist"):
        load_policy(config.out)


def test_real_steps_are_mixed_in_by_rule(config, real):
    trainer = make_trainer(dataclasses.replace(config, real=real), ALONE)
    assert trainer.real_share == pytest.approx(0.5, abs=0.05)
    shares = {int((trainer.train_rows[trainer._draw_batch().numpy()] >= 36).sum()) for _ in "abcd"}
    assert shares == {3}
    trainer.train_step()
    set_by_hand = dataclasses.replace(config, real=real, real_share=0.2)
    trainer = make_trainer(set_by_hand, ALONE)
    assert int((trainer.train_rows[trainer._draw_batch().numpy()] >= 36).sum()) == 1


def test_several_synthetic_datasets_are_one(config, real, tmp_path):
    more = write_pictures(tmp_path / "more.zarr", 3, episodes=2)
    both = dataclasses.replace(config, data=(*config.data, more))
    trainer = make_trainer(both, ALONE)
    assert trainer.data.num_episodes == 5
    assert trainer._is_real is None
    trainer = make_trainer(dataclasses.replace(both, real=real), ALONE)
    assert trainer.data.num_episodes == 8
    wanted = trainer.train_rows >= 5 * STEPS
    assert wanted.any()
    np.testing.assert_array_equal(trainer._is_real.numpy(), wanted)


def test_real_demonstrations_alone(config, real, tmp_path):
    """Nothing of their poses is used, as nobody knows them on a robot."""
    alone = dataclasses.replace(config, data=(), real=real)
    moved = dataclasses.replace(alone, real=write_pictures(tmp_path / "m.zarr", 5, shift=0.5))
    trainers = [make_trainer(given, ALONE) for given in (alone, moved)]
    losses = [[float(trainer.train_step()) for _ in range(2)] for trainer in trainers]
    assert losses[0] == losses[1]
    assert train(alone)["episodes"] == 3
    with pytest.raises(ConfigError, match="no dataset given"):
        dataclasses.replace(config, data=())
    with pytest.raises(ConfigError, match="--real-share needs --real beside --data"):
        make_trainer(dataclasses.replace(alone, real_share=0.3), ALONE)


def test_encoders_learn_at_their_own_rate(config):
    trainer = make_trainer(dataclasses.replace(config, steps=100), ALONE)
    trainer.step = 10
    before = [p.detach().clone() for p in trainer.network.encoders.parameters()]
    trainer.train_step()
    plan, encoders, plan_kernels, kernels = trainer.optimizer.param_groups
    assert encoders["lr"] == pytest.approx(0.5 * plan["lr"], rel=0.05)
    assert kernels["lr"] == pytest.approx(0.5 * plan_kernels["lr"], rel=0.05)
    changed = [
        not torch.equal(a, b)
        for a, b in zip(before, trainer.network.encoders.parameters(), strict=True)
    ]
    assert np.mean(changed) > 0.9


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"observation": "state", "real": "x"}, "--real needs --observation images"),
        ({"observation": "state", "encoder_weights": "x"}, "--encoder-weights needs"),
        ({"observation": "state", "state_policy": "x"}, "--state-policy needs"),
        ({"observation": "state", "start_from": "x"}, "--start-from needs"),
        ({"real_share": 0.3}, "--real-share needs --real"),
        ({"real_share": 1.5}, "between 0 and 1"),
    ],
)
def test_settings_that_mean_nothing(config, more, message):
    with pytest.raises(ConfigError, match=message):
        make_trainer(dataclasses.replace(config, **more), ALONE)


def test_bad_pictures_are_told_before_the_first_step(config, tmp_path):
    path = write_pictures(tmp_path / "bad.zarr", 1)
    group = zarr.open_group(str(path), mode="r+")
    group[image_array("wrist")][4] = 7
    with pytest.raises(DataError, match="picture 4 of camera wrist is one colour"):
        train(dataclasses.replace(config, data=(path,)))
    del group.attrs[IMAGES_ATTRIBUTE]
    with pytest.raises(DataError, match="no complete pictures"):
        train(dataclasses.replace(config, data=(path,)))
    assert not config.resolved_run_dir.exists()


def test_resume_refuses_other_pictures_of_the_same_states(config):
    train(config, until=2)
    group = zarr.open_group(str(config.data[0]), mode="r+")
    pictures = group[image_array("front")]
    pictures[:] = 255 - pictures[:]
    with pytest.raises(ConfigError, match="was made with pictures = "):
        train(dataclasses.replace(config, resume=True))


def test_presets_are_those_of_the_paper():
    paper = student_preset("transformer", "paper", pretrained=True)
    assert paper.student == StudentPreset(
        EncoderSpec(224, 64, 4, "frozen_batch", "average", 128), 0.1, 5000
    )
    assert (paper.learning_rate, paper.weight_decay) == (1e-4, 1e-3)
    assert (paper.steps, paper.warmup_steps, paper.optimizer) == (500_000, 1000, "adamw")
    with pytest.raises(ConfigError, match="use --preset paper"):
        student_preset("unet", "small", pretrained=True)
