# SPDX-License-Identifier: Apache-2.0
"""Learning curves from run folders, whole and broken."""

import json

import numpy as np
import pytest

from resip_ros.core.errors import DataError
from training.curves import SMOOTHED_STEPS, main, read_run, smooth_training

PNG = b"\x89PNG\r\n\x1a\n"


def train(steps, success):
    return {"kind": "train", "steps": steps, "train_seconds": 60.0, "train_success_fresh": success}


def evaluation(steps, rate):
    ci95 = [max(0.0, rate - 0.1), min(1.0, rate + 0.1)]
    return {
        "kind": "evaluation", "steps": steps, "train_seconds": steps / 10, "success_rate": rate,
        "ci95": ci95, "n": 64,
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A run of two evaluations, killed while it wrote a line."""
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [train(100, None), train(200, 0.5), evaluation(300, 0.4), evaluation(600, 0.9)]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"kind": "tra'
    (folder / "history.jsonl").write_text(text)
    metrics = {"task": "one_leg", "algo": "ppo", "settings": {"seed": 3}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def test_a_run_that_was_killed_is_read(folder):
    run = read_run(folder)
    assert run.label == "one_leg, ppo, seed 3"
    assert [row["success_rate"] for row in run.evaluations] == [0.4, 0.9]
    assert len(run.training) == 2


def test_training_success_is_averaged_over_steps():
    rows = [train(0, 0.2), train(SMOOTHED_STEPS - 1, 0.4), train(SMOOTHED_STEPS, 1.0)]
    steps, minutes, success = smooth_training(rows)
    np.testing.assert_allclose(steps, [(SMOOTHED_STEPS - 1) / 2, SMOOTHED_STEPS])
    np.testing.assert_allclose(minutes, [1.0, 1.0])
    np.testing.assert_allclose(success, [30.0, 100.0])
    assert all(len(column) == 0 for column in smooth_training([train(5, None)]))


def test_several_runs_in_one_picture(folder, tmp_path, capsys):
    out = tmp_path / "new" / "curves.png"
    assert main([str(folder), str(folder), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(PNG)
    assert f"wrote {out}" in capsys.readouterr().out


def test_broken_runs_are_named_with_what_is_wrong(folder, tmp_path, capsys):
    assert main([str(tmp_path), "--out", str(tmp_path / "x.png")]) == 1
    assert "is no run that can be drawn (FileNotFoundError" in capsys.readouterr().err
    history = folder / "history.jsonl"
    whole = history.read_text()
    history.write_text("{nonsense\n" + whole)
    with pytest.raises(DataError, match="JSONDecodeError"):
        read_run(folder)
    history.write_text(json.dumps(train(1, 0.5)) + "\n")
    with pytest.raises(DataError, match="no evaluation yet; let it run on with --resume"):
        read_run(folder)
    history.write_text(json.dumps({"kind": "evaluation", "steps": 3}) + "\n")
    with pytest.raises(DataError, match="KeyError: 'train_seconds'"):
        read_run(folder)
    assert main(["--out", str(tmp_path / "x.png")]) != 0
    assert not (tmp_path / "x.png").exists()
    history.write_text(whole)
    assert main([str(folder), "--out", str(history / "x.png")]) == 1
    assert "choose another --out" in capsys.readouterr().err
