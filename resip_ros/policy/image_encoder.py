# SPDX-License-Identifier: Apache-2.0
"""From the cameras' pictures to features: one definition for training, evaluation and robot.

The front picture is cropped to 224 x 224 (in training at random inside its middle 280 columns),
that of the wrist squashed to 224 x 224 (ResiP Tables XI and XII); both then shrink to the size
that the encoder sees.
Letters: B batch, S encoder's size in pixels, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from resip_ros.core.errors import DataError
from resip_ros.core.images import IMAGE_HEIGHT, IMAGE_SHAPE, IMAGE_WIDTH
from resip_ros.core.observation import proprioception_names
from resip_ros.core.tasks import TaskSpec
from resip_ros.policy.plan_network import NetworkSpec, PlanNetwork
from resip_ros.policy.resnet import NORMS, ResNet18
from resip_ros.policy.sampler import SamplerSpec
from resip_ros.policy.told_poses import told_dim, told_scale

CROP = 224
CROP_AREA_WIDTH = 280
SQUASHED = "wrist"
POOLS = ("average", "keypoints")
_POSE_HIDDEN = 256
"""Width of the head that tells poses."""
Images = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class EncoderSpec:
    """Sizes of a camera's encoder; stored in the student's card."""

    size: int = 224
    """S, pixels of a side that the encoder sees."""
    width: int = 64
    """Channels of the first stage."""
    stages: int = 4
    norm: str = "group"
    """`group`, or `frozen_batch` with pretrained weights."""
    pool: str = "average"
    """`average` over the last feature map, or `keypoints`: where each of its channels is active
    (spatial softmax), which a small network learns faster."""
    features: int = 128
    """F, of each camera."""

    def __post_init__(self) -> None:
        """Refuse sizes the network cannot have."""
        if not 32 <= self.size <= CROP:
            raise ValueError(f"size must be 32 to {CROP}, got {self.size}")
        if self.width < 8 or self.width % 8 or not 1 <= self.stages <= 4 or self.features < 1:
            raise ValueError(
                f"width must be a multiple of 8, stages 1 to 4, features positive: got "
                f"{self.width}, {self.stages}, {self.features}"
            )
        for name, known in (("norm", NORMS), ("pool", POOLS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )


def check_images(cameras: tuple[str, ...], images: Images | None, count: int) -> None:
    """Refuse pictures that a policy cannot use.

    Args:
        cameras: Those that it needs.
        images: Camera to (B, 240, 320, 3) uint8 RGB.
        count: B.

    Raises:
        DataError: with camera, got, expected.
    """
    expected = (count, *IMAGE_SHAPE)
    for name in cameras:
        picture = (images or {}).get(name)
        if picture is None:
            raise DataError(
                f"no picture of camera {name}; the policy sees {', '.join(cameras)}, got "
                f"{', '.join(images or {}) or 'none'}"
            )
        if picture.dtype != np.uint8 or picture.shape != expected:
            raise DataError(
                f"camera {name}: {picture.dtype} {picture.shape}, expected uint8 {expected} RGB; "
                "set the driver to that size and encoding"
            )


def prepare_images(
    camera: str, pictures: NDArray[np.uint8], size: int, corners: NDArray[np.int64] | None = None
) -> Tensor:
    """Crop or squash pictures and shrink them to the encoder's size.

    Args:
        camera: `wrist` is squashed, any other cropped.
        pictures: (B, 240, 320, 3) uint8 RGB.
        size: S.
        corners: (B, 2) top row and left column of each crop; the middle if None.

    Returns:
        (B, 3, S, S) float32 in [0, 1].
    """
    if camera.startswith(SQUASHED):
        cut = list(pictures)
    else:
        if corners is None:
            middle = (IMAGE_HEIGHT - CROP) // 2, (IMAGE_WIDTH - CROP) // 2
            corners = np.tile(middle, (len(pictures), 1))
        cut = [
            picture[top : top + CROP, left : left + CROP]
            for picture, (top, left) in zip(pictures, corners, strict=True)
        ]
    shrunk = [cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) for picture in cut]
    return torch.from_numpy(np.stack(shrunk)).permute(0, 3, 1, 2).contiguous().float() / 255.0


class CameraEncoder(nn.Module):
    """Features of one camera's pictures."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.net = ResNet18(spec.width, spec.stages, spec.norm)
        self._keypoints = spec.pool == "keypoints"
        inputs = 2 * self.net.channels if self._keypoints else self.net.channels
        self.projection = nn.Linear(inputs, spec.features)
        self.scale = nn.LayerNorm(spec.features)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1] to (B, F)."""
        maps = self.net(image)
        pooled = find_keypoints(maps) if self._keypoints else maps.mean((-2, -1))
        return self.scale(self.projection(pooled))


def find_keypoints(maps: Tensor) -> Tensor:
    """Mean position (B, 2 C) of each of the feature maps (B, C, H, W), -1 to 1 in x and y."""
    weight = functional.softmax(maps.flatten(-2), dim=-1).view_as(maps)
    height, width = maps.shape[-2:]
    y = torch.linspace(-1.0, 1.0, height, device=maps.device, dtype=maps.dtype)
    x = torch.linspace(-1.0, 1.0, width, device=maps.device, dtype=maps.dtype)
    return torch.cat([(weight.sum(-2) * x).sum(-1), (weight.sum(-1) * y).sum(-1)], dim=-1)


class StudentNetwork(PlanNetwork):
    """A plan network behind one encoder for each camera.

    Its input is proprioception and the features of every camera; or, with a pose head, what a
    policy that sees the state is given: the head tells the parts' poses (`policy.told_poses`)
    from the features, and whoever runs the network makes that input of them.
    """

    told_mean: Tensor
    told_unit: Tensor

    def __init__(
        self,
        network: NetworkSpec,
        cameras: tuple[str, ...],
        encoder: EncoderSpec,
        dims: tuple[int, int, int],
        told: TaskSpec | None = None,
    ) -> None:
        """Build it untrained.

        Args:
            network: Sizes of the plan network.
            cameras: Their names.
            encoder: Sizes of each camera's encoder.
            dims: Action, the plan network's input (Di) and prediction horizon; without a pose
                head, Di is proprioception and the features are added to it.
            told: With a pose head: the task whose poses it tells.
        """
        super().__init__()
        action_dim, input_dim, horizon = dims
        self.encoders = nn.ModuleDict({name: CameraEncoder(encoder) for name in cameras})
        features = len(cameras) * encoder.features
        self.pose_head = None
        if told is None:
            input_dim += features
        else:
            seen = len(proprioception_names(told)) + features
            self.pose_head = nn.Sequential(
                nn.Linear(seen, _POSE_HIDDEN), nn.SiLU(), nn.Linear(_POSE_HIDDEN, told_dim(told))
            )
            unit = torch.from_numpy(told_scale(told)).float()
            self.register_buffer("told_unit", unit, persistent=False)
            self.register_buffer("told_mean", torch.zeros_like(unit))
        self.plan = network.build(action_dim, input_dim, horizon)

    def encode(self, proprio: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """Proprioception and features (B, Dp + cameras F), the plan network's input without poses.

        Args:
            proprio: (B, Dp) normalised.
            images: Camera to (B, 3, S, S) in [0, 1].
        """
        features = [encoder(images[name]) for name, encoder in self.encoders.items()]
        return torch.cat([proprio, *features], dim=-1)

    def tell(self, proprio: Tensor, images: Mapping[str, Tensor]) -> Tensor:
        """The parts' poses (B, P) as `policy.told_poses` has them, SI; arguments as `encode`'s."""
        assert self.pose_head is not None
        return self.told_mean + self.told_unit * self.pose_head(self.encode(proprio, images))

    def compute_loss(
        self,
        inputs: Tensor,
        plans: Tensor,
        generator: torch.Generator,
        sampler: SamplerSpec | None,
    ) -> Tensor:
        """Loss of the plan network for its inputs."""
        return self.plan.compute_loss(inputs, plans, generator, sampler)

    def compute_plan(self, inputs: Tensor, noise: Tensor, sampler: SamplerSpec | None) -> Tensor:
        """Plans (B, T, Da) of the plan network for its inputs."""
        return self.plan.compute_plan(inputs, noise, sampler)
