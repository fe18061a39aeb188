# SPDX-License-Identifier: Apache-2.0
"""Where config/, launch/ and models/ are found, installed or in a checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from resip_ros.core.errors import ConfigError

_PACKAGE = "resip_ros"


def share_dir() -> Path:
    """Directory that holds config/, launch/ and models/.

    A checkout (editable install) wins over an ament prefix, which wins over a pip prefix.

    Raises:
        ConfigError: if none of them has a config/ directory.
    """
    checkout = Path(__file__).resolve().parents[2]
    ament = os.environ.get("AMENT_PREFIX_PATH", "")
    prefixes = [Path(p) for p in ament.split(os.pathsep) if p] + [Path(sys.prefix)]
    candidates = [checkout] + [p / "share" / _PACKAGE for p in prefixes]
    for path in candidates:
        if (path / "config" / "robots").is_dir():
            return path
    raise ConfigError(
        f"{_PACKAGE} data not found: looked for config/robots in "
        f"{', '.join(map(str, candidates))}; reinstall the package (pip install . or colcon build)"
    )


def config_path(name: str) -> Path:
    """Path of a file below config/, for example ``robots/fr3.yaml``."""
    path = share_dir() / "config" / name
    if not path.is_file():
        known = sorted(str(p.relative_to(share_dir() / "config")) for p in path.parent.glob("*"))
        raise ConfigError(f"config file {path} does not exist; there are: {', '.join(known)}")
    return path


def models_dir() -> Path:
    """Directory of the shipped policy folders."""
    return share_dir() / "models"
