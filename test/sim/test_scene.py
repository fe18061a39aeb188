# SPDX-License-Identifier: Apache-2.0
"""The scene as a whole: what it contains, its settings, and that nothing starts in contact."""

import mujoco
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.kinematics import JOINT_NAMES, forward
from resip_ros.core.tasks import ONE_LEG
from resip_ros.sim.scene import TRAINING_TIMESTEP_S, build_scene


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
    for timestep in (TRAINING_TIMESTEP_S, 0.001):
        model = build_scene("one_leg", config, timestep=timestep).compile()
        assert model.opt.timestep == timestep
        for name in ("bench", "leg1_body", "left_finger_pad", "slab0"):
            assert model.geom(name).solref[0] == pytest.approx(2 * timestep)


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
