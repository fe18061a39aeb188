# SPDX-License-Identifier: Apache-2.0
"""The folder of a policy bundle: replaced whole, and only where there is a bundle or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.results import check_writable

CARD_FILE = "card.yaml"
WEIGHTS_FILE = "weights.safetensors"
_SHOWN = 3


def check_place(directory: Path) -> None:
    """Finds out before the training that a bundle could not be written to `directory`.

    Raises:
        ConfigError: it cannot be, or something else is there, which a bundle would replace.
    """
    directory = Path(directory)
    check_writable(directory, "--out")
    if not directory.exists():
        return
    if not directory.is_dir():
        raise ConfigError(
            f"--out {directory} is a file; give the folder of a bundle, or a new one"
        )
    other = sorted({entry.name for entry in directory.iterdir()} - {CARD_FILE, WEIGHTS_FILE})
    if other:
        more = ", ..." if len(other) > _SHOWN else ""
        raise ConfigError(
            f"--out {directory} is no bundle: it holds {', '.join(other[:_SHOWN])}{more}, which a "
            f"bundle would replace; give another folder, for example {directory / 'base'}"
        )


@contextlib.contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of a bundle's when the block succeeds.

    Raises:
        ResipError: it cannot be written, or something else is there (check_place).
    """
    directory = Path(directory)
    check_place(directory)
    temporary = directory.with_name(f".{directory.name}.new.{os.getpid()}")
    previous = directory.with_name(f".{directory.name}.old.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        # Two renames: a directory that is not empty cannot be renamed over.
        if directory.exists():
            directory.rename(previous)
        temporary.rename(directory)
    except OSError as error:
        if previous.exists() and not directory.exists():
            previous.rename(directory)
        raise write_failed(directory, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)


def write_failed(directory: Path, error: OSError) -> ResipError:
    """What to tell when a bundle could not be written."""
    return ResipError(
        f"cannot write bundle {directory}: {error.strerror or error}; free space or choose "
        "another --out; what was there before is unchanged"
    )
