# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import zarr

from resip_ros.core.errors import ConfigError
from training.experiment_list import STUDENT_TASK, training_steps
from training.experiment_step import Budget, Experiment, Step


def test_pictures_are_whole_when_all_are_drawn(tmp_path):
    drawn = training_steps(Experiment("real_10", STUDENT_TASK), tmp_path, Budget())[1]
    assert not drawn.complete()
    assert not drawn.interrupted()
    group = zarr.open_group(str(drawn.output), mode="w")
    assert not drawn.complete()
    assert drawn.interrupted()
    group.attrs["images"] = ["front", "wrist"]
    assert drawn.complete()


def test_a_run_is_complete_when_its_metrics_say_so(tmp_path):
    step = Step(("training.bc",), tmp_path / "metrics.json", tmp_path / "checkpoint.pt")
    assert not step.complete()
    for metrics, complete in (
        ({"finished": False}, False),
        ({"finished": True}, True),
        ({"interrupted": True}, False),
        ({}, True),
    ):
        step.output.write_text(json.dumps(metrics))
        assert step.complete() == complete
    assert not step.interrupted()
    (tmp_path / "checkpoint.pt").touch()
    assert step.interrupted()


def test_what_ships_stands_in_models(tmp_path):
    assert str(Experiment("shipped", "lamp").policy(tmp_path)) == "models/lamp"
    assert str(Experiment("shipped_base", "lamp").policy(tmp_path)) == "models/lamp/base"
    own = Experiment("dp", "lamp", "med", 2)
    assert own.policy(tmp_path) == tmp_path / "lamp-med-dp-s2" / "policy"


@pytest.mark.parametrize("name", ["bc_steps", "lessons", "drawn", "dagger_rounds"])
def test_a_budget_is_positive(name):
    with pytest.raises(ConfigError, match=f"budget.{name} must be positive, got 0"):
        Budget(**{name: 0})
