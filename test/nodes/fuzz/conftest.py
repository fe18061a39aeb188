# SPDX-License-Identifier: Apache-2.0
"""The fuzz silences its nodes; other tests read what theirs say."""

from collections.abc import Iterator

import pytest
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.impl.rcutils_logger import RcutilsLogger


@pytest.fixture(autouse=True)
def _loud_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A level belongs to a name: the next test's node of that name would be silent, too."""
    silenced: list[RcutilsLogger] = []
    set_level = RcutilsLogger.set_level

    def note(logger: RcutilsLogger, level: LoggingSeverity) -> None:
        silenced.append(logger)
        set_level(logger, level)

    monkeypatch.setattr(RcutilsLogger, "set_level", note)
    yield
    for logger in silenced:
        set_level(logger, LoggingSeverity.UNSET)
