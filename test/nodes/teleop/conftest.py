# SPDX-License-Identifier: Apache-2.0
"""Waiting for threads that read devices."""

import time
from collections.abc import Callable

import pytest


@pytest.fixture
def wait_for() -> Callable[[Callable[[], object]], None]:
    def wait(done: Callable[[], object], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline, "nothing came in time"
            time.sleep(0.005)

    return wait
