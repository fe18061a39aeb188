# SPDX-License-Identifier: Apache-2.0
"""Sheets of what students are trained on, to be looked at: looks, and augmentation.

    python -m training.picture_sheets data/peg_teacher.zarr --out docs

Writes `rerender.png` (states in a row, drawn in each look) and `augment.png` (a picture a column,
as the encoder gets it and five times augmented).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.progress import track

from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.policy.image_encoder import CROP, prepare_images
from resip_ros.sim.render import Renderer
from training.augment import Augment
from training.dataset import Demonstrations, read_demonstrations
from training.program import run_with_settings
from training.randomize import LOOKS
from training.render import Pictures, RandomRenderer, check_states, read_task

_COLUMNS = 7
_HEIGHT, _WIDTH = 150, 200
_LABEL = 14
_AUGMENTED = 5


@dataclass(frozen=True)
class SheetSettings:
    """What to draw."""

    data: Annotated[Path, tyro.conf.Positional]
    """Demonstrations with `sim_state`."""
    out: Path = Path("docs")
    """Folder of the two sheets."""
    seed: int = 0
    """Seed of looks and augmentation."""


def spread_states(data: Demonstrations, count: int) -> NDArray[np.float64]:
    """Scenes (count, nq + 3 nmocap) from grasp to goal, each of another episode."""
    assert data.sim_state is not None
    rows = []
    for i in range(count):
        start, end = data.spans(np.array([i % data.num_episodes]))[0]
        rows.append(start + round((end - start - 1) * (i + 0.5) / count))
    return data.sim_state[rows].astype(np.float64)


def draw_looks(
    task: str, states: NDArray[np.float64], seed: int
) -> list[tuple[str, list[NDArray[np.uint8]]]]:
    """Rows of pictures with their labels: as the live graph draws, then every look."""
    rows: list[tuple[str, list[NDArray[np.uint8]]]] = []

    def add(look: str, drawn: list[Pictures]) -> None:
        for camera in POLICY_CAMERAS:
            rows.append((f"{look}: {camera}", [pictures[camera] for pictures in drawn]))

    with Renderer(task) as renderer:
        nq = renderer.model.nq
        add("plain", [renderer.render_policy(s[:nq], s[nq:].reshape(-1, 3)) for s in states])
    for look, ranges in track(LOOKS.items(), "looks", transient=True):
        drawer = RandomRenderer(task, ranges)
        add(look, [drawer.draw(state, (seed, i, 0)) for i, state in enumerate(states)])
        drawer.close()
    return rows


def augment_rows(pictures: Pictures, seed: int) -> list[tuple[str, list[NDArray[np.uint8]]]]:
    """Rows of a camera's pictures (B, 240, 320, 3): prepared, then augmented."""
    torch.manual_seed(seed)
    rows = []
    for camera, batch in pictures.items():
        rows.append((f"{camera}: as it is", to_pictures(prepare_images(camera, batch, CROP))))
        augment = Augment(camera, CROP)
        for _ in range(_AUGMENTED):
            rows.append((f"{camera}: augmented", to_pictures(augment(batch))))
    return rows


def to_pictures(images: torch.Tensor) -> list[NDArray[np.uint8]]:
    """Pictures (S, S, 3) of a batch (B, 3, S, S) in [0, 1]."""
    return list((255 * images).round().byte().permute(0, 2, 3, 1).numpy())


def save_sheet(
    path: Path, rows: list[tuple[str, list[NDArray[np.uint8]]]], size: tuple[int, int]
) -> None:
    """Write labelled rows of pictures, each shrunk to `size` (height, width)."""
    height, width = size
    count = max(len(row) for _, row in rows)
    sheet = Image.new("RGB", (count * width, len(rows) * (height + _LABEL)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (label, row) in enumerate(rows):
        top = index * (height + _LABEL)
        pen.text((3, top + 1), label, fill="black")
        for column, picture in enumerate(row):
            small = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * width, top + _LABEL))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(256).save(path, optimize=True)


def run(settings: SheetSettings) -> None:
    """Draw both sheets."""
    task = read_task(settings.data)
    data = read_demonstrations(settings.data, task)
    check_states(settings.data, data)
    rows = draw_looks(task, spread_states(data, _COLUMNS), settings.seed)
    save_sheet(settings.out / "rerender.png", rows, (_HEIGHT, _WIDTH))
    random = {c: np.stack(dict(rows)[f"random: {c}"]) for c in POLICY_CAMERAS}
    save_sheet(settings.out / "augment.png", augment_rows(random, settings.seed), (112, 112))
    print(f"{settings.out / 'rerender.png'} and {settings.out / 'augment.png'}")


def main() -> int:
    """Command-line entry."""
    return run_with_settings("training.picture_sheets", SheetSettings, run, __doc__)


if __name__ == "__main__":
    sys.exit(main())
