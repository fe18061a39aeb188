# SPDX-License-Identifier: Apache-2.0
"""Eyes for a policy that sees the state; a student that goes on; what does not fit is refused."""

import dataclasses

import numpy as np
import pytest
import torch
import zarr

from resip_ros.core.errors import CheckpointMismatch, ConfigError, DataError
from resip_ros.core.images import POLICY_CAMERAS, image_array
from resip_ros.policy.bundle import load_base
from resip_ros.policy.card import StudentCard
from resip_ros.policy.image_encoder import prepare_images
from resip_ros.policy.told_poses import read_told
from training import bc_trainer, student_trainer
from training.bc import CHECKPOINT_FILE, make_trainer, train
from training.bc_config import BcConfig
from training.distributed import ALONE

from ..student_data import TINY, make_config, write_pictures


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(student_trainer, "student_preset", lambda *_, **__: TINY)
    preset = dataclasses.replace(TINY, student=None, features="relative")
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


@pytest.fixture
def telling(config, state_policy) -> BcConfig:
    """Eyes for that policy."""
    return dataclasses.replace(config, state_policy=state_policy)


def make_images(config: BcConfig, rows: slice) -> dict[str, np.ndarray]:
    group = zarr.open_group(str(config.data[0]), mode="r")
    return {name: group[image_array(name)][rows] for name in POLICY_CAMERAS}


def test_a_state_policy_plans_and_its_eyes_are_learned(telling, state_policy):
    policy = load_base(state_policy)
    trainer = make_trainer(telling, ALONE)
    assert trainer.tells_poses
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    for name, value in policy.copy_network().state_dict().items():
        torch.testing.assert_close(before[f"plan.{name}"], value)
    metrics = train(telling)
    assert 0 < metrics["pose_error_mm"] < 5000
    student = load_base(telling.out, images=True)
    assert isinstance(student.card, StudentCard)
    assert (student.card.tells_poses, student.card.features) == (True, "relative")
    assert (student.obs_dim, student.normalizer.hash) == (16, policy.normalizer.hash)
    np.testing.assert_array_equal(student.plan_range.low, policy.plan_range.low)
    trained = student.copy_network().state_dict()
    changed = {k for k, v in trained.items() if not torch.equal(v, before[k].half().float())}
    learned = ("pose_head.", "encoders.")
    assert changed
    assert all(name.startswith(learned) for name in changed)
    # it plans what the policy would, were the told poses true
    images, obs = make_images(telling, slice(0, 3)), trainer.data.state_obs[:3]
    state = student.tell_state(obs[:, :16], images)
    np.testing.assert_allclose(state[:, :16], obs[:, :16], atol=1e-6)
    ours, theirs = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    np.testing.assert_allclose(
        student.predict_chunk(obs[:, :16], ours, images),
        policy.predict_chunk(state, theirs),
        atol=1e-5,
    )
    with pytest.raises(DataError, match="this policy tells no poses"):
        policy.tell_state(obs, None)
    with pytest.raises(ConfigError, match="state_policy"):
        train(dataclasses.replace(telling, state_policy=None, resume=True))


