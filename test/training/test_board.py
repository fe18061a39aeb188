# SPDX-License-Identifier: Apache-2.0
"""Curves: TensorBoard's files, and what goes to Weights & Biases (its client is played here)."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from resip_ros.core.errors import ConfigError
from training.board import ID_FILE, Board


def curve(folder, name):
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, pytest.approx(event.value)) for event in events.Scalars(name)]


def test_tensorboard_takes_points_and_a_resume_replaces_the_tail(tmp_path):
    with Board(tmp_path) as board:
        for step in range(4):
            board.scalar("loss", 1.0 / (step + 1), step)
    with Board(tmp_path, from_step=2) as board:
        board.scalar("loss", 9.0, 2)
    assert curve(tmp_path, "loss") == [(0, 1.0), (1, 0.5), (2, 9.0)]


class FakeWandb:
    Error = RuntimeError

    def __init__(self):
        self.calls, self.points, self.finished = [], [], 0

    def init(self, **options):
        if options["project"] == "forbidden":
            raise self.Error("not logged in")
        self.calls.append(options)

        def finish():
            self.finished += 1

        log = lambda point, step: self.points.append((point, step))  # noqa: E731
        return SimpleNamespace(log=log, finish=finish)


def test_weights_and_biases_gets_the_same_points_and_a_resume_has_the_same_id(
    tmp_path, monkeypatch
):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for step in (5, 6):
        with Board(tmp_path, wandb_project="arm", settings={"alpha": 0.1}) as board:
            board.scalar("loss", 0.25, step)
    assert fake.points == [({"loss": 0.25}, 5), ({"loss": 0.25}, 6)]
    assert fake.finished == 2
    first, second = fake.calls
    assert first["id"] == second["id"] == (tmp_path / ID_FILE).read_text()
    assert (first["config"], first["resume"]) == ({"alpha": 0.1}, "allow")
    assert curve(tmp_path, "loss") == [(5, 0.25), (6, 0.25)]


def test_without_the_package_or_a_login_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'resip_ros\[wandb\]'"):
        Board(tmp_path, wandb_project="arm")
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    with pytest.raises(ConfigError, match="WANDB_MODE=offline"):
        Board(tmp_path, wandb_project="forbidden")
