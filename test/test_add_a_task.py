# SPDX-License-Identifier: Apache-2.0
"""The task of docs/add_a_task.md, installed as another package's file; and broken ones."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import get_task, load_task_module
from resip_ros.sim.scene import build_scene
from resip_ros.sim.task_scene import get_scene
from training.collect import CollectSettings, run
from training.dataset import read_demonstrations
from training.demonstrators.registry import make_demonstrator

DOCS = Path(__file__).parents[1] / "docs" / "add_a_task.md"
TASK_FILE = re.search(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
NAME = "stack_block"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a task file as a package with an entry point would be."""

    def write(text: str) -> None:
        (tmp_path / f"{NAME}.py").write_text(text)
        info = tmp_path / f"{NAME}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[resip_ros.tasks]\n{NAME} = {NAME}\n")
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    load_task_module.cache_clear()
    yield write
    load_task_module.cache_clear()
    sys.modules.pop(NAME, None)


@pytest.fixture
def text() -> str:
    assert TASK_FILE is not None
    return TASK_FILE[1]


def test_one_file_gives_demonstrations(install, text, tmp_path) -> None:
    install(text)
    assert len(observation_names(get_task(NAME))) == 16 + 2 * 7
    out = tmp_path / "demos.zarr"
    run(CollectSettings(task=NAME, out=out, episodes=3, envs=3, num_threads=1))
    data = read_demonstrations(out, NAME)
    assert data.num_episodes == 3
    # the last observation is from just before the step that put it down
    block = data.state_obs[:, -7:-4] - data.state_obs[:, -14:-11]
    np.testing.assert_allclose(block[-1, :2], 0.0, atol=0.005)
    assert block[-1, 2] < 0.04
    assert np.linalg.norm(block[0]) > 0.1


def test_unknown_tasks_are_answered_with_all_that_there_are(install, text) -> None:
    install(text)
    with pytest.raises(ConfigError, match=r"one_leg.*stack_block; did you mean 'stack_block'"):
        get_task("stack_blok")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("TASK = TaskSpec(", "OTHER = TaskSpec(", "needs TASK = TaskSpec"),
        ('name="stack_block",\n    parts', 'name="pile",\n    parts', "needs TASK = TaskSpec"),
        ("import mujoco", "import nothing_of_that_name", "cannot import stack_block"),
    ],
)
def test_broken_files_are_refused(install, text, old, new, reason) -> None:
    assert old in text
    install(text.replace(old, new))
    with pytest.raises(ConfigError, match=reason):
        get_task(NAME)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("SCENE = TaskScene(", "OTHER = TaskScene(", "needs SCENE = TaskScene"),
        ('scatter={"plate": Scatter(1.0, 1e-3), ', "scatter={", "scatter has block, the task's"),
        ('add_part(spec, "plate"', 'add_part(spec, "dish"', "no body plate; every part"),
    ],
)
def test_scenes_that_lack_something_are_refused(install, text, old, new, reason) -> None:
    assert old in text
    install(text.replace(old, new))
    with pytest.raises(ConfigError, match=reason):
        build_scene(NAME, load_control_config())


def test_a_task_without_operator_has_no_demonstrator(install, text, rng) -> None:
    install(text.split("class Operator")[0])
    assert get_scene(NAME).nominal_poses()
    with pytest.raises(ConfigError, match="has no demonstrator"):
        make_demonstrator(NAME, rng)
