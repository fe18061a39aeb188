# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.kinematics import forward
from resip_ros.nodes.command_gate import CommandGate

NOW_NS = 5_000_000_000
CONFIG = load_control_config()
POS, ROT = forward(np.array(CONFIG.home_joints))
HERE = encode_action(POS, ROT, np.array(-1.0))
AGE_NS = round(CONFIG.max_command_age_s * 1e9)
FUTURE_NS = round(CONFIG.max_command_future_s * 1e9)


@pytest.fixture
def gate():
    return CommandGate(CONFIG)


def test_fresh_near_command_passes_at_the_edges_of_age(gate):
    gate.check(NOW_NS - AGE_NS, HERE, NOW_NS, POS, ROT)
    gate.check(NOW_NS + FUTURE_NS, HERE, NOW_NS, POS, ROT)
    assert not gate.refused


@pytest.mark.parametrize(
    ("stamp_ns", "reason"),
    [(NOW_NS - AGE_NS - 1, "old"), (NOW_NS + FUTURE_NS + 1, "future")],
)
def test_stale_and_future_commands_are_refused(gate, stamp_ns, reason):
    with pytest.raises(UnsafeCommand, match=reason):
        gate.check(stamp_ns, HERE, NOW_NS, POS, ROT)
    assert gate.refused["commands"] == 1


def test_repeated_command_is_refused_until_reset(gate):
    gate.check(NOW_NS, HERE, NOW_NS, POS, ROT)
    with pytest.raises(UnsafeCommand, match="second publisher"):
        gate.check(NOW_NS, HERE, NOW_NS, POS, ROT)
    gate.reset()
    gate.check(NOW_NS, HERE, NOW_NS, POS, ROT)


def test_a_refused_command_does_not_count_as_the_last_one(gate):
    far = HERE + np.r_[0.3, np.zeros(9)]
    with pytest.raises(UnsafeCommand):
        gate.check(NOW_NS, far, NOW_NS, POS, ROT)
    gate.check(NOW_NS, HERE, NOW_NS, POS, ROT)


@pytest.mark.parametrize("index", [0, 4, 9])
def test_not_finite_is_refused(gate, index):
    action = HERE.copy()
    action[index] = np.nan
    with pytest.raises(UnsafeCommand):
        gate.check(NOW_NS, action, NOW_NS, POS, ROT)
