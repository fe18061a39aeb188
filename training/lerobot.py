# SPDX-License-Identifier: Apache-2.0
"""LeRobot datasets (format v3.0) from ours and back, without LeRobot itself.

``python -m training.lerobot export DATASET --out DIR`` writes proprioception as
`observation.state`, poses of the parts as `observation.environment_state`, pictures as PNG in the
parquet files (`observation.images.<camera>`, so nothing is lost), and `action`.
``python -m training.lerobot import DIR --out DATA.zarr`` reads such a dataset again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
import zarr
from numpy.typing import NDArray

from resip_ros.cameras.pictures import decode_jpeg
from resip_ros.core.action import action_names
from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.images import IMAGE_SHAPE, image_array
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import TaskSpec, get_task
from training.dataset import (
    Demonstrations,
    build_demonstrations,
    new_folder,
    read_demonstrations,
    write_demonstrations,
)
from training.image_dataset import IMAGES_ATTRIBUTE, ImageReader, create_image_arrays
from training.lerobot_format import (
    ACTION,
    EPISODES_A_CHUNK,
    FILE,
    PARTS,
    PICTURES,
    PICTURES_FOR_STATISTICS,
    STATE,
    VERSION,
    columns_of,
    describe,
    encode_png,
    load_arrow,
    proprio_columns,
    statistics_of,
    task_index,
    write_table,
)
from training.program import run_program


@dataclass(frozen=True)
class Export:
    """Our dataset to a LeRobot dataset."""

    dataset: Annotated[Path, tyro.conf.Positional]
    """Zarr group, of `training.collect` or `training.convert_bags`."""
    out: Path
    """Folder to write; refused when it exists."""


@dataclass(frozen=True)
class Import:
    """A LeRobot dataset that was exported from ours, or has the same names, to our dataset."""

    directory: Annotated[Path, tyro.conf.Positional]
    """Folder with meta/ and data/."""
    out: Path
    """Zarr group to write; refused when it exists."""
    task: str | None = None
    """Our task, where the dataset's own task is no name of one."""


def export(settings: Export) -> dict[str, Any]:
    """Write a LeRobot dataset, whole or not at all; returns its info.json.

    Raises:
        ResipError: for a dataset that cannot be read, or a folder that cannot be written.
    """
    _refuse_existing(settings.out)
    task, data, cameras = _open(settings.dataset)
    reader = ImageReader(settings.dataset, cameras, len(data.action)) if cameras else None
    with new_folder(settings.out) as work:
        episodes = [
            _write_episode(work, task, data, reader, number) for number in range(data.num_episodes)
        ]
        info = describe(task, data, cameras)
        write_table(work / "meta/tasks.parquet", {"task_index": [0]}, task_index(task.name))
        _write_episodes(work, episodes)
        everything = columns_of(task, data, np.arange(len(data.action)))
        statistics = {key: statistics_of(values) for key, values in everything.items()}
        statistics |= {PICTURES + c: _picture_statistics(reader, c, data) for c in cameras}
        for name, content in (("info", info), ("stats", statistics)):
            (work / f"meta/{name}.json").write_text(json.dumps(content, indent=1))
    return info


def _open(path: Path) -> tuple[TaskSpec, Demonstrations, tuple[str, ...]]:
    """Task, demonstrations and cameras of one of our datasets."""
    try:
        attrs = dict(zarr.open_group(str(path), mode="r").attrs)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not one of our datasets: {error}") from error
    task = get_task(str(attrs.get("task")))
    cameras = attrs.get(IMAGES_ATTRIBUTE)
    names = tuple(str(name) for name in cameras) if isinstance(cameras, list) else ()
    return task, read_demonstrations(path, task.name), names


def _write_episode(
    work: Path, task: TaskSpec, data: Demonstrations, reader: ImageReader | None, number: int
) -> dict[str, Any]:
    """One parquet file an episode; returns its row in meta/episodes."""
    rows = data.rows(np.array([number]))
    count, first = len(rows), int(rows[0])
    values = columns_of(task, data, rows)
    columns: dict[str, Any] = {key: value.tolist() for key, value in values.items()}
    if reader is not None:
        columns |= {
            PICTURES + camera: [
                {"bytes": encode_png(reader.read(camera, row)), "path": None}
                for row in rows.tolist()
            ]
            for camera in reader.cameras
        }
    columns |= {
        "timestamp": np.arange(count, dtype=np.float32) / np.float32(task.rate_hz),
        "frame_index": np.arange(count),
        "episode_index": np.full(count, number),
        "index": rows,
        "task_index": np.zeros(count, dtype=np.int64),
    }
    where = dict(zip(("chunk_index", "file_index"), divmod(number, EPISODES_A_CHUNK), strict=True))
    write_table(work / "data" / FILE.format(**where), columns)
    statistics = {
        f"stats/{key}/{name}": value
        for key, column in values.items()
        for name, value in statistics_of(column).items()
    }
    return {
        "episode_index": number,
        "tasks": [task.name],
        "length": count,
        **{f"data/{key}": value for key, value in where.items()},
        "dataset_from_index": first,
        "dataset_to_index": first + count,
        **statistics,
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }


def _write_episodes(work: Path, episodes: list[dict[str, Any]]) -> None:
    columns = {key: [episode[key] for episode in episodes] for key in episodes[0]}
    write_table(work / "meta/episodes" / FILE.format(chunk_index=0, file_index=0), columns)


