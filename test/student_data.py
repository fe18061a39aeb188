# SPDX-License-Identifier: Apache-2.0
"""Demonstrations with pictures and a student, as small as they get."""

from pathlib import Path

import numpy as np
import zarr

from resip_ros.core.images import POLICY_CAMERAS, image_array
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.unet import UNetSpec
from training.bc_config import BcConfig
from training.dataset import build_demonstrations, write_demonstrations
from training.image_dataset import IMAGES_ATTRIBUTE, create_image_arrays
from training.presets import BcPreset, StudentPreset

STEPS = 12
TINY = BcPreset(
    network=UNetSpec(down_dims=(16, 16), kernel_size=3, groups=4, step_embed_dim=8),
    learning_rate=1e-3,
    steps=4,
    plan_frame="hand",
    optimizer="muon",
    student=StudentPreset(
        EncoderSpec(size=32, width=8, stages=1, pool="keypoints", features=4), 0.5, 2
    ),
)


def write_pictures(path: Path, seed: int, episodes: int = 3, shift: float = 0.0) -> Path:
    """Smooth episodes with pictures of noise; `shift` is added to the parts' poses."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, STEPS)[:, None]
    obs = [np.sin(time + np.arange(37) + 0.3 * (seed + i)) for i in range(episodes)]
    for poses in obs:
        poses[:, 16:] += shift
    data = build_demonstrations(
        "peg_in_hole", obs, [o[:, :10] for o in obs], source="scripted", seed=seed
    )
    write_demonstrations(path, data)
    group = zarr.open_group(str(path), mode="r+")
    count = episodes * STEPS
    create_image_arrays(group, count)
    for name in POLICY_CAMERAS:
        coarse = rng.integers(0, 255, (count, 12, 16, 3), dtype=np.uint8)
        group[image_array(name)][:] = coarse.repeat(20, axis=1).repeat(20, axis=2)
    group.attrs[IMAGES_ATTRIBUTE] = list(POLICY_CAMERAS)
    return path


def make_config(folder: Path, data: Path) -> BcConfig:
    """Command line of a student."""
    return BcConfig(
        data=(data,),
        out=folder / "student",
        run_dir=folder / "run",
        task="peg_in_hole",
        observation="images",
        batch=6,
        threads=1,
        eval_every=2,
    )
