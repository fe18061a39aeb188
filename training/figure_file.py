# SPDX-License-Identifier: Apache-2.0
"""Figures as PNG files: a place that is none is refused before the work; no file is half there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from resip_ros.core.errors import ConfigError

FIRST_COLOR = "#c8553d"
SECOND_COLOR = "#4f9db8"
THIRD_COLOR = "#5a7d2a"
_COLORS = 64
"""Of a file, which is enough for drawings and makes them small."""


def make_folder(out: Path) -> None:
    """Makes the folder of a file that is to be written.

    Raises:
        ConfigError: if it cannot be made.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {out.parent}: {error.strerror}; choose another --out"
        ) from error


def check_png(out: Path) -> None:
    """Refuse a picture that could not be written, before anything is computed for it.

    Raises:
        ConfigError: for another kind of file, a folder, or a place that is none.
    """
    if out.suffix != ".png" or out.is_dir():
        raise ConfigError(f"--out: got {out}, expected a file that ends in .png")
    make_folder(out)


def write_png(figure: Figure, out: Path) -> None:
    """Write a figure, replacing one that is there; nothing is left after an error.

    Raises:
        ConfigError: when it cannot be written.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        picture.quantize(_COLORS).save(temporary, format="png", optimize=True)
        temporary.replace(out)
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    finally:
        temporary.unlink(missing_ok=True)
