# SPDX-License-Identifier: Apache-2.0
"""Which OpenGL can draw without a screen here: EGL first, then OSMesa, else say what to install.

A broken driver can abort the process that tries it, and a failed try leaves PyOpenGL unusable,
so each backend is tried in a child process.
"""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
from typing import Any

from resip_ros.core.errors import ResipError

BACKENDS = ("egl", "osmesa")
_APT_PACKAGES = {
    "egl": "libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libopengl0",
    "osmesa": "libosmesa6 libgl1",
}
_PROBE_TIMEOUT_S = 60.0
_PROBE = """
import mujoco
from resip_ros.sim.gl import make_context
context = make_context({backend!r}, 16, 16)
context.make_current()
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody/></mujoco>")
mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
context.free()
"""


class NoRenderingError(ResipError):
    """This machine cannot draw off-screen; all else works."""


def make_context(backend: str, width: int, height: int) -> Any:
    """OpenGL context of a backend; belongs to the thread that makes it current."""
    # PyOpenGL fixes its platform at its first import
    os.environ["PYOPENGL_PLATFORM"] = backend
    return importlib.import_module(f"mujoco.{backend}").GLContext(width, height)


@functools.cache
def find_backend() -> str:
    """First backend that works; MUJOCO_GL, when it names one, decides.

    Raises:
        NoRenderingError: none works; the message names the packages to install.
    """
    asked = os.environ.get("MUJOCO_GL", "").lower()
    reasons = []
    for backend in (asked,) if asked in BACKENDS else BACKENDS:
        reason = _probe(backend)
        if reason is None:
            return backend
        reasons.append(f"{backend}: {reason} (apt install {_APT_PACKAGES[backend]})")
    raise NoRenderingError(
        "no off-screen rendering, so no pictures or videos; "
        + "; ".join(reasons)
        + ". One of them is enough"
    )


def _probe(backend: str) -> str | None:
    """Why a backend does not work here, None when it does."""
    environment = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"}
    # mujoco itself imports a backend for MUJOCO_GL: it must be the one under trial
    environment["MUJOCO_GL"] = backend
    try:
        result = subprocess.run(
            [sys.executable, "-c", _PROBE.format(backend=backend)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PROBE_TIMEOUT_S:.0f} s"
    if result.returncode == 0:
        return None
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"the trial ended with status {result.returncode}"
