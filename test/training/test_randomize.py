# SPDX-License-Identifier: Apache-2.0
"""Looks: equal for equal keys, within their ranges, and the stand-in's are seen nowhere else."""

import dataclasses

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.sim.cameras import CAMERAS
from resip_ros.sim.scene import build_scene
from training.randomize import (
    BACKDROP,
    KEY_LIGHT,
    LOOKS,
    NOMINAL_PARTS,
    STANDIN,
    STANDIN_NEW_COLORS,
    TRAINING,
    LookApplier,
    LookRange,
    hsv_to_rgb,
    prepare_scene,
    sample_look,
)
from training.textures import TEXTURES

TASK = "peg_in_hole"


def looks(ranges: LookRange, count: int = 200):
    return [sample_look(ranges, TASK, np.random.default_rng((3, i))) for i in range(count)]


def test_a_key_fixes_the_look():
    first, second = (sample_look(TRAINING, TASK, np.random.default_rng((1, 2, 3))) for _ in "ab")
    np.testing.assert_equal(dataclasses.asdict(first), dataclasses.asdict(second))
    other = sample_look(TRAINING, TASK, np.random.default_rng((1, 2, 4)))
    assert not np.array_equal(first.key_direction, other.key_direction)


def test_training_covers_its_ranges():
    drawn = looks(TRAINING)
    shadow = np.mean([look.shadow for look in drawn])
    assert 0.4 < shadow < 0.6
    assert 0.65 < np.mean([look.wall is not None for look in drawn]) < 0.85
    warmth = [look.key_color[2] / look.key_color[0] for look in drawn]
    assert 0.789 <= min(warmth) < 0.82
    assert 0.97 < max(warmth) <= 1.0
    assert {look.table[0] for look in drawn} == set(TRAINING.table_textures)
    front = np.array([look.cameras["front"][0] for look in drawn])
    assert 0.002 < front.std() < 0.003
    angles = [np.arccos((np.trace(look.cameras["front"][1]) - 1) / 2) for look in drawn]
    assert 0.3 < np.degrees(np.sqrt(np.mean(np.square(angles)))) < 0.7
    colored = [look.parts["peg"] is not None for look in drawn]
    assert 0.4 < np.mean(colored) < 0.6
    assert not any(
        color is not None for look in looks(NOMINAL_PARTS) for color in look.parts.values()
    )


def test_the_stand_in_looks_like_no_training_picture():
    assert not set(STANDIN.table_textures) & set(TRAINING.table_textures)
    assert not set(STANDIN.wall_textures) & set(TRAINING.wall_textures)
    assert STANDIN.warmth[1] < TRAINING.warmth[0]
    assert STANDIN.elevation_deg[1] < TRAINING.elevation_deg[0]
    assert STANDIN.table_saturation[0] > TRAINING.table_saturation[1]
    assert STANDIN.cameras["front"].fovy_deg[0] > TRAINING.cameras["front"].fovy_deg[1]
    for look in looks(STANDIN_NEW_COLORS, 20):
        assert all(color is not None for color in look.parts.values())
    assert STANDIN_NEW_COLORS.table_hue == STANDIN.table_hue


@pytest.mark.parametrize(
    ("hsv", "rgb"),
    [
        ((0.0, 1.0, 1.0), (1, 0, 0)),
        ((1 / 3, 1.0, 0.5), (0, 0.5, 0)),
        ((0.5, 0.5, 1.0), (0.5, 1, 1)),
    ],
)
def test_hue(hsv, rgb):
    np.testing.assert_allclose(hsv_to_rgb(*hsv), rgb, atol=1e-12)


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    spec = build_scene(TASK, load_control_config(), visual=True)
    for camera in CAMERAS.values():
        body = spec.worldbody if camera.body == "world" else spec.body(camera.body)
        body.add_camera(name=camera.name, fovy=camera.fovy_deg)
    for _ in range(2):
        spec.worldbody.add_light()
    prepare_scene(spec)
    return spec.compile()


def test_a_look_is_applied_and_the_next_forgets_it(model):
    applier, scene = LookApplier(model, TASK), mujoco.MjvScene(model, maxgeom=10)
    drawn = looks(TRAINING, 40)
    dark = next(look for look in drawn if not look.shadow and look.wall is None)
    bright = next(look for look in drawn if look.shadow and look.wall is not None)
    peg = model.geom("peg").id
    applier.apply(bright, scene)
    assert scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW]
    first = (model.geom_rgba.copy(), model.cam_quat.copy(), model.light_dir.copy())
    applier.apply(dark, scene)
    assert model.geom_rgba[model.geom(BACKDROP).id, 3] == 0.0
    assert not scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW]
    np.testing.assert_allclose(model.light_dir[model.light(KEY_LIGHT).id], dark.key_direction)
    applier.apply(bright, scene)
    for before, after in zip(
        first, (model.geom_rgba, model.cam_quat, model.light_dir), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert model.geom_matid[peg] == model.material(bright.part_texture["peg"]).id


def test_every_look_names_textures_that_exist():
    for ranges in LOOKS.values():
        assert set(ranges.table_textures) | set(ranges.wall_textures) <= set(TEXTURES)
