# SPDX-License-Identifier: Apache-2.0
"""Each thing that must end an episode does, and the worst of several is the one that is told."""

import numpy as np

from resip_ros.core.config import load_control_config
from training.failures import FAILURES, CommandTimeout, find_failures, is_thrown, is_unstable

STEPS = load_control_config().command_timeout_steps


def test_the_worst_reason_is_told():
    flags = np.tril(np.ones((5, 4), bool), k=-1)[:, ::-1]
    reasons = find_failures(*flags.T)
    assert reasons.tolist() == ["", "held", "reflex", "thrown", "unstable"]
    assert set(FAILURES) == set(reasons) - {""}


def test_only_as_many_refused_in_a_row_as_the_time_out_has_are_too_many():
    timeout = CommandTimeout(STEPS, 3)
    for step in range(4 * STEPS):  # environment 0 never, 1 once in a while, 2 only at first
        accepted = [False, step % STEPS == 0, step == 0]
        ran_out = timeout.step(~np.array(accepted))
        assert ran_out.tolist() == [False, False, step >= STEPS], step


def test_the_time_out_in_steps_is_what_the_bridge_waits():
    """At 10 Hz two refused ones: the next command would be 0.3 s behind the last accepted."""
    config = load_control_config()
    assert config.command_timeout_s == 0.25
    assert [config.at_rate(rate).command_timeout_steps for rate in (10.0, 50.0)] == [2, 12]


def test_a_part_off_the_bench_or_fast_is_thrown():
    positions, velocities = np.full((4, 2, 3), 0.1), np.zeros((4, 2, 3))
    positions[1, 1, 2] = 0.7
    positions[2, 0, 0] = -0.01
    velocities[3, 1] = [1.5, 1.5, 0.0]
    assert is_thrown(positions, velocities).tolist() == [False, True, True, True]


def test_what_is_not_finite_or_far_from_its_reference_is_unstable():
    qpos, qvel = np.zeros((4, 9)), np.zeros((4, 9))
    q, q_ref = np.zeros((4, 1, 7)), np.zeros((4, 1, 7))
    qpos[1, 3], qvel[2, 8], q_ref[3, 0, 6] = np.nan, np.inf, 0.6
    assert is_unstable(qpos, qvel, q, q_ref).tolist() == [False, True, True, True]
