# SPDX-License-Identifier: Apache-2.0
"""What varies from picture to picture: ranges as data, one draw of them, applied to a scene.

ResiP §II-D varies what augmentation cannot: light and its shadows, colours and textures of parts
and table, where the cameras are. Ranges are those of the paper's code where it has them: hue of
the light 0.789 to 1, brightness 3000 to 8000 (here a factor of 8/3), camera jitter 2.5 mm and 0.5
degrees in front, 0.75 mm and 0.25 degrees at the wrist (standard deviations), anew for each frame.
`STANDIN` is what the stand-in for a real bench looks like (`training.real_standin`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np

from resip_ros.core.geometry import Array, rotvec_to_matrix
from resip_ros.core.tasks import get_task
from training.textures import TEXTURES, add_textures

KEY_LIGHT = "key_light"
BACKDROP = "backdrop"
_BENCH = ("bench", "bench_surface")

Range = tuple[float, float]
Color = tuple[float, float, float]


@dataclass(frozen=True)
class CameraRange:
    """Where a camera is, around its nominal pose."""

    position_sd_m: float
    angle_sd_deg: float
    fovy_deg: Range = (0.0, 0.0)
    """Change of the vertical opening angle."""
    offset_m: Color = (0.0, 0.0, 0.0)
    """Fixed displacement of the mean, in the axes of the camera's body."""
    turn_deg: Color = (0.0, 0.0, 0.0)
    """Fixed turn of the mean, rotation vector in the camera's own axes."""


@dataclass(frozen=True)
class LookRange:
    """What pictures are drawn with."""

    brightness: Range = (0.375, 1.0)
    """Of the key light; 1 is 8000 in the paper's code."""
    warmth: Range = (0.789, 1.0)
    """Blue of the key light, relative to its red."""
    azimuth_deg: Range = (-180.0, 180.0)
    elevation_deg: Range = (35.0, 85.0)
    """Where the key light is, seen from the middle of the bench."""
    ambient: Range = (0.2, 0.4)
    fill: Range = (0.0, 0.3)
    """Of each of the two lights without shadow; a third of them is off."""
    shadow_share: float = 0.5
    """Share of pictures in which the key light casts shadows; they cost three times as much."""
    wall_share: float = 0.75
    """Share of pictures with a wall and a floor; the others have the plain sky."""
    table_value: Range = (0.25, 0.95)
    """Brightness of the table; its hue is free, its saturation low."""
    table_saturation: Range = (0.0, 0.35)
    table_hue: Range = (0.0, 1.0)
    table_textures: tuple[str, ...] = ("plain", "speckle", "wood", "check")
    wall_textures: tuple[str, ...] = ("plain", "speckle", "wood", "check")
    wall_color: tuple[Color, Color] = ((0.3, 0.3, 0.3), (1.0, 1.0, 1.0))
    """Darkest and brightest."""
    part_color: str = "any"
    """`nominal`: around the parts' own colours; `any`: half of them in a colour of any hue."""
    part_hue: Range = (0.0, 1.0)
    """Of parts in any colour."""
    part_shade: float = 0.15
    """Change of brightness of a nominal colour, standard deviation, relative."""
    speckled_share: float = 0.3
    """Share of parts with specks."""
    cameras: Mapping[str, CameraRange] = field(
        default_factory=lambda: {
            "front": CameraRange(0.0025, 0.5, (-0.5, 0.5)),
            "wrist": CameraRange(0.00075, 0.25, (-0.5, 0.5)),
        }
    )


