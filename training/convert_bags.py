# SPDX-License-Identifier: Apache-2.0
"""Bags to a dataset: ``python -m training.convert_bags DEMOS --out DATA.zarr``.

Row t pairs the observation of a policy step with the action commanded at that moment, both as the
policy nodes see them: same decoding, same alignment, same observation. A stream that is missing
or stale, a gap in the actions, a jump of the clock: the bag is refused with topic and time, and
the others are still converted. Only successful episodes become demonstrations. Bags with pictures
of front and wrist give `image_front` and `image_wrist` (N, 240, 320, 3).
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
import zarr

from resip_ros.bags import sidecar
from resip_ros.bags.reader import Bag, find_bags
from resip_ros.bags.sidecar import Episode, load_episode
from resip_ros.core.errors import ConfigError, DataError, ResipError
from resip_ros.core.tasks import TaskSpec, get_task
from training.bag_pictures import PictureStore, Recorded, find_pictures, read_pictures
from training.bag_steps import Steps, read_steps
from training.dataset import build_demonstrations, new_folder, write_demonstrations
from training.program import run_with_settings
from training.provenance import describe_command, describe_commit

SOURCE = "bags"
NO_PICTURES = Recorded({})
INTERVENTION = "intervention"
"""Array (N,) of bool: whether a person led in that step."""


@dataclass(frozen=True)
class ConvertSettings:
    """What to convert."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Folder with bags, or one bag."""
    out: Path
    """Zarr group to write; refused when it exists."""
    task: str | None = None
    """Task of bags that do not say it themselves, such as those of `ros2 bag record`."""
    images: bool = True
    """Also the pictures of front and wrist, where the bags have them."""


@dataclass(frozen=True)
class Source:
    """What the dataset notes about one episode."""

    bag: str
    steps: int
    held: int
    success_by: str
    """``label`` or ``part poses``."""
    recorded_at: str
    operator: str
    policy: dict[str, object]
    pictures: dict[str, str]
    """Camera to the topic that its pictures were read from."""


@dataclass
class Conversion:
    """What came out of all bags of one task."""

    task: str
    steps: list[Steps] = field(default_factory=list[Steps])
    sources: list[Source] = field(default_factory=list[Source])
    skipped: list[str] = field(default_factory=list[str])
    """Bags of episodes without success."""
    failures: list[str] = field(default_factory=list[str])
    """Why bags were refused."""
    pictures: PictureStore | None = None
    """Where pictures go; None: they are left out."""


def convert(
    paths: list[Path], default_task: str | None, pictures: PictureStore | None = None
) -> Conversion:
    """Reads all bags; one that is refused does not stop the others.

    Args:
        paths: The bags.
        default_task: Of bags that do not say it.
        pictures: Takes their pictures; None: those are left out.

    Raises:
        ConfigError: for an unknown task, or bags of several tasks.
    """
    found: Conversion | None = None
    failures: list[str] = []
    for path in paths:
        try:
            episode = load_episode(path)
            name = episode.task if episode is not None else default_task
            if name is None:
                raise DataError(f"bag {path.name} does not say its task; give --task")
            if episode is not None and episode.state not in (sidecar.SAVED, sidecar.REPAIRED):
                raise DataError(f"bag {path.name} is {episode.state}; try: resip repair {path}")
            task = get_task(name)
            if found is None:
                found = Conversion(name, pictures=pictures)
            elif name != found.task:
                raise DataError(f"bag {path.name} is of task {name}; the others of {found.task}")
            _convert_one(path, task, episode, found)
        except ResipError as error:
            failures.append(str(error))
    found = found or Conversion(default_task or "?")
    found.failures = failures
    return found


def _convert_one(path: Path, task: TaskSpec, episode: Episode | None, found: Conversion) -> None:
    """Adds one bag's steps, or its name to the skipped ones."""
    label = None if episode is None else episode.success
    if label is False:
        found.skipped.append(f"{path.name}: labelled as no success")
        return
    steps, done = read_steps(path, task)
    if label is None and not done:
        found.skipped.append(f"{path.name}: the part poses show no success")
        return
    store = found.pictures
    recorded = NO_PICTURES if store is None else _add_pictures(path, steps, store)
    found.steps.append(steps)
    found.sources.append(
        Source(
            bag=path.name,
            steps=len(steps.stamps_ns),
            held=steps.held,
            success_by="label" if label else "part poses",
            recorded_at=episode.recorded_at if episode else "",
            operator=episode.operator if episode else "",
            policy=episode.policy if episode else {},
            pictures=recorded.topics,
        )
    )


def _add_pictures(path: Path, steps: Steps, store: PictureStore) -> Recorded:
    """Adds a bag's pictures to the store, all or none."""
    with Bag(path) as bag:
        recorded = find_pictures(bag)
    try:
        store.check(recorded)
    except DataError as error:
        raise DataError(f"bag {path.name}: {error}") from error
    store.add(recorded, read_pictures(path, recorded, steps.stamps_ns))
    return recorded


def write(path: Path, found: Conversion) -> str:
    """Writes the dataset with its provenance, whole or not at all; returns its hash."""
    data = build_demonstrations(
        found.task,
        [steps.observations for steps in found.steps],
        [steps.actions for steps in found.steps],
        source=SOURCE,
        seed=0,
    )
    with new_folder(path) as work:
        write_demonstrations(work, data)
        group = zarr.open_group(str(work), mode="r+")
        led = np.concatenate([steps.interventions for steps in found.steps])
        group.create_array(INTERVENTION, data=led)
        group.attrs["provenance"] = {
            "command": describe_command(),
            "commit": describe_commit(),
            "episodes": [asdict(source) for source in found.sources],
        }
        if found.pictures is not None:
            found.pictures.move_into(work)
    return data.hash


def run(settings: ConvertSettings) -> int:
    """Convert, write and print a summary; return the exit status.

    Raises:
        ResipError: when nothing was written.
    """
    if settings.out.exists():
        raise ConfigError(f"{settings.out} exists already; choose another --out or remove it")
    if settings.task is not None:
        get_task(settings.task)
    spool = settings.out.with_name(f".{settings.out.name}.pictures.{os.getpid()}")
    store = PictureStore(spool)
    try:
        paths = find_bags(settings.directory)
        found = convert(paths, settings.task, store if settings.images else None)
        return _report(settings, found)
    finally:
        store.remove()


def _report(settings: ConvertSettings, found: Conversion) -> int:
    """Writes what was found and prints a summary."""
    for text in found.failures:
        sys.stderr.write(f"training.convert_bags: {text}\n")
    if not found.steps:
        raise ResipError(
            f"no demonstration in {settings.directory}: {len(found.failures)} bags refused, "
            f"skipped {found.skipped}; nothing was written"
        )
    summary = {
        "task": found.task,
        "episodes": len(found.steps),
        "steps": sum(len(steps.stamps_ns) for steps in found.steps),
        "held_steps": sum(steps.held for steps in found.steps),
        "led_steps": sum(int(steps.interventions.sum()) for steps in found.steps),
        "images": list((found.pictures and found.pictures.cameras) or ()),
        "skipped": found.skipped,
        "refused": len(found.failures),
        "hash": write(settings.out, found),
    }
    print(json.dumps(summary, indent=1))
    return 1 if found.failures else 0


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.convert_bags",
        ConvertSettings,
        lambda settings: sys.exit(run(settings)),
        __doc__,
        interrupted="interrupted; nothing was written",
    )


if __name__ == "__main__":
    sys.exit(main())
