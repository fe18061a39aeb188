# SPDX-License-Identifier: Apache-2.0
import gc

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import matrix_to_quat_wxyz
from resip_ros.core.images import IMAGE_SHAPE, POLICY_CAMERAS
from resip_ros.sim.cameras import CAMERAS, Camera, look_at
from resip_ros.sim.gl import NoRenderingError, find_backend, make_context
from resip_ros.sim.render import Renderer
from resip_ros.sim.scene import build_scene


@pytest.fixture(scope="module")
def renderer():
    try:
        with Renderer("one_leg") as renderer:
            yield renderer
    except NoRenderingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def home_qpos() -> np.ndarray:
    config = load_control_config()
    model = build_scene("one_leg", config).compile()
    data = mujoco.MjData(model)
    data.qpos[:7] = config.home_joints
    data.qpos[7:9] = 0.5 * config.gripper_max_width_m
    return data.qpos.copy()


def is_blue(picture: np.ndarray) -> np.ndarray:
    r, g, b = picture.astype(int).transpose(2, 0, 1)
    return (b > r + 50) & (b > g + 20)


def is_brown(picture: np.ndarray) -> np.ndarray:
    r, g, b = picture.astype(int).transpose(2, 0, 1)
    return (r > b + 50) & (r > g + 20)


@pytest.mark.parametrize("name", sorted(CAMERAS))
def test_task_leg_and_top_are_in_every_picture(
    renderer: Renderer, home_qpos: np.ndarray, name: str
) -> None:
    picture = renderer.render(home_qpos, cameras=(name,))[name]
    camera = CAMERAS[name]
    assert picture.shape == (camera.height, camera.width, 3)
    assert picture.dtype == np.uint8
    assert is_blue(picture).sum() > 50
    assert is_brown(picture).sum() > 200


def test_part_is_drawn_where_the_camera_model_says(
    renderer: Renderer, home_qpos: np.ndarray
) -> None:
    picture = renderer.render(home_qpos)["front"]
    camera = CAMERAS["front"]
    position = np.array(camera.position)
    rot = look_at(position, np.array(camera.target), np.array(camera.up))
    leg4 = np.array([0.3715, 0.20, 0.015])
    x, y, z = rot.T @ (leg4 - position)
    # OpenGL looks along -z with y up, pixels count down from the top
    u, v, w = camera.intrinsics @ np.array([x, -y, -z])
    rows, columns = np.nonzero(is_blue(picture))
    assert abs(columns.mean() - u / w) < 4
    assert abs(rows.mean() - v / w) < 4


def test_moved_part_and_fixture_move_in_the_picture(
    renderer: Renderer, home_qpos: np.ndarray
) -> None:
    first = renderer.render(home_qpos, np.array([[0.68, 0.0, 0.015]]))["front"]
    moved = home_qpos.copy()
    start = int(renderer.model.joint("leg4").qposadr[0])
    moved[start + 1] -= 0.05
    second = renderer.render(moved)["front"]
    assert abs(np.nonzero(is_blue(first))[1].mean() - np.nonzero(is_blue(second))[1].mean()) > 5
    third = renderer.render(moved, np.array([[0.72, 0.0, 0.015]]))["front"]
    assert (second != third).any(axis=-1).sum() > 100


def test_same_state_gives_the_same_picture(renderer: Renderer, home_qpos: np.ndarray) -> None:
    names = ("front", "wrist")
    first = renderer.render(home_qpos, cameras=names)
    second = renderer.render(home_qpos, cameras=names)
    for name in names:
        np.testing.assert_array_equal(first[name], second[name])


def test_state_of_another_scene_is_refused(renderer: Renderer) -> None:
    with pytest.raises(ConfigError, match=r"qpos: got shape \(3,\)"):
        renderer.set_state(np.zeros(3))


def test_policy_sees_front_and_wrist(renderer: Renderer, home_qpos: np.ndarray) -> None:
    pictures = renderer.render_policy(home_qpos)
    assert tuple(pictures) == POLICY_CAMERAS == ("front", "wrist")
    assert [picture.shape for picture in pictures.values()] == [IMAGE_SHAPE] * 2
    np.testing.assert_array_equal(pictures["wrist"], renderer.draw("wrist"))