def test_eyes_learn_to_tell(telling):
    trainer = make_trainer(dataclasses.replace(telling, steps=60), ALONE)
    losses = [float(trainer.train_step()) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_resume_is_bit_exact(telling, tmp_path):
    train(telling)
    other = dataclasses.replace(telling, run_dir=tmp_path / "again", out=tmp_path / "b")
    train(other, until=2)
    train(dataclasses.replace(other, resume=True))
    one, two = (
        torch.load(c.resolved_run_dir / CHECKPOINT_FILE, weights_only=True)["network"]
        for c in (telling, other)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_poses_of_real_steps_are_not_used(telling, tmp_path):
    """A real dataset with other part poses trains the same student; a synthetic one does not."""
    one, other = (write_pictures(tmp_path / f"{s}.zarr", 5, shift=s) for s in (0.0, 0.5))

    def first_loss(**more) -> float:
        return float(make_trainer(dataclasses.replace(telling, **more), ALONE).train_step())

    assert first_loss(real=one) == first_loss(real=other)
    assert first_loss(data=(*telling.data, one)) != first_loss(data=(*telling.data, other))


def test_real_steps_teach_through_the_plan(telling, tmp_path):
    """Every shard has gradients of the same parameters; those of real steps come from the plan."""
    trainer = make_trainer(
        dataclasses.replace(telling, real=write_pictures(tmp_path / "real.zarr", 5)), ALONE
    )
    is_real = torch.from_numpy(trainer.train_rows >= 36)
    learned = [p for p in trainer.network.parameters() if p.requires_grad]
    assert 0 < len(learned) < len(list(trainer.network.parameters()))
    for kind in (is_real, ~is_real):
        trainer.optimizer.zero_grad()
        rows = kind.nonzero()[:3, 0]
        trainer._batch_loss(rows, torch.Generator().manual_seed(0)).backward()
        assert all(p.grad is not None for p in learned)
        assert sum(float(p.grad.abs().sum()) for p in learned) > 0
    actions = trainer.train_plans
    rows = is_real.nonzero()[:3, 0]

    def loss() -> float:
        torch.manual_seed(0)
        return float(trainer._batch_loss(rows, torch.Generator().manual_seed(0)).detach())

    first = loss()
    trainer.train_plans = actions * 0.5
    assert loss() != first


def test_a_student_goes_on_learning(telling, tmp_path):
    train(telling)
    visited = write_pictures(tmp_path / "visited.zarr", 3)
    more = dataclasses.replace(
        telling,
        data=(*telling.data, visited),
        state_policy=None,
        start_from=telling.out,
        out=tmp_path / "second",
        run_dir=tmp_path / "second_run",
    )
    trainer = make_trainer(more, ALONE)
    taught = load_base(telling.out, images=True)
    for name, value in taught.copy_network().state_dict().items():
        torch.testing.assert_close(trainer.network.state_dict()[name], value)
    assert trainer.normalizer.hash == taught.normalizer.hash
    assert trainer.tells_poses
    train(more, until=2)
    train(dataclasses.replace(more, resume=True))
    assert load_base(more.out, images=True).card.tells_poses
    with pytest.raises(ConfigError, match="state_policy|start_from"):
        train(dataclasses.replace(more, start_from=None, resume=True))


def test_eyes_go_on_with_real_steps_alone(telling, tmp_path):
    """Whose poses nobody knows, so that nobody can say how wrong they are told either."""
    train(telling)
    more = dataclasses.replace(
        telling,
        data=(),
        real=write_pictures(tmp_path / "real.zarr", 5),
        state_policy=None,
        start_from=telling.out,
        out=tmp_path / "second",
        run_dir=tmp_path / "second_run",
    )
    metrics = train(more)
    assert "pose_error_mm" not in metrics
    assert metrics["plan_error_mm"] > 0
    before, after = (load_base(c.out, images=True).copy_network() for c in (telling, more))
    assert not torch.equal(before.pose_head[0].weight, after.pose_head[0].weight)
    torch.testing.assert_close(before.told_mean, after.told_mean)


def test_eyes_go_on_for_another_policy(telling, tmp_path):
    """They tell what they told, though that policy's ranges are others."""
    train(telling)
    other = write_pictures(tmp_path / "other.zarr", 9)
    out, run_dir = tmp_path / "other", tmp_path / "other_run"
    seeing = dataclasses.replace(telling, observation="state", state_policy=None)
    data = (*telling.data, other)
    train(dataclasses.replace(seeing, data=data, out=out, run_dir=run_dir))
    more = dataclasses.replace(
        telling,
        state_policy=out,
        start_from=telling.out,
        out=tmp_path / "second",
        run_dir=tmp_path / "second_run",
    )
    trainer = make_trainer(more, ALONE)
    student, planner = load_base(telling.out, images=True), load_base(out)
    assert trainer.normalizer.hash == planner.normalizer.hash != student.normalizer.hash
    for name, value in planner.copy_network().state_dict().items():
        torch.testing.assert_close(trainer.network.plan.state_dict()[name], value)
    obs, images = trainer.data.state_obs[:4, :16], make_images(telling, slice(0, 4))
    seen = {n: prepare_images(n, p, 32) for n, p in images.items()}
    proprio = torch.from_numpy(planner.normalizer.first(16).normalize_obs(obs))
    with torch.no_grad():
        told = trainer.network.tell(proprio, seen).numpy()
    state = read_told(student.task, obs.astype(np.float64), told)
    np.testing.assert_allclose(state, student.tell_state(obs, images), atol=2e-3)
    train(more)


def test_a_student_without_poses_goes_on_learning(config, tmp_path):
    train(config)
    more = dataclasses.replace(
        config, start_from=config.out, out=tmp_path / "b", run_dir=tmp_path / "b_run"
    )
    trainer = make_trainer(more, ALONE)
    assert not trainer.tells_poses
    taught = load_base(config.out, images=True)
    for name, value in taught.copy_network().state_dict().items():
        torch.testing.assert_close(trainer.network.state_dict()[name], value)
    assert trainer.normalizer.hash == taught.normalizer.hash
    train(more)


def test_policies_that_do_not_fit(config, state_policy, telling, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="give it as --state-policy"):
        make_trainer(dataclasses.replace(config, start_from=state_policy), ALONE)
    both = dataclasses.replace(config, start_from=config.out, encoder_weights=tmp_path / "x")
    with pytest.raises(ConfigError, match="both say where encoders begin"):
        make_trainer(both, ALONE)
    real = write_pictures(tmp_path / "real.zarr", 5)
    with pytest.raises(ConfigError, match="--state-policy needs --data"):
        make_trainer(dataclasses.replace(telling, data=(), real=real), ALONE)
    train(config)
    with pytest.raises(CheckpointMismatch, match="is a student"):
        make_trainer(dataclasses.replace(config, state_policy=config.out), ALONE)
    with pytest.raises(ConfigError, match="tells no poses, from which --state-policy plans"):
        make_trainer(dataclasses.replace(telling, start_from=config.out), ALONE)
    wider = dataclasses.replace(TINY, network=dataclasses.replace(TINY.network, groups=8))
    monkeypatch.setattr(student_trainer, "student_preset", lambda *_, **__: wider)
    with pytest.raises(
        ConfigError, match="its network is groups=4, this run has groups=8; train it with the same"
    ):
        make_trainer(telling, ALONE)
    bad = telling.data[0]
    zarr.open_group(str(bad), mode="r+")["state_obs"][4, 20] = np.nan
    monkeypatch.setattr(student_trainer, "student_preset", lambda *_, **__: TINY)
    with pytest.raises(DataError, match="not finite"):
        make_trainer(telling, ALONE)
