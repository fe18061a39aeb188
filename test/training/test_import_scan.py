# SPDX-License-Identifier: Apache-2.0
"""A scanned mug becomes a part, hangs on the rack's pegs, and the operator of mug_rack hangs it.

The scan is made here: a mug of two walls, floor and handle, one watertight surface, with the
uneven skin of a scan. The task file is the one of docs/scans.md.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
import yaml

from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.geometry import Array, matrix_to_quat_wxyz, quat_wxyz_to_matrix
from resip_ros.core.tasks import MUG_RACK, get_task, goal_poses, load_task_module, pair_assembled
from resip_ros.sim.scans import PART_FILE, read_scan
from training import import_scan
from training.collect import CollectSettings
from training.collect import run as collect
from training.dataset import read_demonstrations
from training.import_scan import ImportSettings, run, summarise
from training.scan_mesh import from_manifold
from training.settle import SettleSettings, build_bench
from training.settle import run as settle

manifold3d = pytest.importorskip("manifold3d")
# splitting takes 5 s of an idle core, minutes beside other work
pytestmark = pytest.mark.timeout(600)
DOCS = Path(__file__).parents[2] / "docs" / "scans.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
TASK_FILE, GOALS = BLOCKS
ROUGH = "PAIR = replace(MUG_RACK.pairs[0], **rough_goals(MUG))\n"
NAME = "my_mug_rack"
OUTER, WALL, HEIGHT, FLOOR = 41.0, 5.0, 95.0, 6.0  # mm


def write_mug(path: Path, scale: float = 1e-3, noise: float = 0.15, edge: float = 8.0) -> None:
    """A mug scanned standing, handle along x. Lengths in mm before ``scale``."""
    solid, kind = manifold3d.Manifold, manifold3d.OpType
    angles = np.linspace(-np.pi / 2, np.pi / 2, 13)
    x = OUTER - 2.5 + 33 * np.clip(np.cos(angles), 0, 1) ** 0.8
    path_points = np.stack([x, 0 * x, HEIGHT / 2 + 4 + 26 * np.sin(angles)], axis=1)
    balls = [solid.sphere(5.0, 24).translate(tuple(point)) for point in path_points]
    links = [solid.batch_hull([a, b]) for a, b in pairwise(balls)]
    handle = solid.batch_boolean(links, kind.Add)
    body = solid.cylinder(HEIGHT, OUTER - 3, OUTER, 64) + handle
    cavity = solid.cylinder(HEIGHT, OUTER - 3 - WALL, OUTER - WALL, 64).translate((0, 0, FLOOR))
    vertices, faces = from_manifold((body - cavity).simplify(0.05).refine_to_length(edge))
    vertices += np.random.default_rng(0).normal(0.0, noise, vertices.shape)
    lines = [f"v {x:.8g} {y:.8g} {z:.8g}" for x, y, z in vertices * scale]
    lines += [f"f {a} {b} {c}" for a, b, c in faces + 1]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def mug(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The imported mug of docs/scans.md, coarser so that it takes seconds."""
    root = tmp_path_factory.mktemp("task")
    scan = root / "mug.obj"
    write_mug(scan)
    settings = ImportSettings(
        scan=scan,
        name="my_mug",
        out=root / "parts" / "my_mug",
        mass=0.3,
        rotate=(-90.0, 0.0, 0.0),
        shift=(17.5, 0.0, 0.0),
        detail=4.0,
    )
    return SimpleNamespace(root=root, settings=settings, found=run(settings))


def test_what_was_found_is_true(mug):
    body = read_scan(mug.settings.out)
    np.testing.assert_allclose(body.size_m, (0.1175, 0.0955, 0.082), atol=1.5e-3)
    # wall, floor and handle by hand: frustum shells and a bent rod, cm3
    wall = np.pi * ((3.95**2 - 3.45**2) * 8.9 + 3.8**2 * 0.6)
    handle = np.pi * 0.5**2 * 9.4
    assert mug.found["volume_m3"] * 1e6 == pytest.approx(wall + handle, rel=0.05)
    # towards the handle, below the middle, in the plane of symmetry
    x, y, z = body.center_of_mass_m * 1e3
    assert 1.0 < x < 5.0
    assert -8.0 < y < -3.0
    assert abs(z) < 0.3
    assert 15 <= len(body.pieces) <= 40
    assert mug.found["pieces"]["deepest_missing_mm"] < 2.0
    assert mug.found["pieces"]["highest_excess_mm"] < 4.0
    text = summarise(mug.found, mug.settings.out)
    assert re.search(
        r"my_mug: 117.\d x 95.\d x 82.\d mm, 1\d\d.\d cm3, 0.3 kg \(2.\d+ g/cm3\)", text
    )
    assert re.search(r"\d+ convex pieces; .* missing by up to [\d.]+ mm and in excess", text)


def test_the_folder_says_where_it_came_from(mug):
    data = yaml.safe_load((mug.settings.out / PART_FILE).read_text())
    assert data["source"]["file"] == "mug.obj"
    assert data["source"]["sha256"] == import_scan.hash_file(mug.settings.scan)
    assert data["frame"]["rotate_deg"] == [-90.0, 0.0, 0.0]
    T = np.array(data["frame"]["T_part_scan"])
    np.testing.assert_allclose(T[:3, :3] @ [0, 0, 1], [0, 1, 0], atol=1e-6)
    assert {"units", "inertia_kgm2", "command", "files"} <= set(data)
    assert [path.name for path in mug.root.joinpath("parts").iterdir()] == ["my_mug"]


def forget_task() -> None:
    load_task_module.cache_clear()
    sys.modules.pop(NAME, None)
    importlib.invalidate_caches()


