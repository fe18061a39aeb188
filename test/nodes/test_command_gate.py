# SPDX-License-Identifier: Apache-2.0
"""The gate: exact edges, and properties over random and adversarial commands."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from resip_ros.core.action import encode_action
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import rotation_angle, rotvec_to_matrix
from resip_ros.core.kinematics import forward
from resip_ros.core.limits import clip_reference
from resip_ros.core.reference_check import LEAD, acceleration_limit, speed_limit
from resip_ros.nodes.command_gate import CommandGate
from resip_ros.robot.reference import Reference

NOW_NS = 5_000_000_000
CONFIG = load_control_config()
HOME = np.array(CONFIG.home_joints)
REST = HOME, np.zeros(7)
POS, ROT = forward(HOME)
HERE = encode_action(POS, ROT, np.array(-1.0))
AGE_NS = round(CONFIG.max_command_age_s * 1e9)
FUTURE_NS = round(CONFIG.max_command_future_s * 1e9)
LOW = np.array(CONFIG.workspace_min) - CONFIG.workspace_overshoot_m
HIGH = np.array(CONFIG.workspace_max) + CONFIG.workspace_overshoot_m


@pytest.fixture
def gate():
    return CommandGate(CONFIG)


def test_fresh_near_command_passes_at_the_edges_of_age(gate):
    for stamp_ns in (NOW_NS - AGE_NS, NOW_NS + FUTURE_NS):
        gate.plan(stamp_ns, HERE, NOW_NS, HOME, REST)
        gate.accept(stamp_ns)
    assert not gate.refused


@pytest.mark.parametrize(
    ("stamp_ns", "reason"),
    [(NOW_NS - AGE_NS - 1, "old"), (NOW_NS + FUTURE_NS + 1, "future")],
)
def test_stale_and_future_commands_are_refused(gate, stamp_ns, reason):
    with pytest.raises(UnsafeCommand, match=reason):
        gate.plan(stamp_ns, HERE, NOW_NS, HOME, REST)
    assert gate.refused["commands"] == 1


def test_repeated_command_is_refused_until_reset(gate):
    gate.plan(NOW_NS, HERE, NOW_NS, HOME, REST)
    gate.accept(NOW_NS)
    with pytest.raises(UnsafeCommand, match="second publisher"):
        gate.plan(NOW_NS, HERE, NOW_NS, HOME, REST)
    gate.reset()
    gate.plan(NOW_NS, HERE, NOW_NS, HOME, REST)


def test_a_refused_command_does_not_count_as_the_last_one(gate):
    far = HERE + np.r_[0.3, np.zeros(9)]
    with pytest.raises(UnsafeCommand):
        gate.plan(NOW_NS, far, NOW_NS, HOME, REST)
    gate.plan(NOW_NS, HERE, NOW_NS, HOME, REST)


@pytest.mark.parametrize("index", [0, 4, 9])
def test_not_finite_is_refused(gate, index):
    action = HERE.copy()
    action[index] = np.nan
    with pytest.raises(UnsafeCommand):
        gate.plan(NOW_NS, action, NOW_NS, HOME, REST)


def test_reference_that_the_ik_leads_astray_is_refused(gate):
    """The target is near, but the reference already runs away from it at full speed."""
    with pytest.raises(UnsafeCommand, match="hand leads the measured one"):
        gate.plan(NOW_NS, HERE, NOW_NS, HOME, (HOME, np.r_[1.5, 1.5, np.zeros(5)]))


# ---- properties ----

# the same examples in every run; without the phases that trace every line to explain a failure
SETTINGS = settings(derandomize=True, deadline=None, phases=[Phase.explicit, Phase.generate])

ANYTHING = arrays(np.float64, 10, elements=st.floats(width=64) | st.floats(-2, 2))
STEP = st.tuples(
    arrays(np.float64, 3, elements=st.floats(-1, 1)),  # where to, as a share of the jump limit
    arrays(np.float64, 3, elements=st.floats(-1, 1)),  # turn, as a share of the turn limit
    st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.06, 0.09, 0.15, 0.3, -0.03, -0.08]),  # lateness, s
    st.sampled_from([0.0, 0.3, 0.9]),  # share of the way to the reference that the arm lags
    st.sampled_from([1, 5, 15]),  # so often in a row: it takes some steps to run away
)


@settings(SETTINGS, max_examples=100)
@given(action=ANYTHING)
def test_whatever_numbers_come_the_reference_is_within_the_limits(action):
    gate = CommandGate(CONFIG)
    try:
        segment = gate.plan(NOW_NS, action, NOW_NS, HOME, REST)
    except UnsafeCommand:
        gate.plan(NOW_NS, HERE, NOW_NS, HOME, REST)
        return
    q, dq = segment.sample(np.linspace(0.0, CONFIG.step_s, 21))
    check_within(q[0], dq[0], HOME)


def check_within(q, dq, measured):
    """Limits of joints (K, 7) and speeds (K, 7) that are 5 ms apart."""
    assert (q >= CONFIG.joint_min).all()
    assert (q <= CONFIG.joint_max).all()
    assert np.abs(dq).max() <= speed_limit(CONFIG) + 1e-9
    assert np.abs(np.diff(dq, axis=0)).max() <= acceleration_limit(CONFIG) * 0.005 + 1e-9
    pos, rot = forward(q)
    assert (pos >= LOW - 1e-6).all()
    assert (pos <= HIGH + 1e-6).all()
    at, at_rot = forward(measured)
    assert np.linalg.norm(pos[-1] - at) <= LEAD * CONFIG.leash_m + 1e-9
    assert rotation_angle(rot[-1] @ at_rot.T) <= LEAD * CONFIG.leash_rad + 1e-9


class Arm:
    """The bridge's path from action to reference, on an arm that follows with a lag."""

    def __init__(self):
        self.gate, self.reference = CommandGate(CONFIG), Reference(CONFIG)
        self.reference.rest_at(HOME)
        self.q, self.now_s = HOME.copy(), 1.0
        self.handed = [(self.now_s, *self.reference.sample(self.now_s))]

    def send(self, move, turn, stamp_s):
        """Whether the action that moves on by shares of the limits was accepted."""
        pos, rot = forward(self.q)
        target = rotvec_to_matrix(turn * CONFIG.max_jump_rad / np.sqrt(3)) @ rot
        # mostly inside the box, where it would be accepted
        at = np.clip(pos + move * CONFIG.max_jump_m, LOW - 0.005, HIGH + 0.005)
        action = encode_action(at, target, np.array(1.0))
        stamp_ns, now_ns = round(stamp_s * 1e9), round(self.now_s * 1e9)
        before = self.reference.sample(self.now_s + 0.05)
        try:
            start = self.reference.plan(self.now_s)
            segment = self.gate.plan(stamp_ns, action, now_ns, self.q, start)
            self.reference.append(segment, self.now_s)
        except UnsafeCommand:
            np.testing.assert_array_equal(self.reference.sample(self.now_s + 0.05), before)
            return False
        self.gate.accept(stamp_ns)
        q, dq = segment.sample(np.linspace(0.0, CONFIG.step_s, 21))
        check_within(q[0], dq[0], self.q)
        return True

    def run(self, until_s, lag):
        """Hands the reference to the arm every 5 ms."""
        while self.now_s < until_s - 1e-9:
            self.now_s += 1.0 / CONFIG.reference_hz
            q, dq = self.reference.sample(self.now_s)
            self.handed.append((self.now_s, q, dq))
            self.q = self.q + (q - self.q) * (1.0 - lag)


