# SPDX-License-Identifier: Apache-2.0
"""Pictures of a task's scene: front and wrist as the policy's cameras see it, and an overview.

Off-screen and without shadows, so that it runs beside everything else on a CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import mujoco
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.config import ControlConfig, load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, matrix_to_quat_wxyz, quat_wxyz_to_matrix
from resip_ros.core.images import POLICY_CAMERAS
from resip_ros.core.tasks import get_task
from resip_ros.sim.cameras import CAMERAS, Camera, get_camera, look_at, task_cameras
from resip_ros.sim.gl import find_backend, make_context
from resip_ros.sim.scene import build_scene
from resip_ros.sim.simplify import simplify_meshes

Picture = NDArray[np.uint8]


class Renderer:
    """Draws states of a task's scene. Make and use it in one thread: OpenGL is bound to it."""

    def __init__(
        self,
        task_name: str,
        config: ControlConfig | None = None,
        prepare: Callable[[mujoco.MjSpec], None] | None = None,
        *,
        antialias: bool = False,
    ) -> None:
        """Build the scene with the arm's visual meshes; takes about a second.

        Args:
            task_name: A task of core.tasks.
            config: Control numbers; by default config/robots/fr3.yaml.
            prepare: Adds to the scene what only pictures need, before it is compiled.
            antialias: Smooth edges, for people. On a CPU a picture then takes 2.8 times as long;
                to an encoder that shrinks it, it differs by half a grey value.

        Raises:
            NoRenderingError: when neither EGL nor OSMesa works here.
        """
        self._gl = None
        backend = find_backend()
        spec = build_scene(task_name, config or load_control_config(), visual=True)
        simplify_meshes(spec)
        _add_cameras(spec, task_cameras(get_task(task_name)))
        _add_light(spec)
        spec.visual.quality.offsamples = 4 if antialias else 0
        if prepare is not None:
            prepare(spec)
        self.model = spec.compile()
        self._data = mujoco.MjData(self.model)
        width = max(camera.width for camera in CAMERAS.values())
        height = max(camera.height for camera in CAMERAS.values())
        self._gl = make_context(backend, width, height)
        self._gl.make_current()
        self.scene = mujoco.MjvScene(self.model, maxgeom=2000)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self.scene.flags[flag] = False
        self._option = mujoco.MjvOption()
        # group 3 holds the collision shapes behind the meshes
        self._option.geomgroup[3] = 0
        self._context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def set_state(self, qpos: Array, mocap_pos: Array | None = None) -> None:
        """Take over a state of the same task's scene.

        Args:
            qpos: (nq,) as the physics model orders it.
            mocap_pos: (nmocap, 3) m, position of the fixture; stays when None.
        """
        qpos = np.asarray(qpos)
        if qpos.shape != (self.model.nq,):
            raise ConfigError(f"qpos: got shape {qpos.shape}, expected ({self.model.nq},)")
        self._data.qpos[:] = qpos
        if mocap_pos is not None:
            self._data.mocap_pos[:] = mocap_pos
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)
        _place_static(self.model, self._data)

    def draw(self, name: str) -> Picture:
        """Picture of the present state, (height, width, 3) RGB."""
        camera = get_camera(name)
        if self._gl is None:
            raise ConfigError("this renderer is closed; make another one")
        # another renderer of this thread may have been used in between: pictures would be black
        self._gl.make_current()
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = self.model.camera(name).id
        mujoco.mjv_updateScene(
            self.model,
            self._data,
            self._option,
            None,
            view,
            mujoco.mjtCatBit.mjCAT_ALL,
            self.scene,
        )
        size = mujoco.MjrRect(0, 0, camera.width, camera.height)
        mujoco.mjr_render(size, self.scene, self._context)
        picture = np.empty((camera.height, camera.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(picture, None, size, self._context)
        # OpenGL counts rows from below
        return np.ascontiguousarray(picture[::-1])

    def render(
        self, qpos: Array, mocap_pos: Array | None = None, cameras: tuple[str, ...] = ("front",)
    ) -> dict[str, Picture]:
        """Pictures of a state by camera name, each (height, width, 3) RGB."""
        self.set_state(qpos, mocap_pos)
        return {name: self.draw(name) for name in cameras}

    def render_policy(self, qpos: Array, mocap_pos: Array | None = None) -> dict[str, Picture]:
        """What an image policy sees of a state: camera name to (240, 320, 3) RGB."""
        return self.render(qpos, mocap_pos, POLICY_CAMERAS)

    def close(self) -> None:
        """Free the graphics memory; safe to call again."""
        if self._gl is None:
            return
        # what is freed is looked up in the current context: another renderer's would be emptied
        self._gl.make_current()
        self._context.free()
        self._gl.free()
        self._gl = None

    def __del__(self) -> None:
        """Free it in its own context, also where nobody closed it; at the end OpenGL is gone."""
        if not sys.is_finalizing():
            self.close()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _place_static(model: mujoco.MjModel, data: mujoco.MjData) -> None:
    """Put the world's own cameras and lights where the model has them now.

    MuJoCo leaves them where they were when the data were made, however the model has changed.
    """
    cameras, lights = (
        np.flatnonzero(model.cam_bodyid == 0),
        np.flatnonzero(model.light_bodyid == 0),
    )
    data.cam_xpos[cameras] = model.cam_pos[cameras]
    data.cam_xmat[cameras] = quat_wxyz_to_matrix(model.cam_quat[cameras]).reshape(-1, 9)
    data.light_xpos[lights] = model.light_pos[lights]
    data.light_xdir[lights] = model.light_dir[lights]


def _add_cameras(spec: mujoco.MjSpec, cameras: dict[str, Camera]) -> None:
    for camera in cameras.values():
        rot = look_at(
            *(np.array(v, dtype=float) for v in (camera.position, camera.target, camera.up))
        )
        body = spec.worldbody if camera.body == "world" else spec.body(camera.body)
        body.add_camera(
            name=camera.name,
            pos=list(camera.position),
            quat=matrix_to_quat_wxyz(rot).tolist(),
            fovy=camera.fovy_deg,
        )
    spec.visual.global_.offwidth = max(camera.width for camera in cameras.values())
    spec.visual.global_.offheight = max(camera.height for camera in cameras.values())
    # the wrist camera sits 1 cm from the hand
    spec.visual.map.znear = 0.005
    spec.stat.extent = 1.0


def _add_light(spec: mujoco.MjSpec) -> None:
    """Bright, even light of a laboratory and a plain background."""
    spec.visual.headlight.ambient = [0.3, 0.3, 0.3]
    spec.visual.headlight.diffuse = [0.25, 0.25, 0.25]
    spec.visual.headlight.specular = [0.1, 0.1, 0.1]
    for direction, diffuse in (([-0.4, 0.4, -1.0], 0.35), ([-0.2, -0.8, -0.8], 0.15)):
        spec.worldbody.add_light(
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            pos=[1.0, 0.0, 2.0],
            dir=direction,
            diffuse=[diffuse] * 3,
            specular=[0.1] * 3,
            castshadow=False,
        )
    spec.add_texture(
        name="background",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.78, 0.83, 0.88],
        rgb2=[0.45, 0.50, 0.56],
        width=64,
        height=384,
    )
