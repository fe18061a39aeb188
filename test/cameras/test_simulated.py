# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.cameras.simulated import SimSource, stamp_of
from resip_ros.core.errors import ConfigError
from resip_ros.sim.gl import NoRenderingError
from resip_ros.sim.render import Renderer


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


def test_stamps_are_whole_milliseconds():
    assert stamp_of(np.array([0.1 + 0.2])) == 300_000_000


def test_unknown_cameras_are_refused():
    with pytest.raises(ConfigError, match="side"):
        SimSource("one_leg", ("side",), 10.0)
