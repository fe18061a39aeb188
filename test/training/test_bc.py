# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.policy.act import ActSpec
from resip_ros.policy.bundle import load_base, load_policy
from resip_ros.policy.mlp import MlpSpec
from resip_ros.policy.transformer import TransformerSpec
from resip_ros.policy.unet import UNetSpec
from training import bc, bc_trainer
from training.bc import CHECKPOINT_FILE, train
from training.bc_config import BcConfig
from training.bc_trainer import BcTrainer
from training.dataset import build_demonstrations, read_demonstrations, write_demonstrations
from training.presets import BcPreset

UNET = UNetSpec(down_dims=(32, 32), kernel_size=3, groups=4, step_embed_dim=8, encoder_dim=16)
TINY = BcPreset(
    network=dataclasses.replace(UNET, encoder_dim=0),
    learning_rate=1e-2,
    steps=4,
)
HAND = dataclasses.replace(TINY, network=UNET, features="relative", plan_frame="hand")
PRESETS = {
    "absolute": TINY,
    "hand": HAND,
    "mlp_s": dataclasses.replace(
        HAND, network=MlpSpec(width=64, blocks=2), prediction_horizon=1, action_horizon=1
    ),
    "mlp_c": dataclasses.replace(
        TINY, network=MlpSpec(width=64, blocks=2), prediction_horizon=8, action_horizon=8
    ),
    "transformer": dataclasses.replace(
        HAND, network=TransformerSpec(layers=1, heads=2, width=32), prediction_horizon=12
    ),
    "act": dataclasses.replace(
        HAND,
        network=ActSpec(encoder_layers=1, decoder_layers=1, heads=2, width=32, feedforward=64),
        prediction_horizon=12,
    ),
}
every_network = pytest.mark.parametrize("preset", sorted(PRESETS), indirect=True)


@pytest.fixture(autouse=True, params=["absolute", "hand"])
def preset(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> BcPreset:
    preset = PRESETS[request.param]
    monkeypatch.setattr(bc_trainer, "get_preset", lambda _network, _size: preset)
    return preset


@pytest.fixture
def config(tmp_path: Path) -> BcConfig:
    """Three smooth episodes in which the action follows the observation."""
    time = np.linspace(0, 3, 40)[:, None]
    obs = [np.sin(time + np.arange(58) + 0.1 * episode) for episode in range(3)]
    action = [episode[:, :10] for episode in obs]
    data = build_demonstrations("one_leg", obs, action, source="scripted", seed=0)
    write_demonstrations(tmp_path / "demos.zarr", data)
    return BcConfig(
        data=(tmp_path / "demos.zarr",),
        out=tmp_path / "models" / "base",
        run_dir=tmp_path / "run",
        batch=8,
        threads=1,
        eval_every=2,
    )


def build_trainer(config: BcConfig) -> BcTrainer:
    return BcTrainer(config, read_demonstrations(config.data[0], config.task))


def weights(config: BcConfig) -> dict[str, torch.Tensor]:
    state = torch.load(config.resolved_run_dir / CHECKPOINT_FILE, weights_only=True)
    return {f"{part}.{k}": v for part in ("network", "ema") for k, v in state[part].items()}


@every_network
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


@every_network
def test_run_leaves_bundle_metrics_and_tensorboard(config: BcConfig, preset: BcPreset) -> None:
    metrics = train(config)
    run_dir = config.resolved_run_dir
    assert json.loads((run_dir / "metrics.json").read_text()) == metrics
    assert list(run_dir.glob("events.out.tfevents*"))
    policy = load_policy(config.out.parent)
    card = policy.base.card
    assert (card.provenance.gradient_steps, card.provenance.env_steps) == (4, 0)
    assert card.provenance.data_hash == read_demonstrations(config.data[0], "one_leg").hash
    assert card.weights_hash == metrics["weights_hash"]
    assert (card.network, card.sampler) == (preset.network, preset.sampler)
    obs = read_demonstrations(config.data[0], "one_leg").state_obs[:2]
    assert policy.base.predict_chunk(obs).shape == (2, preset.prediction_horizon, 10)


@every_network
def test_bundle_holds_the_averaged_weights(config: BcConfig) -> None:
    train(config)
    stored = load_base(config.out)._network.state_dict()
    for name, value in weights(config).items():
        if name.startswith("ema."):
            expected = value.half().float()
            torch.testing.assert_close(stored[name.removeprefix("ema.")], expected)


@pytest.mark.parametrize(
    ("preset", "figure"),
    # Measured 0.34, 0.41, 0.12, 0.0002, 0.0025, 0.08, and 0.8 to 30 before training.
    [
        ("absolute", 0.55),
        ("hand", 0.55),
        ("transformer", 0.2),
        ("mlp_s", 0.005),
        ("mlp_c", 0.005),
        ("act", 0.2),
    ],
    indirect=["preset"],
)
def test_training_fits_a_tiny_dataset(config: BcConfig, figure: float) -> None:
    trainer = build_trainer(dataclasses.replace(config, steps=150, batch=32))
    before = trainer.validate()
    assert before["val_loss"] > figure
    losses = [trainer.train_step().item() for _ in range(150)]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])
    after = trainer.validate()
    assert after["val_loss"] < figure
    assert after["plan_error_mm"] < before["plan_error_mm"]


