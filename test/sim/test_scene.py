# SPDX-License-Identifier: Apache-2.0
"""The scene as a whole: what it contains, its settings, and that nothing starts in contact."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.diffik import solve_joint_target
from resip_ros.core.errors import ConfigError
from resip_ros.core.kinematics import JOINT_NAMES, forward
from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import TICK_S, get_scene


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return build_scene("one_leg", load_control_config()).compile()


def test_bodies_have_the_names_that_the_task_observes(model):
    for name in ONE_LEG.parts:
        assert model.joint(name).type[0] == mujoco.mjtJoint.mjJNT_FREE
    assert model.body(ONE_LEG.fixture).mocapid[0] == 0
    assert [model.joint(name).type[0] for name in JOINT_NAMES] == [mujoco.mjtJoint.mjJNT_HINGE] * 7
    assert model.nu == 8


def test_base_frame_is_the_world_frame(model, rng):
    config, data = load_control_config(), mujoco.MjData(model)
    q = rng.uniform(config.joint_low, config.joint_high)
    data.qpos[[model.joint(name).qposadr[0] for name in JOINT_NAMES]] = q
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.site("tcp").xpos, forward(q)[0], atol=1e-6)
    bench = model.geom("bench")
    assert bench.pos[2] + bench.size[2] == pytest.approx(0.0)


def test_contact_stiffness_follows_the_step():
    config = load_control_config()
    for timestep in (get_scene("one_leg").timestep_s, TICK_S):
        model = build_scene("one_leg", config, timestep=timestep).compile()
        assert model.opt.timestep == timestep
        for name in ("bench", "leg1_body", "left_finger_pad", "slab0"):
            assert model.geom(name).solref[0] == pytest.approx(2 * timestep)


@pytest.mark.parametrize("timestep", [0.0, -0.001, 0.0007, 0.004, float("nan")])
def test_a_step_that_does_not_fit_or_is_too_coarse_is_refused(timestep):
    with pytest.raises(ConfigError, match=r"physics step of one_leg: got .* at most 3.33 ms"):
        build_scene("one_leg", load_control_config(), timestep=timestep)


def test_visual_meshes_only_change_what_is_seen():
    config = load_control_config()
    plain, seen = (
        build_scene("one_leg", config, visual=visual).compile() for visual in (False, True)
    )
    assert seen.ngeom > plain.ngeom
    assert seen.nq == plain.nq
    colliding = [((m.geom_contype | m.geom_conaffinity) > 0).sum() for m in (plain, seen)]
    assert colliding[0] == colliding[1]
    moving = plain.body_weldid > 0
    assert moving.sum() > 10
    np.testing.assert_allclose(seen.body_mass[moving], plain.body_mass[moving])
    np.testing.assert_allclose(seen.body_inertia[moving], plain.body_inertia[moving])


def test_unknown_task():
    with pytest.raises(ConfigError, match="unknown task 'one_log'.*did you mean"):
        build_scene("one_log", load_control_config())


def test_what_meets_nothing_is_only_kept_to_be_seen():
    config = load_control_config()
    plain, seen = (build_scene("one_leg", config, visual=visual) for visual in (False, True))
    assert all(geom.contype or geom.conaffinity for geom in plain.geoms)
    assert seen.geom("leg1_stud_ridge0") is not None
    assert plain.geom("leg1_stud_ridge0") is None
    assert plain.geom("leg4_stud_ridge0") is not None


def _pressed_pad_height(model: mujoco.MjModel) -> float:
    """Height of a finger pad, m, after 0.4 s of the hand pressing on the bench with 20 N or so."""
    config, data = load_control_config(), mujoco.MjData(model)
    arm = [model.joint(name).qposadr[0] for name in JOINT_NAMES]
    down = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    above, pressed = (
        solve_joint_target(
            np.asarray(config.home_joints)[None],
            np.array([[0.45, 0.0, height]]),
            down[None],
            posture=np.asarray(config.home_joints),
            damping=config.ik_damping,
            posture_gain=config.ik_posture_gain,
            iterations=30,
        )[0]
        for height in (0.010, -0.002)
    )
    data.qpos[arm] = above
    data.ctrl[:7] = pressed
    mujoco.mj_step(model, data, nstep=200)
    assert data.ncon >= 4
    return float(data.geom("left_finger_pad").xpos[2])


def test_the_hand_rests_on_the_bench_as_on_a_box():
    """Arms meet the bench's surface, a plane; the box is what it stands for."""
    spec = build_scene("one_leg", load_control_config())
    on_plane = _pressed_pad_height(spec.compile())
    plane, box = spec.geom("bench_surface"), spec.geom("bench")
    box.conaffinity, plane.conaffinity = plane.conaffinity, 0
    assert on_plane == pytest.approx(_pressed_pad_height(spec.compile()), abs=2e-7)
    assert on_plane < 0.011