@settings(SETTINGS, max_examples=15)
@given(steps=st.lists(STEP, min_size=3, max_size=10))
def test_no_row_of_accepted_commands_leads_the_reference_beyond_a_limit(steps):
    """Any targets, late or early, on an arm that lags: what is handed over stays within."""
    arm = Arm()
    assert arm.send(np.zeros(3), np.zeros(3), arm.now_s)
    for move, turn, late_s, lag, repeats in steps:
        for _ in range(repeats):
            arm.run(arm.now_s + 0.1 + late_s, lag)
            arm.send(move, turn, arm.now_s)
    arm.run(arm.now_s + 0.4, 0.0)
    q, dq = (np.array([row[i] for row in arm.handed]) for i in (1, 2))
    assert (q >= CONFIG.joint_min).all()
    assert (q <= CONFIG.joint_max).all()
    assert np.abs(dq).max() <= speed_limit(CONFIG) + 1e-9
    # a command that is late by up to 50 ms joins where it should have begun, not where the arm
    # coasts: the only step in the reference, whose torque the tracking torque bounds
    assert np.abs(np.diff(q, axis=0)).max() <= 0.05 + speed_limit(CONFIG) * 0.005
    pos, _ = forward(q)
    assert (pos >= LOW - 1e-3).all()
    assert (pos <= HIGH + 1e-3).all()
    np.testing.assert_array_equal(dq[-1], 0.0)


@settings(SETTINGS, max_examples=100)
@given(
    ahead=arrays(np.float64, 7, elements=st.floats(-1, 1)),
    speed=arrays(np.float64, 7, elements=st.floats(-2, 2)),
)
def test_the_handed_reference_never_asks_for_more_than_the_tracking_torque(ahead, speed):
    q = clip_reference(CONFIG, HOME + ahead, speed, HOME, np.zeros(7))
    torque = np.array(CONFIG.stiffness) * (q - HOME) + np.array(CONFIG.damping) * speed
    assert (np.abs(torque) <= np.array(CONFIG.max_tracking_torque) + 1e-9).all()
