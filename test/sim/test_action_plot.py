# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.geometry import rotvec_to_matrix
from resip_ros.sim.action_plot import compose_frame, correction_angle, draw_action_plot


def actions(steps: int, angle_rad: float = 0.0) -> np.ndarray:
    pos = np.stack([np.linspace(0.3, 0.5, steps), np.zeros(steps), np.ones(steps)], axis=-1)
    rot = rotvec_to_matrix(np.tile([0.0, 0.0, angle_rad], (steps, 1)))
    return encode_action(pos, rot, np.where(np.arange(steps) > steps // 2, 1.0, -1.0))


def test_correction_angle_is_the_turn_between_both() -> None:
    angle = correction_angle(actions(4), actions(4, angle_rad=0.2))
    np.testing.assert_allclose(angle, 0.2, atol=1e-9)


def test_plot_shows_the_correction() -> None:
    time_s, base = 0.1 * np.arange(30), actions(30)
    net = base + 0.01 * np.sin(time_s)[:, None]
    same, ends = draw_action_plot(time_s, base, base, "base alone")
    corrected, _ = draw_action_plot(time_s, base, net, "base alone")
    assert same.shape == (480, 720, 3)
    assert same.dtype == np.uint8
    assert 0 < ends[0] < ends[1] < 720
    assert (same != corrected).any()


def test_every_arm_is_drawn() -> None:
    """The second arm's correction shows, beside the first arm's lines."""
    time_s, base = 0.1 * np.arange(30), actions(30)
    still = np.concatenate([base, base - 0.1], axis=1)
    moved = still.copy()
    moved[:, 10:13] += 0.01 * np.sin(time_s)[:, None]
    one, both, corrected = (
        draw_action_plot(time_s, *pair, "two arms")[0]
        for pair in ((base, base), (still, still), (still, moved))
    )
    assert (one != both).any()
    assert (both != corrected).any()


@pytest.mark.parametrize("steps", [0, 1])
def test_short_episodes_are_drawn(steps: int) -> None:
    plot, _ = draw_action_plot(np.zeros(steps), actions(steps), actions(steps), "short")
    assert plot.std() > 1.0


@pytest.mark.parametrize(("share", "column"), [(-1.0, 100), (0.0, 100), (0.5, 250), (2.0, 400)])
def test_cursor_stands_at_the_present(share: float, column: int) -> None:
    picture = np.full((240, 320, 3), 7, np.uint8)
    plot = np.full((480, 720, 3), 255, np.uint8)
    frame = compose_frame(picture, plot, (100.0, 400.0), share)
    assert frame.shape == (480, 1360, 3)
    assert (frame[:, :640] == 7).all()
    changed = np.flatnonzero((frame[0, 640:] != 255).any(-1))
    assert changed.tolist() == [column, column + 1]
    assert (plot == 255).all()
