# SPDX-License-Identifier: Apache-2.0
"""What every test shares: fixed seeds, few threads, and a ROS domain of its own."""

import fcntl
import os
import random
import tempfile

# Before numpy and torch start their thread pools: two cores are shared by several processes here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest

# Linux hands out ephemeral ports from 32768; DDS ports are 7400 + 250 * domain, so domains up to
# 101 stay clear of them. Domain 0 is what a person's own graph uses.
FIRST_DOMAIN, LAST_DOMAIN = 1, 101


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries under test may use the global generator)
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator; a test that needs several streams spawns them from it."""
    return np.random.default_rng(0)


def _reserve_domain() -> tuple[int, IO[str]]:
    """Finds a domain id that no other test of any run on this machine uses.

    Returns:
        The id, and a file whose lock reserves it until the file is closed.
    """
    count = LAST_DOMAIN - FIRST_DOMAIN + 1
    first = random.SystemRandom().randrange(count)
    for offset in range(count):
        domain = FIRST_DOMAIN + (first + offset) % count
        path = Path(tempfile.gettempdir()) / f"resip_ros_test_domain_{domain}.lock"
        try:
            file = path.open("w")
        except OSError:
            continue  # another user's
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        return domain, file
    raise RuntimeError("all ROS domains are in use by other tests")


@pytest.fixture
def ros_domain_id(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS domain of this test alone, set in the environment so that child processes share it.

    Discovery is confined to this machine, so tests neither see nor disturb robots on the network.
    """
    domain, reservation = _reserve_domain()
    with reservation:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield domain