TRAINING = LookRange()
NOMINAL_PARTS = LookRange(part_color="nominal")
STANDIN = LookRange(
    brightness=(0.55, 0.75),
    warmth=(0.72, 0.78),
    azimuth_deg=(50.0, 70.0),
    elevation_deg=(28.0, 34.0),
    ambient=(0.25, 0.30),
    fill=(0.05, 0.15),
    shadow_share=1.0,
    wall_share=1.0,
    table_value=(0.42, 0.48),
    table_saturation=(0.4, 0.5),
    table_hue=(0.30, 0.36),
    table_textures=("weave",),
    wall_textures=("bricks",),
    wall_color=((0.52, 0.45, 0.40), (0.58, 0.50, 0.44)),
    speckled_share=0.0,
    part_color="nominal",
    part_shade=0.03,
    cameras={
        "front": CameraRange(0.0, 0.0, (2.0, 2.0), (0.012, -0.015, 0.010), (0.0, 0.0, 1.0)),
        "wrist": CameraRange(0.0, 0.0, (-1.5, -1.5), (0.002, 0.001, 0.0), (0.5, 0.0, 0.7)),
    },
)
"""Textures, hues, warmth, elevation of the light and camera poses that no training picture has."""
STANDIN_NEW_COLORS = LookRange(
    **{**STANDIN.__dict__, "part_color": "other", "part_hue": (0.78, 0.86)}
)
"""The stand-in with parts in colours far from their own (ResiP Fig. 10)."""
LOOKS: dict[str, LookRange] = {
    "random": TRAINING,
    "nominal_parts": NOMINAL_PARTS,
    "standin": STANDIN,
    "standin_new_colors": STANDIN_NEW_COLORS,
}
"""By the name that commands use."""


@dataclass(frozen=True)
class Look:
    """One draw: what a picture is drawn with."""

    key_direction: Array
    """(3,) direction of the light's rays, world."""
    key_color: Array
    """(3,)."""
    fill_color: Array
    """(2, 3)."""
    ambient: float
    shadow: bool
    table: tuple[str, Array]
    """Texture and colour (3,)."""
    wall: tuple[str, Array] | None
    parts: Mapping[str, Array | None]
    """Body to colour (3,), None for a shade of its own."""
    shade: Mapping[str, float]
    """Body to factor of its own colour."""
    part_texture: Mapping[str, str]
    cameras: Mapping[str, tuple[Array, Array, float]]
    """Camera to shift (3,) m, turn (3, 3) in its own axes, change of fovy in degrees."""


def sample_look(ranges: LookRange, task_name: str, rng: np.random.Generator) -> Look:
    """Draw a look for a task's scene."""
    bodies = get_task(task_name).observed
    azimuth = np.radians(rng.uniform(*ranges.azimuth_deg))
    elevation = np.radians(rng.uniform(*ranges.elevation_deg))
    toward = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    blue = rng.uniform(*ranges.warmth)
    tint = np.array([1.0, 0.5 * (1.0 + blue), blue])
    fills = rng.uniform(*ranges.fill, (2, 1)) * (rng.random((2, 1)) > 1 / 3)
    colors, shades, textures = {}, {}, {}
    for body in bodies:
        colored = ranges.part_color == "other" or (
            ranges.part_color == "any" and rng.random() < 0.5
        )
        hue, saturation, value = rng.uniform(*ranges.part_hue), *rng.uniform(0.3, 0.95, 2)
        colors[body] = hsv_to_rgb(hue, saturation, value) if colored else None
        shades[body] = float(np.clip(1.0 + ranges.part_shade * rng.standard_normal(), 0.5, 1.5))
        textures[body] = "speckle" if rng.random() < ranges.speckled_share else "plain"
    wall = str(rng.choice(ranges.wall_textures)), rng.uniform(*ranges.wall_color)
    return Look(
        key_direction=-toward,
        key_color=0.8 * rng.uniform(*ranges.brightness) * tint,
        fill_color=np.repeat(fills, 3, axis=1),
        ambient=float(rng.uniform(*ranges.ambient)),
        shadow=bool(rng.random() < ranges.shadow_share),
        table=(str(rng.choice(ranges.table_textures)), _surface(ranges, rng)),
        wall=wall if rng.random() < ranges.wall_share else None,
        parts=colors,
        shade=shades,
        part_texture=textures,
        cameras={name: _sample_camera(c, rng) for name, c in ranges.cameras.items()},
    )


def _surface(ranges: LookRange, rng: np.random.Generator) -> Array:
    return hsv_to_rgb(
        rng.uniform(*ranges.table_hue),
        rng.uniform(*ranges.table_saturation),
        rng.uniform(*ranges.table_value),
    )


def _sample_camera(ranges: CameraRange, rng: np.random.Generator) -> tuple[Array, Array, float]:
    shift = np.array(ranges.offset_m) + ranges.position_sd_m * rng.standard_normal(3)
    turn = np.radians(
        np.array(ranges.turn_deg) + ranges.angle_sd_deg * rng.standard_normal(3) / np.sqrt(3)
    )
    return shift, rotvec_to_matrix(turn), float(rng.uniform(*ranges.fovy_deg))


