# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a residual run: tensors as safetensors, the rest as JSON, no pickle.

A checkpoint is a folder that is written beside the previous one; the file `latest` names the
valid one and is replaced last, so that an interrupted write leaves the previous checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from resip_ros.core.errors import CheckpointMismatch, ResipError
from resip_ros.core.results import write_bytes_atomically

POINTER = "latest"


def encode_tree(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON form of nested dicts and lists; tensors and arrays move to `tensors`."""
    if isinstance(node, np.ndarray):
        node = torch.from_numpy(node)
    if isinstance(node, torch.Tensor):
        name = f"t{len(tensors):05d}"
        tensors[name] = node.detach().clone().contiguous()
        return {"tensor": name}
    if isinstance(node, dict):
        # Pairs, because an optimiser's state has integer keys, which JSON would make strings.
        return {"dict": [[key, encode_tree(value, tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {"list": [encode_tree(value, tensors) for value in node]}
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"cannot store a {type(node).__name__} in a checkpoint")


def decode_tree(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Inverse of `encode_tree`; arrays come back as tensors, tuples as lists."""
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        return tensors[node["tensor"]]
    if "dict" in node:
        return {key: decode_tree(value, tensors) for key, value in node["dict"]}
    return [decode_tree(value, tensors) for value in node["list"]]


def save_checkpoint(
    folder: Path, state: dict[str, Any], steps: int, save_replay: Callable[[Path], None] | None
) -> None:
    """Write a checkpoint and drop the previous one.

    Args:
        folder: Holds the checkpoints.
        state: Nested dicts and lists of tensors, arrays, numbers and strings.
        steps: Env steps so far, which name the checkpoint.
        save_replay: Writes the replay to the given path; None without a replay.

    Raises:
        ResipError: when it cannot be written; the previous checkpoint then stays valid.
    """
    target = folder / f"step-{steps:010d}"
    tensors: dict[str, torch.Tensor] = {}
    document = encode_tree(state, tensors)
    try:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        save_file(tensors, target / "state.safetensors")
        (target / "state.json").write_text(json.dumps(document))
        if save_replay is not None:
            save_replay(target / "replay.npz")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise ResipError(
            f"cannot write checkpoint {target}: {error}; the previous one is still valid; free "
            "some space and continue with --resume"
        ) from error
    write_bytes_atomically(folder / POINTER, target.name.encode())
    for other in folder.glob("step-*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[dict[str, Any], Path]:
    """State of the newest checkpoint and the path at which its replay lies, if it has one.

    Raises:
        CheckpointMismatch: when there is none or it is damaged.
    """
    pointer = folder / POINTER
    if not pointer.is_file():
        raise CheckpointMismatch(f"no checkpoint under {folder}; start the run without --resume")
    target = folder / pointer.read_text().strip()
    try:
        tensors = load_file(target / "state.safetensors")
        document = json.loads((target / "state.json").read_text())
        return decode_tree(document, tensors), target / "replay.npz"
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointMismatch(
            f"checkpoint {target} is damaged ({error}); start the run without --resume"
        ) from error
