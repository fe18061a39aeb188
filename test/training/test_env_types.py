# SPDX-License-Identifier: Apache-2.0
"""Snapshots are taken apart and put together without a loss."""

from dataclasses import fields

import numpy as np

from training.env_types import Snapshot


def made(rng: np.random.Generator, count: int) -> Snapshot:
    return Snapshot(
        *(rng.normal(size=(count, 3)) for _ in fields(Snapshot)[:-1]), np.arange(count)
    )


def test_snapshots_concatenate_in_order(rng):
    saved = made(rng, 2)
    joined = Snapshot.concatenate([saved[1:], saved])
    assert len(joined) == 3
    for spec in fields(Snapshot):
        whole = getattr(saved, spec.name)
        np.testing.assert_array_equal(getattr(joined, spec.name), whole[[1, 0, 1]])


def test_snapshots_are_indexed_by_numbers(rng):
    saved = made(rng, 4)
    picked = saved[np.array([3, 3, 0])]
    np.testing.assert_array_equal(picked.t, [3, 3, 0])
    np.testing.assert_array_equal(picked.qvel, saved.qvel[[3, 3, 0]])