def hsv_to_rgb(hue: float, saturation: float, value: float) -> Array:
    """Colour (3,) in [0, 1]; hue in turns."""
    steps = (np.array([5.0, 3.0, 1.0]) + 6.0 * hue) % 6.0
    return value - value * saturation * np.clip(np.minimum(steps, 4.0 - steps), 0.0, 1.0)


def prepare_scene(spec: mujoco.MjSpec) -> None:
    """Add what looks need: textures, a wall behind the arm, a light that casts shadows."""
    add_textures(spec)
    spec.visual.quality.shadowsize = 512
    spec.visual.map.shadowclip = 1.0
    for name, pos, size in (
        (BACKDROP, [-0.9, 0.0, 0.4], [0.02, 2.5, 1.6]),
        (f"{BACKDROP}_floor", [0.5, 0.0, -0.8], [2.5, 2.5, 0.02]),
    ):
        spec.worldbody.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=pos,
            size=size,
            rgba=[0.8, 0.8, 0.8, 1],
            contype=0,
            conaffinity=0,
        )
    spec.worldbody.add_light(
        name=KEY_LIGHT,
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.45, 0.0, 1.5],
        dir=[0, 0, -1],
        castshadow=True,
    )


class LookApplier:
    """Gives a compiled scene one look after the other."""

    def __init__(self, model: mujoco.MjModel, task_name: str) -> None:
        """Remember the nominal scene; it was made with `prepare_scene`."""
        self._model = model
        self._key = model.light(KEY_LIGHT).id
        self._fills = [i for i in range(model.nlight) if i != self._key][:2]
        self._materials = {name: model.material(name).id for name in TEXTURES}
        self._geoms = {body: _visible_geoms(model, body) for body in get_task(task_name).observed}
        self._bench = [g for g in range(model.ngeom) if model.geom(g).name in _BENCH]
        self._wall = [g for g in range(model.ngeom) if model.geom(g).name.startswith(BACKDROP)]
        self._rgba = model.geom_rgba.copy()
        self._cameras = (model.cam_pos.copy(), model.cam_quat.copy(), model.cam_fovy.copy())

    def apply(self, look: Look, scene: mujoco.MjvScene) -> None:
        """Change the scene; call before the state is set, which moves lights and cameras."""
        model = self._model
        model.light_dir[self._key] = look.key_direction
        model.light_pos[self._key] = np.array([0.45, 0.0, 0.0]) - 1.5 * look.key_direction
        model.light_diffuse[self._key] = look.key_color
        model.light_specular[self._key] = 0.3 * look.key_color
        model.light_castshadow[self._key] = look.shadow
        for light, color in zip(self._fills, look.fill_color, strict=True):
            model.light_diffuse[light] = color
        model.vis.headlight.ambient[:] = look.ambient
        model.vis.headlight.diffuse[:] = 0.15
        scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = look.shadow
        model.geom_rgba[self._wall, 3] = 0.0 if look.wall is None else 1.0
        for geoms, surface in ((self._bench, look.table), (self._wall, look.wall)):
            if surface is not None:
                model.geom_matid[geoms] = self._materials[surface[0]]
                model.geom_rgba[geoms, :3] = surface[1]
        for body, geoms in self._geoms.items():
            color = look.parts[body]
            own = np.clip(self._rgba[geoms, :3] * look.shade[body], 0.0, 1.0)
            model.geom_rgba[geoms, :3] = own if color is None else color
            model.geom_matid[geoms] = self._materials[look.part_texture[body]]
        for name, (shift, turn, fovy) in look.cameras.items():
            self._move_camera(model.camera(name).id, shift, turn, fovy)

    def _move_camera(self, camera: int, shift: Array, turn: Array, fovy: float) -> None:
        pos, quat, angle = self._cameras
        delta, turned = np.zeros(4), np.zeros(4)
        mujoco.mju_mat2Quat(delta, turn.ravel())
        mujoco.mju_mulQuat(turned, quat[camera], delta)
        self._model.cam_pos[camera] = pos[camera] + shift
        self._model.cam_quat[camera] = turned
        self._model.cam_fovy[camera] = angle[camera] + fovy


def _visible_geoms(model: mujoco.MjModel, body: str) -> list[int]:
    number = model.body(body).id
    return [g for g in range(model.ngeom) if model.geom_bodyid[g] == number]
