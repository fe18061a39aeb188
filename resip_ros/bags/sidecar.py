# SPDX-License-Identifier: Apache-2.0
"""What is known about an episode beside its messages: ``episode.yaml`` in the bag's folder."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from resip_ros.bags.layout import SIDECAR
from resip_ros.core.errors import DataError
from resip_ros.core.results import write_bytes_atomically

SCHEMA_VERSION = 1
RECORDING = "recording"
SAVED = "saved"
BAD = "bad"
DISCARDED = "discarded"
REPAIRED = "repaired"
STATES = (RECORDING, SAVED, BAD, DISCARDED, REPAIRED)


@dataclass
class TopicStatistics:
    """One topic of a bag, by time of receipt."""

    msgtype: str
    count: int
    rate_hz: float | None
    """Messages per second between the first and the last; None for fewer than two."""
    max_gap_s: float | None
    """Longest time without a message between the first and the last."""


@dataclass
class Episode:
    """Content of the sidecar."""

    task: str
    state: str = RECORDING
    """One of STATES; only ``saved`` has been read again after it was written."""
    recorded_at: str = ""
    """Wall clock at the start, ISO 8601."""
    operator: str = ""
    policy: dict[str, Any] = field(default_factory=dict[str, Any])
    """Node to checkpoint and hashes, as topic policy/active told."""
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    """Node to its ROS parameters."""
    versions: dict[str, str] = field(default_factory=dict[str, str])
    success: bool | None = None
    """None while nobody has judged it."""
    outcome: str = ""
    """Why it ended, for people."""
    duration_s: float = 0.0
    """First to last message, time of receipt."""
    topics: dict[str, TopicStatistics] = field(default_factory=dict[str, TopicStatistics])
    problems: list[str] = field(default_factory=list[str])
    """What a person should know before training on it."""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Checks what other code relies on.

        Raises:
            DataError: for a wrong state, label or schema.
        """
        if self.schema_version != SCHEMA_VERSION:
            raise DataError(f"schema_version is {self.schema_version}; expected {SCHEMA_VERSION}")
        if self.state not in STATES:
            raise DataError(f"state is {self.state!r}; expected one of {STATES}")
        if self.success not in (True, False, None):
            raise DataError(f"success is {self.success!r}; expected true, false or null")


def load_episode(folder: Path) -> Episode | None:
    """Reads a bag's sidecar; None when it has none.

    Raises:
        DataError: when it is damaged.
    """
    path = folder / SIDECAR
    if not path.is_file():
        return None
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # the YAML library draws where it is in several lines
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    known = {spec.name for spec in fields(Episode)}
    if not isinstance(document, dict) or "task" not in document or not known >= set(document):
        raise DataError(f"{path} has keys {document!r:.80}; expected task, and of {sorted(known)}")
    try:
        topics = {n: TopicStatistics(**t) for n, t in (document.pop("topics", None) or {}).items()}
        return Episode(**document, topics=topics)
    except (TypeError, AttributeError, DataError) as error:
        raise DataError(f"{path}: {error}; mend the file by hand") from error


def write_episode(folder: Path, episode: Episode) -> None:
    """Writes the sidecar whole or not at all.

    Raises:
        ResipError: when it cannot be written.
    """
    text = yaml.safe_dump(asdict(episode), sort_keys=False, allow_unicode=True)
    write_bytes_atomically(folder / SIDECAR, text.encode())


def installed_versions() -> dict[str, str]:
    """Versions of what wrote the bag."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in ("resip_ros", "mcap", "rosbags", "mujoco", "franky-control"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