def _picture_statistics(
    reader: ImageReader | None, camera: str, data: Demonstrations
) -> dict[str, Any]:
    """The same of a camera's channels, in 0 to 1, over pictures spread over the dataset."""
    assert reader is not None
    rows = np.unique(np.linspace(0, len(data.action) - 1, PICTURES_FOR_STATISTICS).astype(int))
    pixels = np.concatenate([reader.read(camera, int(r))[::4, ::4].reshape(-1, 3) for r in rows])
    found = statistics_of(pixels / 255.0)
    shaped = {k: np.reshape(v, (3, 1, 1)).tolist() for k, v in found.items() if k != "count"}
    return shaped | {"count": [len(rows)]}


def read_back(settings: Import) -> Demonstrations:
    """Write our dataset from a LeRobot dataset, whole or not at all.

    Raises:
        DataError: naming what the dataset lacks or has otherwise.
    """
    _refuse_existing(settings.out)
    root = settings.directory
    try:
        info = json.loads((root / "meta/info.json").read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{root} is no LeRobot dataset: {error}") from error
    episodes = list(_episodes(root, info, (STATE, PARTS, ACTION)))
    task = get_task(settings.task or episodes[0][1])
    _check(root, info, task)
    cameras = _cameras(info)
    tables = [table for table, _ in episodes]
    observations = [np.hstack([_matrix(t, STATE), _matrix(t, PARTS)]) for t in tables]
    actions = [_matrix(table, ACTION) for table in tables]
    data = build_demonstrations(task.name, observations, actions, source="lerobot", seed=0)
    with new_folder(settings.out) as work:
        write_demonstrations(work, data)
        _copy_pictures(root, info, cameras, work, len(data.action))
    return data


def _episodes(
    root: Path, info: Mapping[str, Any], columns: tuple[str, ...]
) -> Iterator[tuple[Any, str]]:
    """Table with some columns and task text of each episode, one file in memory at a time."""
    pa, parquet = load_arrow()
    if str(info.get("codebase_version")) != VERSION:
        raise DataError(f"{root} is of {info.get('codebase_version')}; expected {VERSION}")
    try:
        tasks = parquet.read_table(str(root / "meta/tasks.parquet")).to_pylist()
        texts = {row["task_index"]: str(row.get("__index_level_0__", "?")) for row in tasks}
        files = sorted((root / "data").glob("*/*.parquet"))
        if not files:
            raise DataError(f"{root} has no data/chunk-*/file-*.parquet")
        for file in files:
            wanted = [*columns, "episode_index", "task_index"]
            table = parquet.read_table(str(file), columns=wanted)
            numbers = np.asarray(table["episode_index"])
            for number in np.unique(numbers):
                part = table.filter(pa.array(numbers == number))
                yield part.select(list(columns)), texts.get(part["task_index"][0].as_py(), "?")
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{root} is damaged or lacks a column: {error}") from error


def _check(root: Path, info: Mapping[str, Any], task: TaskSpec) -> None:
    names, split = list(observation_names(task)), proprio_columns(task)
    expected = {STATE: names[:split], PARTS: names[split:], ACTION: list(action_names(task))}
    features = info.get("features", {})
    for key, want in expected.items():
        got = features.get(key, {}).get("names")
        if got != want:
            raise DataError(
                f"{root}: {key} has dimensions {str(got)[:80]}; {task.name} needs {str(want)[:80]}"
            )
    if info.get("fps") != task.rate_hz:
        raise DataError(f"{root} has {info.get('fps')} steps/s; {task.name} {task.rate_hz:g}")


def _cameras(info: Mapping[str, Any]) -> tuple[str, ...]:
    found: list[str] = []
    for key, feature in info["features"].items():
        if not key.startswith(PICTURES):
            continue
        if feature["dtype"] != "image" or tuple(feature["shape"]) != IMAGE_SHAPE:
            raise DataError(
                f"{key} is {feature['dtype']} {feature['shape']}; expected images "
                f"{list(IMAGE_SHAPE)}: write the dataset with use_videos=False"
            )
        found.append(key.removeprefix(PICTURES))
    return tuple(found)


def _matrix(table: Any, key: str) -> NDArray[np.float32]:
    return np.array(table[key].to_pylist(), dtype=np.float32)


def _copy_pictures(
    root: Path, info: Mapping[str, Any], cameras: tuple[str, ...], path: Path, frames: int
) -> None:
    if not cameras:
        return
    group = zarr.open_group(str(path), mode="r+")
    create_image_arrays(group, frames, cameras)
    for camera in cameras:
        array: Any = group[image_array(camera)]
        key, first = PICTURES + camera, 0
        for table, _ in _episodes(root, info, (key,)):
            cells = table[key].to_pylist()
            array[first : first + len(cells)] = np.stack([decode_jpeg(c["bytes"]) for c in cells])
            first += len(cells)
    group.attrs[IMAGES_ATTRIBUTE] = list(cameras)


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another --out or remove it")


def run(settings: Export | Import) -> None:
    """Export or import, and print a summary."""
    if isinstance(settings, Export):
        info = export(settings)
        print(json.dumps({k: info[k] for k in ("total_episodes", "total_frames", "fps")}))
    else:
        data = read_back(settings)
        print(json.dumps({"episodes": data.num_episodes, "hash": data.hash}))


def main() -> int:
    """Command-line entry."""
    settings = tyro.extras.subcommand_cli_from_dict(
        {"export": Export, "import": Import}, description=__doc__
    )
    return run_program(
        "training.lerobot", lambda: run(settings), "interrupted; nothing was written"
    )


if __name__ == "__main__":
    sys.exit(main())
