# SPDX-License-Identifier: Apache-2.0
from dataclasses import dataclass

import pytest

from resip_ros.core.errors import ConfigError
from training.program import check_numbers, check_run, run_program, run_with_settings


@pytest.mark.parametrize(
    ("end", "status", "told"),
    [
        (None, 0, ""),
        (ConfigError("got 0, expected 1"), 1, "training.look: got 0, expected 1\n"),
        (
            BrokenPipeError(),
            1,
            "training.look: nobody reads the output; interrupted; go on with --resume\n",
        ),
        (KeyboardInterrupt(), 130, "training.look: interrupted; go on with --resume\n"),
    ],
)
def test_status_and_one_line(capsys, end, status, told):
    def work():
        if end is not None:
            raise end
        return {"a": 1}

    assert run_program("training.look", work, "interrupted; go on with --resume") == status
    assert capsys.readouterr().err == told


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_program("training.look", lambda: 1 / 0)


@dataclass(frozen=True)
class LookSettings:
    """What to look at."""

    far: int = 3
    """How far, m."""


@pytest.mark.parametrize("far", [0, -1, float("nan"), float("inf")])
def test_numbers_that_are_no_amount(far):
    check_numbers(LookSettings(2), "far")
    check_numbers(LookSettings(None), "far")
    with pytest.raises(ConfigError, match=f"--far: got {far}, expected more than 0"):
        check_numbers(LookSettings(far), "far")


def test_seeds_and_threads():
    check_run(0, num_threads=2, processes=None)
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match=f"--seed: got {seed}, expected 0 to 4294967295"):
            check_run(seed)
    for count in (0, 100_000):
        with pytest.raises(ConfigError, match=f"--num-threads: got {count}, expected 1 to 256"):
            check_run(1, num_threads=count)


def test_settings_come_from_the_command_line(capsys):
    seen: list[LookSettings] = []
    assert (
        run_with_settings("training.look", LookSettings, seen.append, "Look.", ["--far", "5"]) == 0
    )
    assert seen == [LookSettings(5)]
    with pytest.raises(SystemExit) as end:
        run_with_settings("training.look", LookSettings, seen.append, "Look.", ["--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    for text in ("python -m training.look", "Look.", "How far, m."):
        assert text in told
