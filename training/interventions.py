# SPDX-License-Identifier: Apache-2.0
"""Which steps of a bag a person led, as HG-DAgger weighs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resip_ros.bags import layout
from resip_ros.bags.reader import Bag, format_time
from resip_ros.core import events
from resip_ros.core.errors import DataError


def read_interventions(bag: Bag, stamps_ns: Sequence[int]) -> NDArray[np.bool_]:
    """Whether the operator led in each step, (n,).

    Who leads is told with the stamp of the first action of each change. What was told before the
    episode belongs to another one.

    Args:
        bag: Open for reading.
        stamps_ns: Instants of the steps, ascending, ROS clock.

    Raises:
        DataError: for a message that does not say it.
    """
    led = np.zeros(len(stamps_ns), dtype=np.bool_)
    stamps = np.asarray(stamps_ns)
    for record in bag.records([layout.TELEOP_ACTIVE]):
        try:
            change = events.parse_teleop_active(record.decode().data)
        except DataError as error:
            raise DataError(f"{record.topic} at {format_time(record.log_ns)}: {error}") from error
        if change.stamp_ns >= stamps[0]:
            led[stamps >= change.stamp_ns] = change.active
    return led
