# SPDX-License-Identifier: Apache-2.0
"""Picture of an imported part: the scan, and beside it the convex pieces in colours.

The part's frame is drawn into it: x red, y green, z blue, a mark every 10 mm. Letters:
H, W pixels of a picture.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

import mujoco
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resip_ros.core.geometry import Array, matrix_to_quat_wxyz
from resip_ros.sim.cameras import look_at
from resip_ros.sim.gl import find_backend, make_context
from resip_ros.sim.parts import GEOM, add_mesh
from resip_ros.sim.render import Picture
from resip_ros.sim.scans import read_scan
from resip_ros.sim.simplify import read_obj

_SIDE = 480
_FOVY_DEG = 30.0
_MARK_M = 0.010
VIEWS = {"front": (1.0, 0.0, 0.0), "side": (0.0, 1.0, 0.001), "overview": (1.0, 0.9, 0.8)}
"""Direction from the part to each camera, part frame."""


def draw_part(folder: Path, out: Path) -> None:
    """Draws the part of a folder into a PNG file.

    Raises:
        NoRenderingError: when this machine cannot draw off-screen.
    """
    find_backend()
    scan = read_scan(folder)
    shapes = {
        "the scan, thinned out": [read_obj(scan.visual)],
        f"{len(scan.pieces)} convex pieces": [(read_obj(p)[0], None) for p in scan.pieces],
    }
    figure = Figure(figsize=(10.5, 7.4), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(shapes), len(VIEWS))
    low, high = _box(scan.visual)
    for row, (title, meshes) in zip(axes, shapes.items(), strict=True):
        pictures = _draw(meshes, low, high)
        for ax, (view, picture) in zip(row, pictures.items(), strict=True):
            ax.imshow(picture)
            ax.set_axis_off()
            ax.set_title(f"{view}: {title}", fontsize=9)
    size = " x ".join(f"{length * 1e3:.1f}" for length in scan.size_m)
    figure.suptitle(
        f"{scan.name}: {size} mm; axes x red, y green, z blue, a mark every 10 mm", fontsize=10
    )
    canvas.print_png(str(out))


def _box(visual: Path) -> tuple[Array, Array]:
    vertices = read_obj(visual)[0]
    return vertices.min(0), vertices.max(0)


def _draw(meshes: list, low: Array, high: Array) -> dict[str, Picture]:
    """Pictures (H, W, 3) of meshes of the part's frame by view."""
    spec = mujoco.MjSpec()
    spec.visual.global_.offwidth = spec.visual.global_.offheight = _SIDE
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.6, 0.6, 0.6]
    spec.visual.headlight.specular = [0.1, 0.1, 0.1]
    spec.add_texture(
        name="background",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.95, 0.96, 0.97],
        rgb2=[0.95, 0.96, 0.97],
        width=8,
        height=48,
    )
    for i, (vertices, faces) in enumerate(meshes):
        hue = colorsys.hsv_to_rgb(i * 0.618 % 1.0, 0.55, 0.95)
        if faces is None:
            add_mesh(spec, f"mesh{i}", vertices)
        else:
            spec.add_mesh(
                name=f"mesh{i}",
                uservert=vertices.ravel().tolist(),
                userface=faces.ravel().tolist(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
            )
        rgba = [*hue, 1.0] if len(meshes) > 1 else [0.62, 0.65, 0.70, 0.65]
        spec.worldbody.add_geom(type=GEOM.mjGEOM_MESH, meshname=f"mesh{i}", rgba=rgba)
    _add_axes(spec, low, high)
    _add_cameras(spec, (low + high) / 2, float(np.linalg.norm(high - low)))
    return _render(spec.compile())


def _add_axes(spec: mujoco.MjSpec, low: Array, high: Array) -> None:
    """The frame's axes through the part and a little further, with marks."""
    thick = 0.006 * float(np.linalg.norm(high - low))
    for axis, direction in enumerate(np.eye(3)):
        reach = max(float(high[axis]), 0.0) + 0.25 * float((high - low).max())
        rgba = [0.85 * float(axis == i) + 0.05 for i in range(3)] + [1.0]
        spec.worldbody.add_geom(
            type=GEOM.mjGEOM_CAPSULE,
            fromto=[0, 0, 0, *(reach * direction)],
            size=[thick, 0, 0],
            rgba=rgba,
        )
        for k in range(1, int(min(reach, 0.5) / _MARK_M) + 1):
            spec.worldbody.add_geom(
                type=GEOM.mjGEOM_SPHERE,
                pos=(k * _MARK_M * direction).tolist(),
                size=[2 * thick, 0, 0],
                rgba=rgba,
            )


def _add_cameras(spec: mujoco.MjSpec, middle: Array, diagonal: float) -> None:
    away = 0.62 * diagonal / np.tan(np.radians(_FOVY_DEG) / 2)
    for name, direction in VIEWS.items():
        position = middle + away * np.array(direction) / np.linalg.norm(direction)
        rot = look_at(position, middle, np.array([0.0, 0.0, 1.0]))
        spec.worldbody.add_camera(
            name=name, pos=position, quat=matrix_to_quat_wxyz(rot), fovy=_FOVY_DEG
        )
    spec.stat.extent = away
    spec.visual.map.znear = 0.05


def _render(model: mujoco.MjModel) -> dict[str, Picture]:
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    gl = make_context(find_backend(), _SIDE, _SIDE)
    gl.make_current()
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    scene, size = mujoco.MjvScene(model, maxgeom=2000), mujoco.MjrRect(0, 0, _SIDE, _SIDE)
    pictures = {}
    for name in VIEWS:
        camera = mujoco.MjvCamera()
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.camera(name).id
        mujoco.mjv_updateScene(
            model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene
        )
        mujoco.mjr_render(size, scene, context)
        picture = np.empty((_SIDE, _SIDE, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(picture, None, size, context)
        # OpenGL counts rows from below
        pictures[name] = picture[::-1]
    context.free()
    gl.free()
    return pictures
