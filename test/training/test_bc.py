# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.policy.bundle import load_base, load_policy
from resip_ros.policy.networks import UNetSpec
from training import bc, bc_trainer
from training.bc import CHECKPOINT_FILE, train
from training.bc_trainer import BcConfig, BcTrainer
from training.dataset import build_demonstrations, read_demonstrations, write_demonstrations
from training.presets import BcPreset

TINY = BcPreset(
    network=UNetSpec(down_dims=(32, 32), kernel_size=3, groups=4, step_embed_dim=8),
    learning_rate=1e-2,
    steps=4,
)


HAND = dataclasses.replace(
    TINY,
    network=dataclasses.replace(TINY.network, encoder_dim=16),
    relative_features=True,
    plan_frame="hand",
)


@pytest.fixture(autouse=True, params=[TINY, HAND], ids=["absolute", "hand"])
def _tiny_preset(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(bc_trainer, "get_preset", lambda _name: request.param)


@pytest.fixture
def config(tmp_path: Path) -> BcConfig:
    """Three smooth episodes in which the action follows the observation."""
    time = np.linspace(0, 3, 40)[:, None]
    obs = [np.sin(time + np.arange(58) + 0.1 * episode) for episode in range(3)]
    action = [episode[:, :10] for episode in obs]
    data = build_demonstrations("one_leg", obs, action, source="scripted", seed=0)
    write_demonstrations(tmp_path / "demos.zarr", data)
    return BcConfig(
        data=tmp_path / "demos.zarr",
        out=tmp_path / "models" / "base",
        run_dir=tmp_path / "run",
        batch=8,
        threads=1,
        eval_every=2,
    )


def build_trainer(config: BcConfig) -> BcTrainer:
    return BcTrainer(config, read_demonstrations(config.data, config.task))


def weights(config: BcConfig) -> dict[str, torch.Tensor]:
    state = torch.load(config.resolved_run_dir / CHECKPOINT_FILE, weights_only=True)
    return {f"{part}.{k}": v for part in ("network", "ema") for k, v in state[part].items()}


def test_two_steps_and_two_more_equal_four(config: BcConfig, tmp_path: Path) -> None:
    straight = dataclasses.replace(config, run_dir=tmp_path / "straight")
    train(straight)
    assert not train(config, until=2)["finished"]
    # the pause must not leak: another run draws random numbers in between
    torch.randn(7)
    metrics = train(dataclasses.replace(config, resume=True))
    assert metrics["finished"]
    expected, resumed = weights(straight), weights(config)
    assert expected.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in expected.items())
    assert any(
        not torch.equal(v, expected[n.replace("ema", "network")])
        for n, v in expected.items()
        if n.startswith("ema")
    )


def test_run_leaves_bundle_metrics_and_tensorboard(config: BcConfig) -> None:
    metrics = train(config)
    run_dir = config.resolved_run_dir
    assert json.loads((run_dir / "metrics.json").read_text()) == metrics
    assert list(run_dir.glob("events.out.tfevents*"))
    policy = load_policy(config.out.parent)
    card = policy.base.card
    assert (card.provenance.gradient_steps, card.provenance.env_steps) == (4, 0)
    assert card.provenance.data_hash == read_demonstrations(config.data, "one_leg").hash
    assert card.weights_hash == metrics["weights_hash"]
    assert policy.base.predict_chunk(np.zeros((2, 58))).shape == (2, 32, 10)


def test_bundle_holds_the_averaged_weights(config: BcConfig) -> None:
    train(config)
    stored = load_base(config.out)._network.state_dict()
    for name, value in weights(config).items():
        if name.startswith("ema."):
            expected = value.half().float()
            torch.testing.assert_close(stored[name.removeprefix("ema.")], expected)


def test_training_lowers_the_loss(config: BcConfig) -> None:
    trainer = build_trainer(dataclasses.replace(config, steps=150, batch=32))
    before = trainer.validate()
    losses = [trainer.train_step().item() for _ in range(150)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])
    after = trainer.validate()
    assert after["val_loss"] < 0.7 * before["val_loss"]
    assert after["plan_error_mm"] < before["plan_error_mm"]


