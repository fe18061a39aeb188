# SPDX-License-Identifier: Apache-2.0
import typing

import pytest
import torch

from resip_ros.core.errors import ConfigError
from training.bc_config import BcConfig
from training.presets import NETWORKS, SIZES, get_preset


def count(network: str, size: str) -> int:
    preset = get_preset(network, size)
    with torch.device("meta"):
        built = preset.network.build(10, 58, preset.prediction_horizon)
    return sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize(
    ("network", "millions", "tolerance"),
    [
        # ResiP Table IV says 66 M; its published code has 66.06 M for this task.
        ("unet", 66.06, 0.01),
        # Table V says 11 M.
        ("mlp_s", 11, 0.5),
        ("mlp_c", 11, 0.5),
    ],
)
def test_paper_presets_have_the_papers_parameter_counts(
    network: str, millions: float, tolerance: float
) -> None:
    assert count(network, "paper") / 1e6 == pytest.approx(millions, abs=tolerance)


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_small_presets_stay_small(network: str) -> None:
    assert count(network, "small") < 2e6


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_paper_presets_use_raw_input_and_absolute_actions(network: str) -> None:
    paper, small = get_preset(network, "paper"), get_preset(network, "small")
    assert (paper.features, paper.plan_frame) == ("absolute", "base")
    assert (small.features, small.plan_frame) == ("relative", "hand")
    assert paper.optimizer == "adamw"
    assert small.optimizer == ("adamw" if network.startswith("mlp") else "muon")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("network", "predicted", "executed"),
    [("mlp_s", 1, 1), ("mlp_c", 8, 8), ("unet", 32, 8), ("transformer", 32, 8), ("act", 32, 8)],
)
def test_horizons_are_the_papers(network: str, size: str, predicted: int, executed: int) -> None:
    preset = get_preset(network, size)
    preset.network.check_horizon(preset.prediction_horizon)
    assert (preset.prediction_horizon, preset.action_horizon) == (predicted, executed)
    assert (preset.sampler is not None) == preset.network.denoises


def test_command_line_offers_every_network_and_size() -> None:
    hints = typing.get_type_hints(BcConfig)
    assert typing.get_args(hints["network"]) == tuple(NETWORKS)
    assert typing.get_args(hints["preset"]) == SIZES


@pytest.mark.parametrize("names", [("lstm", "small"), ("unet", "huge")])
def test_unknown_names_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="unknown .*known"):
        get_preset(*names)
