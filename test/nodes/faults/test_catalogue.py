# SPDX-License-Identifier: Apache-2.0
import signal

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.faults.catalogue import FAULTS, find_faults
from resip_ros.nodes.table import NODES


def test_each_fault_has_one_name_and_one_way():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        of_node = [fault.number is not None, fault.duty, fault.is_full]
        others = [bool(fault.topic), bool(fault.intruder), bool(fault.exchange)]
        assert sum(of_node) + sum(others) == 1, fault.name
        assert bool(fault.node) == any(of_node), fault.name
        assert fault.node in ("", *(entry.name for entry in NODES))


def test_a_killed_node_needs_a_new_graph():
    assert all(f.ends_graph for f in FAULTS if f.number is signal.SIGKILL)


def test_selection():
    assert find_faults(None) == FAULTS
    assert [f.name for f in find_faults("reflex")] == ["reflex"]
    with pytest.raises(ConfigError, match="'reflexx' is unknown; expected one of: base_killed"):
        find_faults("reflexx")