def test_validation_does_not_disturb_training(config: BcConfig) -> None:
    quiet, noisy = build_trainer(config), build_trainer(config)
    for _ in range(2):
        quiet.train_step()
        noisy.train_step()
        noisy.validate()
    pairs = zip(quiet.network.parameters(), noisy.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_learning_rate_warms_up_then_falls_as_a_cosine(config: BcConfig) -> None:
    trainer = build_trainer(dataclasses.replace(config, steps=10_000, learning_rate=1.0))
    rates = {}
    for step in (0, 249, 499, 500, 5250, 9999):
        trainer.step = step
        rates[step] = trainer.learning_rate
    assert rates[0] == pytest.approx(1 / 500)
    assert rates[249] == pytest.approx(0.5)
    assert rates[499] == rates[500] == pytest.approx(1.0)
    assert rates[5250] == pytest.approx(0.5)
    assert 0 <= rates[9999] < 1e-6


def test_divergence_stops_and_keeps_the_last_good_checkpoint(
    config: BcConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = BcTrainer.train_step

    def diverge(self: BcTrainer) -> torch.Tensor:
        loss = step(self)
        return loss * math.nan if self.step == 3 else loss

    monkeypatch.setattr(BcTrainer, "train_step", diverge)
    with pytest.raises(ResipError, match=r"loss is nan at step 3.*--learning-rate"):
        train(config)
    checkpoint = config.resolved_run_dir / CHECKPOINT_FILE
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    assert not config.out.exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"seed": 1}, "seed = 0"), ({"steps": 5}, "total_steps = 4"), ({"batch": 4}, "batch = 8")],
)
def test_resume_refuses_another_run(config: BcConfig, change: dict, reason: str) -> None:
    train(config, until=2)
    with pytest.raises(ConfigError, match=reason):
        train(dataclasses.replace(config, resume=True, **change))


def test_resume_refuses_other_data(config: BcConfig) -> None:
    train(config, until=2)
    data = read_demonstrations(config.data, "one_leg")
    write_demonstrations(config.data, dataclasses.replace(data, action=data.action + 1))
    with pytest.raises(ConfigError, match="data_hash"):
        train(dataclasses.replace(config, resume=True))


def test_starting_afresh_does_not_overwrite_a_run(config: BcConfig) -> None:
    train(config, until=2)
    before = weights(config)
    with pytest.raises(ConfigError, match="earlier run.*--resume.*--run-dir"):
        train(config)
    assert all(torch.equal(v, before[k]) for k, v in weights(config).items())


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_resume_refuses_a_missing_or_damaged_checkpoint(
    config: BcConfig, content: bytes | None
) -> None:
    config.resolved_run_dir.mkdir()
    if content is not None:
        (config.resolved_run_dir / CHECKPOINT_FILE).write_bytes(content)
    with pytest.raises(ConfigError, match="nothing to resume|cannot read checkpoint"):
        train(dataclasses.replace(config, resume=True))


def test_time_budget_stops_early_with_a_usable_bundle(config: BcConfig) -> None:
    metrics = train(dataclasses.replace(config, minutes=1e-9))
    assert metrics["steps"] == 1
    assert not metrics["finished"]
    load_base(config.out)


def test_command_line_reports_bad_data_in_one_line(
    config: BcConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = config.data.with_name("missing.zarr")
    monkeypatch.setattr(
        "sys.argv", ["bc", "--data", str(missing), "--out", str(config.out), "--steps", "2"]
    )
    assert bc.main() == 1
    assert f"error: no dataset at {missing}" in capsys.readouterr().err


def test_bad_numbers_are_refused(config: BcConfig) -> None:
    with pytest.raises(ConfigError, match="batch must be positive, got 0"):
        dataclasses.replace(config, batch=0)
    data = read_demonstrations(config.data, "one_leg")
    one = build_demonstrations(
        "one_leg", [data.state_obs[:40]], [data.action[:40]], source="scripted", seed=0
    )
    with pytest.raises(DataError, match="at least 2 episodes"):
        BcTrainer(config, one)
