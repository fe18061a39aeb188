# SPDX-License-Identifier: Apache-2.0
"""The command line of cloning refuses what would fail late."""

from pathlib import Path

import pytest

from resip_ros.core.errors import ConfigError
from training.bc_config import BcConfig


def test_bad_numbers_are_refused(tmp_path: Path) -> None:
    for change, reason in (
        ({"batch": 0}, "--batch: got 0"),
        ({"learning_rate": float("nan")}, "--learning-rate: got nan"),
        ({"minutes": float("inf")}, "--minutes: got inf"),
        ({"seed": -1}, "--seed: got -1, expected 0 to"),
        ({"seed": 2**64}, "--seed: got"),
        ({"threads": 100_000}, "--threads: got 100000, expected 1 to"),
        ({"shards": 0}, "--shards: got 0, expected 1 to --batch"),
        ({"batch": 2, "shards": 3}, "--shards: got 3, expected 1 to --batch 2"),
    ):
        with pytest.raises(ConfigError, match=reason):
            BcConfig(tmp_path / "base", (tmp_path / "data.zarr",), **change)
    with pytest.raises(ConfigError, match="--data: no dataset given"):
        BcConfig(tmp_path / "base")
