# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.cameras.simulated import SimSource, stamp_of
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError, DataError
from resip_ros.sim.gl import NoRenderingError
from resip_ros.sim.render import Renderer
from resip_ros.sim.scene import build_scene


def state_at(time_s, model):
    mocap = [0.7, 0.0, 0.015]
    return np.concatenate([[time_s], model.qpos0, mocap])


def test_it_draws_the_first_state_of_each_period_as_the_renderer_does():
    try:
        renderer = Renderer("peg_in_hole")
    except NoRenderingError as error:
        pytest.skip(str(error))
    model = renderer.model
    drawn = renderer.render_policy(model.qpos0, np.array([[0.7, 0.0, 0.015]]))
    renderer.close()
    source = SimSource("peg_in_hole", ("front", "wrist"), 10.0)
    source.open()
    for time_s in (0.38, 0.4, 0.42):
        source.push(state_at(time_s, model))
    frames = source.read()
    assert [frame.camera for frame in frames] == ["front", "wrist"]
    assert [frame.stamp_ns for frame in frames] == [400_000_000] * 2
    for frame in frames:
        np.testing.assert_array_equal(frame.picture, drawn[frame.camera])
    # of the same period: not drawn
    source.push(state_at(0.44, model))
    source.push(state_at(0.5, model))
    assert source.read()[0].stamp_ns == 500_000_000
    lens = source.calibration("front")
    assert lens is not None
    assert lens.matrix[0, 2] == 159.5
    source.close()


@pytest.mark.parametrize("state", [[], [np.nan, 0.0], [-1.0], [1e300], [0.1, np.inf]])
def test_states_that_are_none_are_refused(state):
    source = SimSource("peg_in_hole", ("front",), 10.0)
    with pytest.raises(DataError, match="state of the simulated bench"):
        source.push(np.array(state))


def test_a_state_of_another_task_is_dropped_and_the_next_one_drawn(caplog):
    source = SimSource("peg_in_hole", ("front",), 10.0)
    try:
        source.open()
    except NoRenderingError as error:
        pytest.skip(str(error))
    source.push(np.array([0.1, 0.0]))
    assert source.read() == []
    assert "has 2 values" in caplog.text
    model = build_scene("peg_in_hole", load_control_config()).compile()
    source.push(state_at(0.2, model))
    assert len(source.read()) == 1
    source.close()


def test_stamps_are_whole_milliseconds():
    assert stamp_of(np.array([0.1 + 0.2])) == 300_000_000


def test_unknown_cameras_are_refused():
    with pytest.raises(ConfigError, match="side"):
        SimSource("one_leg", ("side",), 10.0)