def draw_sphere(camera: Camera, centre: np.ndarray) -> np.ndarray:
    """White on black, (height, width)."""
    spec = mujoco.MjSpec()
    ball = mujoco.mjtGeom.mjGEOM_SPHERE
    spec.worldbody.add_geom(type=ball, size=[0.02, 0, 0], pos=centre, rgba=[1, 1, 1, 1])
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [1, 1, 1], [0, 0, 0]
    spec.worldbody.add_camera(
        name="c",
        pos=list(camera.position),
        quat=matrix_to_quat_wxyz(camera.optical_rotation * [1.0, -1.0, -1.0]).tolist(),
        fovy=camera.fovy_deg,
    )
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    gl = make_context(find_backend(), camera.width, camera.height)
    gl.make_current()
    scene = mujoco.MjvScene(model, maxgeom=10)
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    view = mujoco.MjvCamera()
    view.type, view.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
    everything = mujoco.mjtCatBit.mjCAT_ALL
    mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, view, everything, scene)
    size = mujoco.MjrRect(0, 0, camera.width, camera.height)
    picture = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
    mujoco.mjr_render(size, scene, context)
    mujoco.mjr_readPixels(picture, None, size, context)
    context.free()
    gl.free()
    return picture[::-1].astype(float).mean(axis=2)


def test_a_sphere_is_drawn_to_a_tenth_of_a_pixel_where_the_intrinsics_say() -> None:
    camera, centre = CAMERAS["front"], np.array([0.40, 0.12, 0.10])
    try:
        bright = draw_sphere(camera, centre)
    except NoRenderingError as error:
        pytest.skip(str(error))
    x, y, z = camera.optical_rotation.T @ (centre - camera.position)
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
    seen = [(bright * axis).sum() / bright.sum() for axis in (columns, rows)]
    expected = (camera.intrinsics @ np.array([x, y, z]))[:2] / z
    np.testing.assert_allclose(seen, expected, atol=0.1)


def test_cameras_and_lights_of_the_world_follow_the_model(renderer, home_qpos) -> None:
    """MuJoCo itself leaves them where they were when its data were made."""
    model, data = renderer.model, renderer._data
    camera = model.camera("front").id
    light = int(np.flatnonzero(model.light_bodyid == 0)[0])
    before = renderer.render_policy(home_qpos)["front"]
    kept = model.cam_pos[camera].copy(), model.light_dir[light].copy()
    try:
        model.cam_pos[camera, 1] += 0.02
        model.light_dir[light] = [0.0, 1.0, 0.0]
        moved = renderer.render_policy(home_qpos)["front"]
        np.testing.assert_array_equal(data.cam_xpos[camera], model.cam_pos[camera])
        np.testing.assert_array_equal(data.light_xdir[light], [0.0, 1.0, 0.0])
        assert np.abs(moved.astype(int) - before).mean() > 1.0
    finally:
        model.cam_pos[camera], model.light_dir[light] = kept
    np.testing.assert_array_equal(renderer.render_policy(home_qpos)["front"], before)


def test_renderers_of_a_thread_leave_each_other_alone(
    renderer: Renderer, home_qpos: np.ndarray
) -> None:
    """One that is closed, or forgotten, freed the textures and meshes of the others."""
    before = renderer.render(home_qpos)["front"]
    other = Renderer("one_leg")
    renderer.draw("front")
    other.close()
    other.close()
    np.testing.assert_array_equal(renderer.render(home_qpos)["front"], before)
    Renderer("one_leg").render(home_qpos)
    renderer.draw("front")
    gc.collect()
    np.testing.assert_array_equal(renderer.render(home_qpos)["front"], before)
    with pytest.raises(ConfigError, match="renderer is closed"):
        other.draw("front")


@pytest.mark.usefixtures("renderer")
def test_smooth_edges_are_for_people(home_qpos: np.ndarray) -> None:
    with Renderer("one_leg") as plain, Renderer("one_leg", antialias=True) as smooth:
        pictures = [each.render(home_qpos)["front"].astype(int) for each in (plain, smooth)]
    difference = np.abs(pictures[0] - pictures[1])
    assert 0 < np.mean(difference) < 3
    assert np.median(difference) == 0, "only edges differ"
