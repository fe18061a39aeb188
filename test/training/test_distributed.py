# SPDX-License-Identifier: Apache-2.0
"""Two processes started by torchrun take the same steps as one with two shards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from resip_ros.core.errors import ConfigError
from training.dataset import build_demonstrations, write_demonstrations
from training.distributed import Group

TORCHRUN = (
    "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
)  # fmt: skip


def run(*words: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def assert_equal_weights(first: Path, second: Path) -> None:
    a, b = (load_file(folder / "weights.safetensors") for folder in (first, second))
    assert a.keys() == b.keys()
    assert all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    """Three smooth episodes."""
    time = np.linspace(0, 3, 40)[:, None]
    obs = [np.sin(time + np.arange(58) + 0.1 * episode) for episode in range(3)]
    for episode in obs:
        episode[:, 3:9] = [1, 0, 0, 0, 1, 0]
        episode[:, 19:] = np.tile([0, 0, 0, 1, 0, 0, 0], 6)[:39]
    action = [episode[:, :10] for episode in obs]
    data = build_demonstrations("one_leg", obs, action, source="scripted", seed=0)
    path = tmp_path_factory.mktemp("data") / "demos.zarr"
    write_demonstrations(path, data)
    return path


def test_cloning_on_two_processes_is_cloning_with_two_shards(demonstrations, tmp_path):
    def command(name):
        return (
            "training.bc", "--data", str(demonstrations), "--network", "mlp_c", "--steps", "6",
            "--batch", "10", "--threads", "1", "--eval-every", "3", "--shards", "2",
            "--out", str(tmp_path / name / "base"), "--run-dir", str(tmp_path / name / "run"),
        )  # fmt: skip

    alone = run(*command("alone"))
    assert alone.returncode == 0, alone.stderr
    together = run(*command("together"), launcher=TORCHRUN)
    assert together.returncode == 0, together.stderr
    assert_equal_weights(tmp_path / "alone" / "base", tmp_path / "together" / "base")
    assert together.stdout.count('"finished": true') == 1, "one process reports"


def test_ppo_on_two_processes_is_ppo_with_two_shards(tiny_base, tmp_path):
    def command(name):
        return (
            "training.residual", "--algo", "ppo", "--base", str(tiny_base / "base"), "--steps",
            "12", "--envs", "2", "--shards", "2", "--num-threads", "1", "--eval-episodes", "1",
            "--ppo.rollout-steps", "3", "--ppo.epochs", "2", "--episode-steps", "6",
            "--out", str(tmp_path / name / "residual"), "--run-dir", str(tmp_path / name / "run"),
            "--ppo.actor-lr", "0.01",
        )  # fmt: skip

    alone = run(*command("alone"))
    assert alone.returncode == 0, alone.stderr
    together = run(*command("together"), launcher=TORCHRUN)
    assert together.returncode == 0, together.stderr
    assert_equal_weights(tmp_path / "alone" / "residual", tmp_path / "together" / "residual")
    weights = load_file(tmp_path / "alone" / "residual" / "weights.safetensors")
    assert max(float(tensor.abs().max()) for tensor in weights.values()) > 0
    again = run(*command("together"), "--resume", launcher=TORCHRUN)
    assert again.returncode == 0, again.stderr


def test_shards_are_shared_equally():
    assert [list(Group(rank, 2).own_shards(4)) for rank in (0, 1)] == [[0, 1], [2, 3]]
    with pytest.raises(ConfigError, match="got 3 for 2 processes"):
        Group(0, 2).own_shards(3)


def test_one_process_changes_nothing():
    alone, values = Group(), torch.tensor([1.0, 2.0])
    assert alone.sum(values) is values
    assert alone.from_leader(0.3) == 0.3
    assert alone.leads


def test_the_off_policy_learner_is_not_shared(tiny_base, tmp_path):
    done = run(
        "training.residual", "--base", str(tiny_base / "base"), "--steps", "8", "--envs", "2",
        "--shards", "2", "--run-dir", str(tmp_path / "run"), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 1
    assert "offpolicy learns in one process" in done.stderr