@pytest.fixture(scope="module")
def task(mug: SimpleNamespace) -> Iterator[str]:
    """The documentation's task file as an installed package, its goals settled as it says."""
    info = mug.root / f"{NAME}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[resip_ros.tasks]\n{NAME} = {NAME}\n")
    file = mug.root / f"{NAME}.py"
    file.write_text(TASK_FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(mug.root)
        forget_task()
        settled = settle(SettleSettings(NAME, tries=2))
        assert settled.count(" 0 ended elsewhere") == 4
        goals = f"PAIR = replace(MUG_RACK.pairs[0],\n{settled})\n"
        assert ROUGH in TASK_FILE
        file.write_text(TASK_FILE.replace(ROUGH, goals))
        forget_task()
        yield NAME
    forget_task()


def relative(data: mujoco.MjData) -> list[Array]:
    poses = []
    for name in ("rack", "mug"):
        qpos = data.joint(name).qpos
        poses += [qpos[:3].copy(), quat_wxyz_to_matrix(qpos[3:])]
    return poses


@pytest.mark.parametrize("goal", range(4))
def test_the_mug_rests_on_its_peg(task, goal):
    """From its goal pose: assembled all the time for two seconds, and at rest."""
    model = build_bench(task)
    data, pair = mujoco.MjData(model), get_task(task).pairs[0]
    assert model.body("mug").mass[0] == pytest.approx(0.3)
    positions, rotations = goal_poses(pair)
    data.joint("mug").qpos[:3] = data.joint("rack").qpos[:3] + positions[goal]
    data.joint("mug").qpos[3:] = matrix_to_quat_wxyz(rotations[goal])
    for _ in range(20):
        mujoco.mj_step(model, data, 50)
        assert pair_assembled(pair, *relative(data))
    assert np.abs(data.joint("mug").qvel).max() < 0.05


def test_the_goals_of_the_documentation_are_where_it_hangs(task):
    """Within what a coarser import moves them by."""
    printed: dict = {"replace": replace, "MUG_RACK": MUG_RACK}
    exec(GOALS, printed)
    settled, said = (goal_poses(pair) for pair in (get_task(task).pairs[0], printed["PAIR"]))
    np.testing.assert_allclose(settled[0], said[0], atol=2e-3)
    np.testing.assert_allclose(settled[1], said[1], atol=0.05)


def test_the_operator_of_mug_rack_hangs_it(task, tmp_path):
    out = tmp_path / "demos.zarr"
    settings = CollectSettings(
        task=task, out=out, episodes=3, envs=3, num_threads=1, max_attempts=3
    )
    collect(settings)
    assert read_demonstrations(out, task).num_episodes == 3


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"name": "my mug"}, ConfigError, "--name: got 'my mug', expected an identifier"),
        ({"name": "class"}, ConfigError, "--name: got 'class', expected an identifier"),
        ({"mass": 0.0}, ConfigError, "--mass: got 0, expected kg, more than 0"),
        ({"mass": float("nan")}, ConfigError, "--mass: got nan"),
        (
            {"mass": 300.0},
            ConfigError,
            "300 kg in .* cm3 are .* g/cm3, expected 0.01 to 23; check",
        ),
        ({"mass": 1e-4}, ConfigError, "--mass: 0.0001 kg in .* cm3 are"),
        ({"detail": 0.0}, ConfigError, "--detail: got 0, expected 0.3 to 50 mm"),
        (
            {"shift": (0.0, float("inf"), 0.0)},
            ConfigError,
            "--rotate and --shift: expected finite",
        ),
        ({"unit": "mm"}, DataError, "--unit mm was given: is it in metres"),
        ({"scan": Path("gone.obj")}, ConfigError, "gone.obj: no such file"),
    ],
)
def test_wrong_settings_are_refused_and_nothing_is_written(mug, tmp_path, change, error, reason):
    settings = replace(mug.settings, out=tmp_path / "parts" / "other", **change)
    with pytest.raises(error, match=reason) as refusal:
        run(settings)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_as_it_is(mug):
    before = sorted((p.name, p.stat().st_mtime_ns) for p in mug.settings.out.iterdir())
    with pytest.raises(ConfigError, match="my_mug exists already; choose another --out or remove"):
        run(mug.settings)
    assert sorted((p.name, p.stat().st_mtime_ns) for p in mug.settings.out.iterdir()) == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "parts").write_text("a file")
    with pytest.raises(ConfigError, match="my_mug: cannot be written .*; choose another --out"):
        import_scan._make_folder(tmp_path / "parts" / "my_mug")


def test_an_import_that_is_interrupted_leaves_nothing(mug, tmp_path, monkeypatch):
    def interrupt(folder: Path) -> None:
        assert (folder / PART_FILE).exists()
        raise KeyboardInterrupt

    box = from_manifold(manifold3d.Manifold.cube((0.04, 0.02, 0.06), True))
    monkeypatch.setattr(import_scan.scan_mesh, "load_scan", lambda *_: box)
    monkeypatch.setattr(import_scan, "_draw", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(replace(mug.settings, out=tmp_path / "parts" / "box"))
    assert list((tmp_path / "parts").iterdir()) == []


def test_the_command_refuses_in_one_line(mug, monkeypatch, capsys):
    words = ["import_scan", str(mug.settings.scan), "--name", "a b", "--out", "x", "--mass", "0.3"]
    monkeypatch.setattr(sys, "argv", words)
    assert import_scan.main() == 1
    line = capsys.readouterr().err
    assert re.fullmatch("training.import_scan: --name: got 'a b'.*my_mug\n", line)
