# SPDX-License-Identifier: Apache-2.0
"""What every test shares: fixed seeds, few threads, and a ROS domain of its own."""

import os
import random

# Before numpy and torch start their thread pools: two cores are shared by several processes here.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from collections.abc import Iterator

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


def _domains() -> Iterator[int]:
    """Yields domain ids that differ between tests and, mostly, between runs side by side."""
    count = LAST_DOMAIN - FIRST_DOMAIN + 1
    domain = os.getpid() % count
    while True:
        domain = (domain + 1) % count
        yield FIRST_DOMAIN + domain


_domain_ids = _domains()


@pytest.fixture
def ros_domain_id(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain of this test alone, set in the environment so that child processes share it.

    Discovery is confined to this machine, so tests neither see nor disturb robots on the network.
    """
    domain = next(_domain_ids)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return domain