@pytest.mark.parametrize("preset", ["transformer", "act"], indirect=True)
def test_dropout_is_the_same_whatever_else_draws_random_numbers(config: BcConfig) -> None:
    one, other = build_trainer(config), build_trainer(config)
    for _ in range(2):
        one.train_step()
        torch.randn(7)
        other.train_step()
    pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    # and it differs from step to step
    inputs, plans = one.train_inputs[:8], one.train_plans[:8]
    generator = torch.Generator()
    losses = set()
    for _ in range(2):
        generator.manual_seed(0)
        loss = one.network.compute_loss(inputs, plans, generator, one.preset.sampler)
        losses.add(loss.item())
    assert len(losses) == 2


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
    with pytest.raises(ResipError, match=r"loss is nan at step 3.*--learning-rate.*checkpoint.pt"):
        train(config)
    checkpoint = config.resolved_run_dir / CHECKPOINT_FILE
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    assert not config.out.exists()


def test_a_broken_weight_does_not_replace_the_last_good_checkpoint(
    config: BcConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a step is computed before its update: the next loss would come too late."""
    step = BcTrainer.train_step

    def break_weight(self: BcTrainer) -> torch.Tensor:
        loss = step(self)
        if self.step == 4:
            next(self.network.parameters()).data.fill_(math.inf)
        return loss

    monkeypatch.setattr(BcTrainer, "train_step", break_weight)
    with pytest.raises(ResipError, match=r"weight .* is not finite after step 4.*--learning-rate"):
        train(config)
    checkpoint = config.resolved_run_dir / CHECKPOINT_FILE
    assert torch.load(checkpoint, weights_only=True)["step"] == 2
    assert not config.out.exists()


def test_divergence_before_the_first_checkpoint_says_that_there_is_none(
    config: BcConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BcTrainer, "train_step", lambda self: torch.tensor(math.inf))
    with pytest.raises(ResipError, match=r"loss is inf at step 0.*none yet"):
        train(config)


@pytest.mark.parametrize("preset", ["hand"], indirect=True)
def test_a_rotation_that_is_none_is_refused_before_training(config: BcConfig) -> None:
    data = read_demonstrations(config.data[0], "one_leg")
    data.state_obs[45, 3:9] = 0
    with pytest.raises(DataError, match=r"1 rows of .*demos.zarr, first in row 45 \(episode 1\)"):
        BcTrainer(config, data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"seed": 1}, "seed = 0"), ({"steps": 5}, "total_steps = 4"), ({"batch": 4}, "batch = 8")],
)
def test_resume_refuses_another_run(config: BcConfig, change: dict, reason: str) -> None:
    train(config, until=2)
    with pytest.raises(ConfigError, match=reason):
        train(dataclasses.replace(config, resume=True, **change))


def test_a_finished_policy_is_written_again_with_another_action_horizon(config: BcConfig) -> None:
    train(config)
    assert load_base(config.out).action_steps == 8
    before = weights(config)
    train(dataclasses.replace(config, resume=True, action_horizon=2))
    assert load_base(config.out).action_steps == 2
    after = weights(config)
    assert all(torch.equal(after[name], before[name]) for name in before)
    with pytest.raises(ConfigError, match="--action-horizon 33: unet plans only 32 steps"):
        train(dataclasses.replace(config, resume=True, action_horizon=33))


def test_resume_refuses_another_network(
    config: BcConfig, monkeypatch: pytest.MonkeyPatch, preset: BcPreset
) -> None:
    train(config, until=2)
    resumed = dataclasses.replace(config, resume=True)
    wider = dataclasses.replace(preset.network, step_embed_dim=16)
    for network, reason in (
        (PRESETS["act"].network, "network = unet, this run has act"),
        (wider, r"preset\.network\.step_embed_dim = 8, this run has 16"),
    ):
        other = dataclasses.replace(preset, network=network)
        monkeypatch.setattr(bc_trainer, "get_preset", lambda *_, other=other: other)
        with pytest.raises(ConfigError, match=reason):
            train(resumed)


def test_resume_refuses_other_data(config: BcConfig) -> None:
    train(config, until=2)
    data = read_demonstrations(config.data[0], "one_leg")
    write_demonstrations(config.data[0], dataclasses.replace(data, action=data.action + 1))
    with pytest.raises(ConfigError, match="data_hash"):
        train(dataclasses.replace(config, resume=True))


def test_starting_afresh_does_not_overwrite_a_run(config: BcConfig) -> None:
    train(config, until=2)
    before = weights(config)
    with pytest.raises(ConfigError, match="earlier run.*--resume.*--run-dir"):
        train(config)
    assert all(torch.equal(v, before[k]) for k, v in weights(config).items())


def _write_tensor(path: Path) -> None:
    torch.save(torch.zeros(2), path)


def _write_foreign_run(path: Path) -> None:
    torch.save({"identity": {"seed": 0}}, path)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: None, "nothing to resume"),
        (lambda path: path.write_bytes(b""), "cannot read checkpoint"),
        (lambda path: path.write_bytes(b"garbage"), "cannot read checkpoint"),
        (_write_tensor, "is not a checkpoint of this program"),
        (_write_foreign_run, "does not say its data_hash"),
    ],
)
def test_resume_refuses_a_missing_or_damaged_checkpoint(
    config: BcConfig, write: Callable[[Path], object], reason: str
) -> None:
    config.resolved_run_dir.mkdir()
    write(config.resolved_run_dir / CHECKPOINT_FILE)
    with pytest.raises(ConfigError, match=reason):
        train(dataclasses.replace(config, resume=True))


def test_time_budget_stops_early_with_a_usable_bundle(config: BcConfig) -> None:
    metrics = train(dataclasses.replace(config, minutes=1e-9))
    assert metrics["steps"] == 1
    assert not metrics["finished"]
    load_base(config.out)


def test_command_line_reports_bad_data_in_one_line(
    config: BcConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = config.data[0].with_name("missing.zarr")
    monkeypatch.setattr(
        "sys.argv", ["bc", "--data", str(missing), "--out", str(config.out), "--steps", "2"]
    )
    assert bc.main() == 1
    assert f"training.bc: no dataset at {missing}" in capsys.readouterr().err


def test_bad_numbers_are_refused(config: BcConfig) -> None:
    with pytest.raises(ConfigError, match="--device abacus: .*; give cpu"):
        train(dataclasses.replace(config, device="abacus"))
    data = read_demonstrations(config.data[0], "one_leg")
    one = build_demonstrations(
        "one_leg", [data.state_obs[:40]], [data.action[:40]], source="scripted", seed=0
    )
    with pytest.raises(DataError, match="at least 2 episodes"):
        BcTrainer(config, one)


def test_places_that_cannot_be_written_are_found_first(config: BcConfig, tmp_path: Path) -> None:
    file, missing = tmp_path / "file", tmp_path / "none.zarr"
    file.write_text("mine")
    for change, reason in (
        ({"out": file / "base"}, "--out .*cannot write in"),
        ({"out": file}, "is a file"),
        ({"out": config.data[0]}, "is no bundle"),
        ({"run_dir": file}, "--run-dir .*is a file"),
        ({"run_dir": file / "run"}, "--run-dir .*cannot write in"),
    ):
        with pytest.raises(ConfigError, match=reason):
            # even before the data are read
            train(dataclasses.replace(config, **{"data": (missing,)} | change))
    assert file.read_text() == "mine"
    assert config.data[0].is_dir()


def test_a_failed_validation_costs_no_step(
    config: BcConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: BcTrainer) -> dict[str, float]:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(BcTrainer, "validate", fail)
    with pytest.raises(RuntimeError):
        train(dataclasses.replace(config, eval_every=2))
    trainer = bc.make_trainer(config, bc_trainer.ALONE)
    trainer.load_checkpoint(config.resolved_run_dir / CHECKPOINT_FILE)
    assert trainer.step == 2


def test_several_datasets_are_one(config: BcConfig, tmp_path: Path) -> None:
    data = read_demonstrations(config.data[0], "one_leg")
    write_demonstrations(tmp_path / "more.zarr", data)
    both = dataclasses.replace(config, data=(*config.data, tmp_path / "more.zarr"))
    metrics = train(both, until=1)
    assert metrics["episodes"] == 2 * data.num_episodes
    with pytest.raises(ConfigError, match="--data: no dataset given"):
        dataclasses.replace(config, data=())
