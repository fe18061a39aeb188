# SPDX-License-Identifier: Apache-2.0
"""Each corruption is wrong in the way its name says, and the gate's own checks see it."""

import copy
import itertools

import numpy as np
import pytest
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import messages
from resip_ros.core.action import encode_action
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.kinematics import forward
from resip_ros.nodes.command_gate import CommandGate
from resip_ros.nodes.faults.corruption import (
    DELAYED,
    KINDS,
    LOSSY,
    LOST,
    REPEATED,
    SILENT,
    Corruption,
)

CONFIG = load_control_config()
HOME = np.array(CONFIG.home_joints)
NOW_NS = 5_000_000_000


UNHEARD = (SILENT, REPEATED, DELAYED, LOSSY, LOST)


def make_message(stamp_ns):
    pos, rot = forward(HOME)
    action = encode_action(pos, rot, np.array(-1.0))
    message = JointTrajectory()
    messages.fill_chunk_inplace(
        message, ActionChunk(stamp_ns, action[None], 10.0), JointTrajectoryPoint
    )
    return message


def is_accepted(gate, message):
    try:
        stamp_ns, action = messages.decode_action_message(message, 10.0)
        gate.plan(stamp_ns, action, NOW_NS, HOME, (HOME, np.zeros(7)))
    except UnsafeCommand:
        return False
    gate.accept(stamp_ns)
    return True


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in UNHEARD])
def test_every_wrong_message_is_refused(kind):
    gate = CommandGate(CONFIG)
    message = make_message(NOW_NS)
    before = copy.deepcopy(message)
    assert not is_accepted(gate, Corruption(kind).apply(message))
    assert message == before
    assert is_accepted(gate, message)


def test_repetitions_are_refused_after_the_first():
    gate, corruption = CommandGate(CONFIG), Corruption(REPEATED)
    stamps = [NOW_NS - 100_000_000, NOW_NS]
    accepted = [is_accepted(gate, corruption.apply(make_message(stamp))) for stamp in stamps]
    assert accepted == [True, False]


def test_silence_and_no_fault():
    message = make_message(NOW_NS)
    assert Corruption(SILENT).apply(message) is None
    assert Corruption("").apply(message) is message


@pytest.mark.parametrize(("kind", "low", "high"), [(LOSSY, 20, 80), (LOST, 400, 600)])
def test_a_share_of_the_messages_is_lost_and_the_others_are_as_they_were(kind, low, high):
    message, corruption = make_message(NOW_NS), Corruption(kind)
    sent = [corruption.apply(message) for _ in range(1000)]
    assert low < sent.count(None) < high
    assert all(text is message for text in sent if text is not None)


def test_losses_of_half_the_messages_leave_a_gap_soon_enough_to_be_seen():
    """The bench watches 25 steps, and the arm holds after two losses in a row."""
    corruption = Corruption(LOST)
    lost = [corruption.apply(make_message(NOW_NS)) is None for _ in range(4)]
    assert any(first and second for first, second in itertools.pairwise(lost))


def test_a_delayed_message_is_too_old_for_the_gate():
    step_ns, computed_ns = 100_000_000, 10_000_000
    corruption, gate = Corruption(DELAYED), CommandGate(CONFIG)
    stamps = [NOW_NS - computed_ns - k * step_ns for k in (2, 1, 0)]
    sent = [corruption.apply(make_message(stamp)) for stamp in stamps]
    assert sent[:2] == [None, None]
    assert sent[2] == make_message(stamps[0])
    assert not is_accepted(gate, sent[2])
