# SPDX-License-Identifier: Apache-2.0
"""A part's folder becomes a body as its description says; a folder that is not sound is refused.

The part here is an L of two boxes, written by hand: no package of the extra "scan" is needed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from resip_ros.core.errors import ConfigError
from resip_ros.sim.arm import BIT_BENCH, BIT_ROBOT, BIT_TOP
from resip_ros.sim.parts import add_bench
from resip_ros.sim.scans import PART_FILE, add_scan, hash_file, read_scan
from resip_ros.sim.scene import set_physics_options
from resip_ros.sim.task_scene import FINE_TIMESTEP_S

# lower and upper corner of the boxes, m
BOXES = (((0.0, 0.0, 0.0), (0.04, 0.02, 0.02)), ((0.0, 0.0, 0.02), (0.02, 0.02, 0.06)))
MASS = 0.12
CENTRE = (0.0133333, 0.01, 0.0266667)
INERTIA = {"xx": 6e-5, "yy": 7e-5, "zz": 3e-5, "xy": 0.0, "xz": -1e-5, "yz": 0.0}
FACES = "1 2 4,1 4 3,5 8 6,5 7 8,1 5 6,1 6 2,3 4 8,3 8 7,1 3 7,1 7 5,2 6 8,2 8 4"


def write_box(path: Path, low: tuple, high: tuple) -> None:
    corners = [
        (x, y, z) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
    ]
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {f}" for f in FACES.split(",")]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i, box in enumerate(BOXES):
        write_box(tmp_path / f"piece_{i:03d}.obj", *box)
    write_box(tmp_path / "visual.obj", BOXES[0][0], (0.04, 0.02, 0.06))
    names = ("visual.obj", "piece_000.obj", "piece_001.obj")
    description = {
        "schema": 1,
        "name": "bracket",
        "mass_kg": MASS,
        "size_m": [0.04, 0.02, 0.06],
        "center_of_mass_m": list(CENTRE),
        "inertia_kgm2": INERTIA,
        "files": {name: hash_file(tmp_path / name) for name in names},
    }
    (tmp_path / PART_FILE).write_text(yaml.safe_dump(description, sort_keys=False))
    return tmp_path


def bench_with(folder: Path, **options: Any) -> mujoco.MjModel:
    spec = mujoco.MjSpec()
    set_physics_options(spec, FINE_TIMESTEP_S)
    add_bench(spec, FINE_TIMESTEP_S)
    add_scan(spec, "part", folder, FINE_TIMESTEP_S, **options)
    return spec.compile()


def test_mass_and_inertia_are_those_of_the_description(folder):
    model = bench_with(folder)
    body = model.body("part")
    assert body.mass[0] == pytest.approx(MASS)
    np.testing.assert_allclose(body.ipos, CENTRE, atol=1e-9)
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, body.iquat)
    turn = turn.reshape(3, 3)
    about_centre = turn @ np.diag(body.inertia) @ turn.T
    expected = [[6e-5, 0, -1e-5], [0, 7e-5, 0], [-1e-5, 0, 3e-5]]
    np.testing.assert_allclose(about_centre, expected, atol=1e-12)


def test_the_pieces_carry_the_part_on_the_bench_and_the_visual_mesh_touches_nothing(folder):
    model = bench_with(folder)
    # a sleeping part has no contacts
    model.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_SLEEP)
    data = mujoco.MjData(model)
    data.joint("part").qpos[:] = [0.3, 0.0, 0.005, 1, 0, 0, 0]
    mujoco.mj_step(model, data, 500)
    assert np.abs(data.joint("part").qvel).max() < 1e-3
    np.testing.assert_allclose(data.joint("part").qpos, [0.3, 0, 0, 1, 0, 0, 0], atol=2e-4)
    names = {model.geom(g).name for contact in data.contact for g in contact.geom}
    assert names <= {"bench", "part_piece0"}
    assert "part_piece0" in names
    assert model.geom("part_visual").group[0] < 3 <= model.geom("part_piece0").group[0]


def test_where_the_visual_mesh_alone_is_there_is_nothing_to_touch(folder):
    """A ball falls through the notch of the L onto its foot."""
    spec = mujoco.MjSpec()
    set_physics_options(spec, FINE_TIMESTEP_S)
    add_bench(spec, FINE_TIMESTEP_S)
    meets = {"contype": BIT_TOP, "conaffinity": BIT_ROBOT | BIT_BENCH}
    add_scan(spec, "part", folder, FINE_TIMESTEP_S, friction=0.3, **meets)
    ball = spec.worldbody.add_body(name="ball", pos=[0.03, 0.01, 0.05])
    ball.add_freejoint(name="ball")
    ball.add_geom(size=[0.005, 0, 0], mass=0.001, contype=0, conaffinity=BIT_TOP)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 100)
    assert data.joint("ball").qpos[2] == pytest.approx(0.025, abs=1e-3)
    assert model.geom("part_piece1").friction[0] == pytest.approx(0.3)
    assert model.geom("part_piece1").contype[0] == BIT_TOP


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        data = yaml.safe_load((folder / PART_FILE).read_text())
        change(data)
        (folder / PART_FILE).write_text(yaml.safe_dump(data))

    return apply


BROKEN = {
    "no part.yaml": (lambda f: (f / PART_FILE).unlink(), "No such file.*import the scan again"),
    "not yaml": (lambda f: (f / PART_FILE).write_text("a: [1"), "part.yaml: while parsing"),
    "binary": (lambda f: (f / PART_FILE).write_bytes(b"\xff\xfe\x00"), "part.yaml: .*decode"),
    "a list": (lambda f: (f / PART_FILE).write_text("- 1"), "schema: got 'list', expected 1"),
    "other schema": (edit(lambda d: d.update(schema=2)), "schema: got 2, expected 1"),
    "no mass": (edit(lambda d: d.pop("mass_kg")), "mass_kg is missing"),
    "mass is text": (
        edit(lambda d: d.update(mass_kg="heavy")),
        "mass_kg: got 'heavy', expected 1",
    ),
    "mass is true": (edit(lambda d: d.update(mass_kg=True)), "mass_kg: got True"),
    "negative mass": (edit(lambda d: d.update(mass_kg=-1.0)), "mass_kg: got -1, expected more"),
    "nan mass": (edit(lambda d: d.update(mass_kg=float("nan"))), "mass_kg: got nan"),
    "mass in grams": (edit(lambda d: d.update(mass_kg=0.001)), "too large for 0.001 kg.*--mass"),
    "size in mm": (edit(lambda d: d.update(size_m=[40, 20, 60])), "size_m: got .*up to 1 m"),
    "two sizes": (edit(lambda d: d.update(size_m=[0.1, 0.1])), "size_m: .*expected 3 finite"),
    "centre far off": (
        edit(lambda d: d.update(center_of_mass_m=[13.0, 0, 0])),
        "center_of_mass_m: got .*expected m near",
    ),
    "inertia incomplete": (edit(lambda d: d["inertia_kgm2"].pop("xy")), "expected xx, yy, zz, xy"),
    "inertia impossible": (
        edit(lambda d: d["inertia_kgm2"].update(zz=1e-3)),
        "principal moments .* which no body has",
    ),
    "inertia negative": (edit(lambda d: d["inertia_kgm2"].update(xx=-1e-6)), "which no body has"),
    "no pieces": (
        edit(lambda d: d.update(files={"visual.obj": "x"})),
        "files: got .*expected visual.obj and at least one piece",
    ),
    "piece gone": (lambda f: (f / "piece_001.obj").unlink(), "piece_001.obj is missing"),
    "visual gone": (lambda f: (f / "visual.obj").unlink(), "visual.obj is missing"),
    "piece cut short": (
        lambda f: (f / "piece_001.obj").write_text("v 0 0 0\n"),
        "piece_001.obj is not the file that was imported",
    ),
    "piece of another": (
        lambda f: write_box(f / "piece_009.obj", *BOXES[0]),
        "piece_009.obj is not named in part.yaml; remove it",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_folders_that_are_not_sound_are_refused(folder, what):
    damage, reason = BROKEN[what]
    assert read_scan(folder).pieces[1].name == "piece_001.obj"
    damage(folder)
    with pytest.raises(ConfigError, match=reason) as refusal:
        bench_with(folder)
    assert "\n" not in str(refusal.value)
    assert str(folder) in str(refusal.value)
