# SPDX-License-Identifier: Apache-2.0
"""What a training run notes about itself."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path


def describe_command() -> str:
    """Describe the command line of this process, as it can be typed again."""
    script = Path(sys.argv[0])
    start = ["python", "-m", f"training.{script.stem}"] if script.parent.name == "training" else []
    return shlex.join([*(start or [script.name]), *sys.argv[1:]])


def describe_commit() -> str:
    """Name the checked-out git commit, with `-dirty` for local changes, or `unknown`."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return result.stdout.strip()
