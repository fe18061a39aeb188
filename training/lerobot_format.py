# SPDX-License-Identifier: Apache-2.0
"""Files of a LeRobot dataset, format v3.0: tables, statistics, info.

As LeRobot 0.4.4 itself writes them, but for one parquet file an episode.
Letters: n steps, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.action import action_names
from resip_ros.core.errors import ConfigError
from resip_ros.core.images import IMAGE_SHAPE
from resip_ros.core.observation import PROPRIO_DIM, observation_names
from resip_ros.core.tasks import TaskSpec
from training.dataset import Demonstrations

VERSION = "v3.0"
STATE, PARTS, ACTION = "observation.state", "observation.environment_state", "action"
PICTURES = "observation.images."
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
EPISODES_A_CHUNK = 1000
PICTURES_FOR_STATISTICS = 100
_COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def proprio_columns(task: TaskSpec) -> int:
    """Columns of the observation that are proprioception."""
    return PROPRIO_DIM * len(task.arms)


def columns_of(
    task: TaskSpec, data: Demonstrations, rows: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Columns without counters and pictures, each (n, D)."""
    obs, split = data.state_obs[rows], proprio_columns(task)
    return {STATE: obs[:, :split], PARTS: obs[:, split:], ACTION: data.action[rows]}


def describe(task: TaskSpec, data: Demonstrations, cameras: tuple[str, ...]) -> dict[str, Any]:
    """Content of meta/info.json."""
    names, split = list(observation_names(task)), proprio_columns(task)
    columns = {STATE: names[:split], PARTS: names[split:], ACTION: list(action_names(task))}
    features: dict[str, Any] = {
        key: {"dtype": "float32", "shape": [len(value)], "names": value}
        for key, value in columns.items()
    }
    axes = ["height", "width", "channels"]
    features |= {
        PICTURES + camera: {"dtype": "image", "shape": list(IMAGE_SHAPE), "names": axes}
        for camera in cameras
    }
    features |= {k: {"dtype": v, "shape": [1], "names": None} for k, v in _COUNTERS.items()}
    return {
        "codebase_version": VERSION,
        "robot_type": "fr3",
        "total_episodes": data.num_episodes,
        "total_frames": len(data.action),
        "total_tasks": 1,
        "chunks_size": EPISODES_A_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(task.rate_hz),
        "splits": {"train": f"0:{data.num_episodes}"},
        "data_path": f"data/{FILE}",
        "video_path": None,
        "features": features,
    }


def write_table(path: Path, columns: Mapping[str, Any], index: Any = None) -> None:
    """Write one parquet file.

    Args:
        path: Its folder is made.
        columns: Name to values; pictures as {"bytes": PNG, "path": None}.
        index: See ``task_index``.
    """
    pa, parquet = load_arrow()
    kinds = {STATE: np.float32, PARTS: np.float32, ACTION: np.float32}
    arrays: dict[str, Any] = {}
    for key, values in columns.items():
        if key in kinds:
            size = len(values[0])
            flat = pa.array(np.asarray(values, dtype=np.float32).ravel())
            arrays[key] = pa.FixedSizeListArray.from_arrays(flat, size)
        elif key.startswith(PICTURES):
            kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            arrays[key] = pa.array(values, type=kind)
        else:
            arrays[key] = pa.array(values)
    metadata = None
    if index is not None:
        arrays["__index_level_0__"], metadata = pa.array(index[0]), index[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(arrays).replace_schema_metadata(metadata), str(path))


def task_index(task: str) -> tuple[list[str], dict[str, str]]:
    """LeRobot reads the tasks with pandas, by the text of the task as index."""
    field = {"numpy_type": "object", "pandas_type": "unicode", "metadata": None, "name": None}
    number = {"name": "task_index", "field_name": "task_index"}
    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [{**field, "field_name": None}],
        "columns": [
            {**field, **number, "numpy_type": "int64", "pandas_type": "int64"},
            {**field, "field_name": "__index_level_0__"},
        ],
        "pandas_version": "2.2.0",
    }
    return [task], {"pandas": json.dumps(pandas)}


def statistics_of(values: NDArray[Any]) -> dict[str, Any]:
    """What LeRobot normalises with, of (n, D)."""
    rows = np.asarray(values, dtype=np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found |= {name: np.quantile(rows, share, axis=0) for name, share in _QUANTILES.items()}
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(rows)]}


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Picture (H, W, 3) RGB, without loss."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def load_arrow() -> tuple[Any, Any]:
    """Pyarrow and pyarrow.parquet.

    Raises:
        ConfigError: when they are not installed.
    """
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            f"LeRobot datasets need pyarrow ({error}): pip install 'resip_ros[lerobot]'"
        ) from error
    return pyarrow, pyarrow.parquet
