# SPDX-License-Identifier: Apache-2.0
import pytest

from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.results import wilson_interval
from resip_ros.core.stages import stage_names
from resip_ros.core.tasks import ONE_LEG, ROUND_TABLE
from resip_ros.nodes.bench.trials import (
    DONE,
    SKIPPED,
    VOID,
    Trial,
    TrialLog,
    bench_stages,
    summarise,
)

STAGES = bench_stages(ONE_LEG, stage_names(ONE_LEG))


def trial(start, reached, status=DONE, policy="a"):
    return Trial(policy, start, status, {s: i < reached for i, s in enumerate(STAGES)})


@pytest.fixture
def log(tmp_path):
    return TrialLog(tmp_path / "out" / "trials.jsonl", "grid 1")


def test_stages_are_those_of_the_paper():
    assert STAGES == ("corner", "grasp", "insert", "advance", "complete")
    two = bench_stages(ROUND_TABLE, stage_names(ROUND_TABLE))
    assert two[1:3] == ("leg grasp", "leg insert")
    assert two[-2:] == ("foot complete", "complete")


def test_trials_survive_a_restart(log):
    log.add(trial(0, 5))
    log.add(trial(1, 2))
    again = TrialLog(log._path, "grid 1")
    assert again.trials == log.trials
    assert again.trials[0].success
    assert not again.trials[1].success


def test_a_trial_that_is_done_again_replaces_the_first(log):
    log.add(trial(0, 5))
    log.add(trial(0, 5, VOID))
    assert log.latest("a") == {}
    log.add(trial(0, 1))
    assert log.latest("a") == {0: trial(0, 1)}
    assert log.latest("b") == {}


def test_a_line_cut_off_by_a_crash_is_dropped_and_others_are_not(log):
    log.add(trial(0, 5))
    log.add(trial(1, 5))
    text = log._path.read_text()
    log._path.write_text(text[:-20])
    again = TrialLog(log._path, "grid 1")
    assert list(again.latest("a")) == [0]
    again.add(trial(1, 3))
    assert TrialLog(log._path, "grid 1").latest("a")[1] == trial(1, 3)
    lines = text.splitlines()
    log._path.write_text("\n".join([lines[0], lines[1][:-9], lines[2]]) + "\n")
    with pytest.raises(DataError, match="line 2"):
        TrialLog(log._path, "grid 1")


def test_another_grid_is_refused(log):
    with pytest.raises(ConfigError, match="another grid"):
        TrialLog(log._path, "grid 2")


def test_summary_by_hand(log):
    log.add(trial(0, 5))
    log.add(trial(1, 3))
    log.add(trial(2, 0, SKIPPED))
    log.add(trial(0, 5, policy="b"))
    unjudged = {**trial(3, 2).stages, "corner": None}
    log.add(Trial("a", 3, DONE, unjudged))
    first, second = summarise(log, ["a", "b"], STAGES)["policies"]
    assert (first["n"], first["skipped"], second["n"]) == (3, 1, 1)
    reached = {s: (v["reached"], v["n"]) for s, v in first["stages"].items()}
    assert reached == {
        "corner": (2, 2),
        "grasp": (3, 3),
        "insert": (2, 3),
        "advance": (1, 3),
        "complete": (1, 3),
    }
    assert first["stages"]["insert"]["ci95"] == list(wilson_interval(2, 3))
