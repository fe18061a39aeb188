# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 (arXiv 1512.03385), with the parameter names of torchvision, so that its weights load.

Written here because torchvision does not load beside PyTorch's CPU build. R3M publishes its
weights under the same names. Letters: B batch, S pixels of a side, C channels.

Normalisation: from scratch GroupNorm, which needs no statistics and is the same in training and
running (saved weights are an average, and averaged BatchNorm statistics fit no network). With
pretrained weights BatchNorm, frozen: its statistics belong to those weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from resip_ros.core.errors import ConfigError

NORMS = ("group", "frozen_batch")
_GROUP_CHANNELS = 8
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, which pretrained weights expect."""
_IGNORED = ("fc.", "num_batches_tracked")
_PREFIXES = ("module.convnet.", "convnet.", "module.", "backbone.")


class FrozenBatchNorm(nn.Module):
    """BatchNorm whose statistics stay as they are; scale and shift are learned on."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, S, S)."""
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias
        )


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "frozen_batch":
        return FrozenBatchNorm(channels)
    return nn.GroupNorm(max(1, channels // _GROUP_CHANNELS), channels)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = _norm(norm, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = _norm(norm, channels)
        self.downsample = None
        if stride != 1 or inputs != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), _norm(norm, channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, channels, S / stride, S / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet18(nn.Module):
    """The network up to its last feature map; ResNet-18 itself with width 64 and 4 stages."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int = 64, stages: int = 4, norm: str = "group") -> None:
        """Build it.

        Args:
            width: Channels of the first stage; each later one has twice as many.
            stages: Of two blocks each; all but the first halve the resolution.
            norm: One of NORMS.
        """
        super().__init__()
        if norm not in NORMS:
            raise ConfigError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = _norm(norm, width)
        channels = width
        self.stages = stages
        for stage in range(stages):
            wide, stride = width * 2**stage, 1 if stage == 0 else 2
            blocks = BasicBlock(channels, wide, stride, norm), BasicBlock(wide, wide, 1, norm)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            channels = wide
        self.channels = channels
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (B, channels, ...) of pictures (B, 3, S, S) in [0, 1]."""
        x = functional.relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        x = functional.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a ResNet-18 from a file the user supplies, under torchvision's names.

    Takes `.safetensors`, or a file of `torch.save` that holds tensors only (torchvision's
    resnet18-*.pth, or R3M's model.pt, whose state is under the key `r3m`).

    Raises:
        ConfigError: the file cannot be read, or holds another network.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            found: object = safetensors.torch.load_file(path)
        else:
            # weights_only: nothing but tensors is ever unpickled
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"cannot read encoder weights {path}: {reason[0][:120]}; give safetensors, or a file "
            "of torch.save that holds tensors only"
        ) from error
    for key in ("r3m", "state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise ConfigError(f"{path} holds {type(found).__name__}, expected named tensors")
    named = {_plain_name(str(k)): v for k, v in found.items() if isinstance(v, Tensor)}
    return {k: v for k, v in named.items() if not any(text in k for text in _IGNORED)}


def _plain_name(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def load_weights(network: ResNet18, weights: Mapping[str, Tensor], source: str) -> None:
    """Copy weights into a network with frozen BatchNorm; what lies beyond ResNet-18 is left out.

    Raises:
        ConfigError: naming the first parameter that is missing or of another shape.
    """
    own = network.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise ConfigError(
                f"{source} lacks {name}: not a ResNet-18 under torchvision's names; it has "
                f"{', '.join(sorted(weights)[:3])}, ..."
            )
        if weights[name].shape != tensor.shape:
            raise ConfigError(
                f"{source}: {name} is {tuple(weights[name].shape)}, ResNet-18 has "
                f"{tuple(tensor.shape)}; give weights of ResNet-18 itself"
            )
    known = tuple(f"layer{i + 1}." for i in range(network.stages))
    extra = [k for k in weights if k.startswith(known) and k not in own]
    if extra:
        raise ConfigError(f"{source} also has {extra[0]}: a larger network than ResNet-18")
    network.load_state_dict({name: weights[name] for name in own})
