# SPDX-License-Identifier: Apache-2.0
import argparse

import pytest

from resip_ros import cli
from resip_ros.nodes.faults import bench, command


@pytest.fixture
def asked(monkeypatch):
    """What the bench is asked for, and what it then reports."""
    seen = {"safe": True}

    def run(options, console, is_interrupted):
        assert not is_interrupted()
        seen["options"] = options
        return {"safe": seen["safe"]}

    monkeypatch.setattr(bench, "run", run)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    return seen


def test_arguments_and_exit_status(asked, tmp_path):
    assert cli.main(["faults"]) == 0
    assert asked["options"] == bench.FaultOptions(only=None, n=10, json=None)
    asked["safe"] = False
    file = tmp_path / "faults.json"
    assert cli.main(["faults", "--only", "reflex", "-n", "3", "--json", str(file)]) == 1
    assert asked["options"] == bench.FaultOptions(only="reflex", n=3, json=file)


def test_unknown_fault_is_one_clear_line(capsys, monkeypatch):
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    assert cli.main(["faults", "--only", "earthquake"]) == 1
    assert "resip faults: fault 'earthquake' is unknown" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_bad_number_of_injections(text):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["faults", "-n", text])
