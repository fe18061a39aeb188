# SPDX-License-Identifier: Apache-2.0
"""ResNet-18: its names and sizes are torchvision's, its frozen norm is BatchNorm's at run time."""

import pytest
import safetensors.torch
import torch
from torch import nn

from resip_ros.core.errors import ConfigError
from resip_ros.policy.resnet import FrozenBatchNorm, ResNet18, load_weights, read_weights


def torchvision_names() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's resnet18 without `fc`, written down independently."""
    names: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            names[f"{name}.{part}"] = (channels,)

    norm("bn1", 64)
    inputs = 64
    for layer, channels in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            at = f"layer{layer}.{block}"
            first = inputs if block == 0 else channels
            names[f"{at}.conv1.weight"] = (channels, first, 3, 3)
            names[f"{at}.conv2.weight"] = (channels, channels, 3, 3)
            norm(f"{at}.bn1", channels)
            norm(f"{at}.bn2", channels)
            if block == 0 and layer > 1:
                names[f"{at}.downsample.0.weight"] = (channels, inputs, 1, 1)
                norm(f"{at}.downsample.1", channels)
        inputs = channels
    return names


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(shape, generator=generator) * (0.05 if len(shape) > 1 else 1.0)
        for name, shape in torchvision_names().items()
    }


@pytest.mark.parametrize("norm", ["group", "frozen_batch"])
def test_names_and_size_are_those_of_torchvision(norm):
    network = ResNet18(norm=norm)
    expected = torchvision_names()
    if norm == "group":
        expected = {k: v for k, v in expected.items() if "running" not in k}
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == expected
    # torchvision documents 11 689 512, of which 513 000 are the classifier
    assert sum(p.numel() for p in network.parameters()) == 11_176_512


def test_frozen_norm_is_batch_norm_at_run_time():
    frozen, batch = FrozenBatchNorm(5).train(), nn.BatchNorm2d(5)
    with torch.no_grad():
        for tensor in (*batch.parameters(), batch.running_mean, batch.running_var):
            tensor.copy_(torch.rand(5) + 0.5)
    frozen.load_state_dict({k: v for k, v in batch.state_dict().items() if "num" not in k})
    x = torch.randn(4, 5, 3, 3)
    torch.testing.assert_close(frozen(x), batch.eval()(x))
    assert torch.equal(frozen.running_mean, batch.running_mean), "training leaves the statistics"


@pytest.mark.parametrize("kind", ["pth", "r3m", "safetensors"])
def test_weights_of_every_kind_of_file(tmp_path, weights, kind):
    extra = {"fc.weight": torch.zeros(1000, 512), "bn1.num_batches_tracked": torch.tensor(3)}
    path = tmp_path / f"resnet.{'safetensors' if kind == 'safetensors' else 'pt'}"
    if kind == "safetensors":
        safetensors.torch.save_file(weights, path)
    elif kind == "r3m":
        state = {f"module.convnet.{k}": v for k, v in (weights | extra).items()}
        torch.save({"r3m": state | {"module.lang_rew.pred.0.weight": torch.zeros(2)}}, path)
    else:
        torch.save(weights | extra, path)
    network = ResNet18(norm="frozen_batch")
    load_weights(network, read_weights(path), str(path))
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in weights.items())


def test_other_files_are_refused(tmp_path, weights):
    network = ResNet18(norm="frozen_batch")
    with pytest.raises(ConfigError, match="lacks layer2.0.conv1.weight"):
        load_weights(
            network, {k: v for k, v in weights.items() if k != "layer2.0.conv1.weight"}, "x"
        )
    with pytest.raises(ConfigError, match=r"conv1.weight is \(64, 4, 7, 7\)"):
        load_weights(network, weights | {"conv1.weight": torch.zeros(64, 4, 7, 7)}, "x")
    with pytest.raises(ConfigError, match="larger network"):
        load_weights(network, weights | {"layer3.5.conv1.weight": torch.zeros(1)}, "x")
    (tmp_path / "a.pt").write_bytes(b"no weights")
    with pytest.raises(ConfigError, match="cannot read encoder weights"):
        read_weights(tmp_path / "a.pt")
    with pytest.raises(ConfigError, match="norm must be one of"):
        ResNet18(norm="batch")


def test_smaller_ones_halve_from_stage_to_stage():
    network = ResNet18(width=8, stages=3)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 32, 4, 4)
