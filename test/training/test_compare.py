# SPDX-License-Identifier: Apache-2.0
"""The paired test against numbers computed by hand, and what it refuses."""

import json

import pytest

from resip_ros.core.errors import ConfigError, DataError
from training.compare import CompareSettings, compare, exact_p_value, read_evaluation, run


def evaluation(successes: str, **more) -> dict:
    """Evaluation of the episodes that "10..." says succeeded or not."""
    episodes = [{"success": letter == "1"} for letter in successes]
    return {
        "task": "one_leg", "policy": "p", "n": len(successes), "seed": 1, "randomness": "low",
        "perturb": False, "success_rate": successes.count("1") / len(successes),
        "episodes": episodes, **more,
    }  # fmt: skip


def test_p_value_by_hand():
    assert exact_p_value(0, 0) == 1.0
    assert exact_p_value(0, 5) == pytest.approx(2 / 32)
    # 1 of 10 or fewer: (1 + 10) / 1024, twice
    assert exact_p_value(1, 9) == exact_p_value(9, 1) == pytest.approx(22 / 1024)
    assert exact_p_value(4, 4) == 1.0


def test_pairs_are_counted_by_episode(tmp_path):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file, successes in zip(files, ("110000", "101110"), strict=True):
        file.write_text(json.dumps(evaluation(successes)))
    figures = run(CompareSettings(*files, json=tmp_path / "c.json"))
    assert json.loads((tmp_path / "c.json").read_text()) == figures
    counts = [figures[name] for name in ("both", "only_first", "only_second", "neither")]
    assert counts == [1, 1, 3, 1]
    assert figures["difference"] == pytest.approx(2 / 6)
    assert figures["p_value"] == pytest.approx(2 * (1 + 4) / 16)


@pytest.mark.parametrize(
    ("name", "value"), [("task", "lamp"), ("seed", 2), ("randomness", "med"), ("perturb", True)]
)
def test_other_episodes_are_refused(name, value):
    with pytest.raises(ConfigError, match=f"{name} is .* evaluate both"):
        compare(evaluation("10"), evaluation("10", **{name: value}))


@pytest.mark.parametrize("text", ["", "[]", '{"n": 3}', '{"episodes": [{}]}'])
def test_other_files_are_refused(tmp_path, text):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DataError, match="x.json is not an evaluation"):
        read_evaluation(file)


def test_a_shortened_list_is_refused(tmp_path):
    file = tmp_path / "x.json"
    file.write_text(json.dumps(evaluation("10", n=3)))
    with pytest.raises(DataError, match="another number of episodes"):
        read_evaluation(file)
    file.write_text(json.dumps({"episodes": []}))
    with pytest.raises(DataError, match="lacks task"):
        read_evaluation(file)
