# SPDX-License-Identifier: Apache-2.0
"""A student begins from a policy that sees the state, or from a student; others are refused."""

import dataclasses

import numpy as np
import pytest
import torch

from resip_ros.core.errors import CheckpointMismatch, ConfigError
from resip_ros.policy.bundle import load_base
from training import bc_trainer, student_trainer
from training.bc import make_trainer, train
from training.bc_config import BcConfig
from training.distributed import ALONE

from ..student_data import TINY, make_config, write_pictures


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(student_trainer, "student_preset", lambda *_, **__: TINY)
    preset = dataclasses.replace(TINY, student=None, relative_features=True)
    monkeypatch.setattr(bc_trainer, "get_preset", lambda *_: preset)


@pytest.fixture
def config(tmp_path) -> BcConfig:
    return make_config(tmp_path, write_pictures(tmp_path / "synthetic.zarr", 0))


@pytest.fixture
def state_policy(config, tmp_path):
    """A policy of the same preset that sees the state."""
    out, run_dir = tmp_path / "state", tmp_path / "state_run"
    train(dataclasses.replace(config, observation="state", out=out, run_dir=run_dir))
    return out


def test_a_state_policy_goes_on_learning_behind_eyes(config, state_policy, tmp_path):
    policy = load_base(state_policy)
    real = write_pictures(tmp_path / "real.zarr", 5)
    config = dataclasses.replace(config, state_policy=state_policy, real=real)
    trainer = make_trainer(config, ALONE)
    for name, value in policy.copy_network().state_dict().items():
        torch.testing.assert_close(trainer.network.plan.state_dict()[name], value)
    # with the true poses it is that policy
    known = trainer._known.numpy()
    obs = trainer.data.state_obs[trainer.train_rows[known]]
    given = torch.cat([trainer.train_inputs, trainer._poses], dim=-1)[known]
    np.testing.assert_allclose(given, policy.build_input(obs), atol=1e-6)
    np.testing.assert_array_equal(trainer.plan_range.low, policy.plan_range.low)
    train(config)
    assert load_base(config.out, images=True).card.pose_dim == trainer.pose_dim
    with pytest.raises(ConfigError, match="state_policy"):
        train(dataclasses.replace(config, state_policy=None, resume=True))


def test_a_student_goes_on_learning(config, state_policy, tmp_path):
    first = dataclasses.replace(config, state_policy=state_policy)
    assert make_trainer(first, ALONE).told_share == 0.0
    train(first)
    visited = write_pictures(tmp_path / "visited.zarr", 3)
    more = dataclasses.replace(
        first,
        data=(*config.data, visited),
        start_from=config.out,
        out=tmp_path / "second",
        run_dir=tmp_path / "second_run",
    )
    trainer = make_trainer(more, ALONE)
    taught = load_base(config.out, images=True)
    for name, value in taught.copy_network().state_dict().items():
        torch.testing.assert_close(trainer.network.state_dict()[name], value)
    assert trainer.normalizer.hash == taught.normalizer.hash
    assert trainer.told_share == 1.0, "its head is not new"
    train(more, until=2)
    train(dataclasses.replace(more, resume=True))
    with pytest.raises(ConfigError, match="start_from"):
        train(dataclasses.replace(more, start_from=None, resume=True))


def test_policies_that_do_not_fit(config, state_policy, tmp_path, monkeypatch):
    with_state = dataclasses.replace(config, state_policy=state_policy)
    with pytest.raises(ConfigError, match="give it as --state-policy"):
        make_trainer(dataclasses.replace(config, start_from=state_policy), ALONE)
    train(config)
    from_student = dataclasses.replace(config, start_from=config.out)
    with pytest.raises(ConfigError, match="give the --state-policy of its own training"):
        make_trainer(from_student, ALONE)
    with pytest.raises(ConfigError, match="both say where encoders begin"):
        make_trainer(dataclasses.replace(from_student, encoder_weights=tmp_path / "x"), ALONE)
    other = write_pictures(tmp_path / "other.zarr", 7)
    out, run_dir = tmp_path / "other", tmp_path / "other_run"
    train(
        dataclasses.replace(config, data=(other,), observation="state", out=out, run_dir=run_dir)
    )
    with pytest.raises(ConfigError, match="was not trained with this --state-policy"):
        make_trainer(dataclasses.replace(from_student, state_policy=out), ALONE)
    with pytest.raises(CheckpointMismatch, match="is a student"):
        make_trainer(dataclasses.replace(config, state_policy=config.out), ALONE)
    wider = dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, groups=8))
    monkeypatch.setattr(student_trainer, "student_preset", lambda *_, **__: wider)
    with pytest.raises(ConfigError, match="its network is .* train it with the same"):
        make_trainer(with_state, ALONE)
    blind = dataclasses.replace(TINY, student=dataclasses.replace(TINY.student, pose_weight=0.0))
    monkeypatch.setattr(student_trainer, "student_preset", lambda *_, **__: blind)
    with pytest.raises(ConfigError, match="tells no poses"):
        make_trainer(with_state, ALONE)
    without = make_trainer(config, ALONE)
    assert (without.network.pose_head, without.pose_dim) == (None, 0)
