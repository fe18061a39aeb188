# SPDX-License-Identifier: Apache-2.0
"""Reading scans, refusing what is no body, and the geometry, held against boxes by hand."""

from pathlib import Path

import numpy as np
import pytest

from resip_ros.core.errors import ConfigError, DataError
from training import scan_mesh
from training.scan_mesh import (
    Mesh,
    check_scan,
    decompose,
    distance_to_surface,
    from_manifold,
    load_scan,
    mass_properties,
    measure_pieces,
    place,
    require,
    simplify,
    thin_out,
    to_manifold,
)

trimesh = pytest.importorskip("trimesh")
manifold3d = pytest.importorskip("manifold3d")
SIZE = np.array([0.04, 0.02, 0.06])


def box(size=SIZE, centre=(0.0, 0.0, 0.0)) -> Mesh:
    return from_manifold(manifold3d.Manifold.cube(tuple(size), True).translate(tuple(centre)))


def export(path: Path, mesh: Mesh) -> Path:
    trimesh.Trimesh(*mesh, process=False).export(path)
    return path


def read(path: Path, unit: str = "m") -> Mesh:
    mesh = load_scan(path, unit)
    check_scan(path, mesh)
    return mesh


@pytest.mark.parametrize("suffix", [".obj", ".stl", ".ply", ".OBJ"])
def test_formats(tmp_path, suffix):
    vertices, faces = read(export(tmp_path / f"box{suffix}", box()))
    assert (len(vertices), len(faces)) == (8, 12)
    np.testing.assert_allclose(np.ptp(vertices, axis=0), SIZE, atol=1e-8)


def test_an_ascii_stl_is_read(tmp_path):
    (tmp_path / "box.stl").write_text(trimesh.Trimesh(*box()).export(file_type="stl_ascii"))
    assert len(read(tmp_path / "box.stl")[0]) == 8


@pytest.mark.parametrize(
    ("unit", "per_m"), [("m", 1.0), ("mm", 1000.0), ("cm", 100.0), ("inch", 39.37007874)]
)
def test_units(tmp_path, unit, per_m):
    vertices, faces = box()
    path = export(tmp_path / "box.ply", (vertices * per_m, faces))
    np.testing.assert_allclose(np.ptp(read(path, unit)[0], axis=0), SIZE, rtol=1e-6)


def test_seams_of_a_texture_are_no_holes(tmp_path):
    """Every triangle has texture coordinates and normals of its own, as phones write them."""
    vertices, faces = box()
    lines = [f"v {x} {y} {z}" for x, y, z in vertices]
    lines += [f"vt {i / 36} {i % 7 / 7}" for i in range(36)]
    lines += [f"vn {x} {y} {z}" for x, y, z in np.eye(3)]
    for i, face in enumerate(faces + 1):
        lines.append("f " + " ".join(f"{v}/{3 * i + k + 1}/{k + 1}" for k, v in enumerate(face)))
    path = tmp_path / "box.obj"
    path.write_text("mtllib missing.mtl\nusemtl skin\n" + "\n".join(lines) + "\n")
    assert len(read(path)[0]) == 8


def test_a_file_in_millimetres_is_recognised(tmp_path):
    vertices, faces = box()
    path = export(tmp_path / "box.stl", (vertices * 1000, faces))
    with pytest.raises(DataError, match="got 40 x 20 x 60 m.*millimetres: pass --unit mm"):
        load_scan(path, "m")
    with pytest.raises(DataError, match="got 1.02 x 0.508 x 1.52 m.*; check --unit"):
        load_scan(path, "inch")


def test_a_file_in_metres_is_not_taken_for_millimetres(tmp_path):
    with pytest.raises(DataError, match="--unit mm was given: is it in metres"):
        load_scan(export(tmp_path / "box.stl", box()), "mm")


@pytest.mark.parametrize(
    ("name", "content", "error", "reason"),
    [
        ("gone.obj", None, ConfigError, "no such file; expected a mesh: .obj, .stl, .ply"),
        ("scan.usdz", b"PK", ConfigError, "got format '.usdz'.*MeshLab and Blender convert"),
        ("scan", b"v 0 0 0", ConfigError, "got format 'without a name'"),
        ("empty.obj", b"", DataError, "empty.obj: "),
        ("empty.stl", b"", DataError, "empty.stl: "),
        ("empty.ply", b"", DataError, "empty.ply: "),
        ("points.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", DataError, "points.obj: "),
        ("noise.obj", bytes(range(256)), DataError, "noise.obj: "),
        ("noise.stl", bytes(range(256)), DataError, "noise.stl: "),
        ("words.ply", b"ply\nformat ascii 1.0\nelement", DataError, "words.ply: "),
        ("nan.obj", b"v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", DataError, "nan.obj: "),
        ("index.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", DataError, "index.obj: "),
    ],
)
def test_files_that_hold_no_mesh(tmp_path, name, content, error, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=reason) as refusal:
        load_scan(tmp_path / name, "m")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".obj", ".stl", ".ply"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_truncated_files(tmp_path, suffix, share):
    path = export(tmp_path / f"box{suffix}", simplify(box(), 1e-6))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=f"box{suffix}: ") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)


def flat(mesh: Mesh) -> Mesh:
    return mesh[0] * (1, 1, 0), mesh[1]


def tilted_sheet(mesh: Mesh) -> Mesh:
    """Two sides of one slanted plane: not flat in its bounding box."""
    vertices, faces = flat(mesh)
    vertices[:, 2] = vertices[:, 0] + 1e-6 * mesh[0][:, 2]
    return vertices, faces


def turned_face(mesh: Mesh) -> Mesh:
    faces = mesh[1].copy()
    faces[0] = faces[0, ::-1]
    return mesh[0], faces


def join(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in meshes)])
    faces = [faces + start for (_, faces), start in zip(meshes, starts, strict=False)]
    return np.concatenate([vertices for vertices, _ in meshes]), np.concatenate(faces)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda m: (m[0], m[1][1:]), "not watertight: 3 open edges and 0 .*MeshLab.*pymeshfix"),
        (lambda m: (m[0], np.concatenate([m[1], m[1][:1]])), "0 open edges and 3 with more than"),
        (lambda m: (m[0], m[1][:, ::-1]), "inside out: got a volume of -48 cm3.*MeshLab"),
        (turned_face, "some faces point inwards and some outwards.*MeshLab"),
        (flat, "flat: got 0.04 x 0.02 x 0 m.*only one side"),
        (tilted_sheet, "flat: got a volume of"),
        (lambda m: join(m, box(centre=(0.1, 0, 0))), r"got 2 separate bodies \(48, 48 cm3\)"),
    ],
)
def test_surfaces_that_are_no_body(tmp_path, spoil, reason):
    path = export(tmp_path / "box.ply", spoil(box()))
    with pytest.raises(DataError, match=reason) as refusal:
        read(path)
    assert "\n" not in str(refusal.value)


def test_a_missing_package_is_named(monkeypatch):
    def fail(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(scan_mesh, "import_module", fail)
    with pytest.raises(ConfigError, match=r"needs coacd.*pip install resip_ros\[scan\]"):
        require("coacd")


def test_mass_properties_of_a_box_are_those_of_the_textbook():
    volume, centre, inertia = mass_properties(box(centre=(0.01, 0.02, 0.03)), 0.3)
    assert volume == pytest.approx(SIZE.prod())
    np.testing.assert_allclose(centre, [0.01, 0.02, 0.03], atol=1e-12)
    squares = SIZE**2
    np.testing.assert_allclose(
        inertia, 0.3 / 12 * np.diag(squares.sum() - squares), atol=1e-12, rtol=1e-9
    )


@pytest.mark.parametrize(
    ("origin", "low"), [("centre", (-0.02, -0.03, -0.01)), ("bottom", (-0.02, -0.03, 0.0))]
)
def test_frames(origin, low):
    """A quarter turn about x brings z to -y."""
    mesh = box(centre=(0.1, 0.2, 0.3))
    shift = np.array([0.001, 0.002, 0.003])
    (vertices, _), T = place(mesh, np.array([90.0, 0, 0]), origin, shift)
    np.testing.assert_allclose(vertices.min(0), low + shift, atol=1e-12)
    np.testing.assert_allclose(vertices, mesh[0] @ T[:3, :3].T + T[:3, 3], atol=1e-12)
    np.testing.assert_allclose(T[:3, :3] @ [0, 0, 1], [0, -1, 0], atol=1e-12)


def test_turns_are_about_the_scans_own_axes_one_after_the_other():
    (_, _), T = place(box(), np.array([90.0, 0.0, 90.0]), "scan", np.zeros(3))
    np.testing.assert_allclose(T[:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(T[:3, 3], 0.0)


def test_distances_to_a_box(rng):
    points = rng.uniform(-0.1, 0.1, (1000, 3))
    outside = np.maximum(np.abs(points) - SIZE / 2, 0.0)
    inside = (SIZE / 2 - np.abs(points)).min(1)
    expected = np.where(inside > 0, inside, np.linalg.norm(outside, axis=1))
    fine = from_manifold(to_manifold(box()).refine(6))
    for mesh in (box(), fine):
        np.testing.assert_allclose(distance_to_surface(points, mesh), expected, atol=1e-9)


def test_errors_of_pieces_are_what_was_left_out_and_what_was_added():
    low = box((0.04, 0.02, 0.057), centre=(0, 0, -0.0015))
    wide = box((0.042, 0.02, 0.06), centre=(0.001, 0, 0))
    mesh = box()
    assert measure_pieces(mesh, [mesh[0]]) == pytest.approx((0.0, 0.0), abs=1e-6)
    # a difference is thin: its points are 0 to 3 and 0 to 2 mm from the other body
    assert measure_pieces(mesh, [low[0]]) == pytest.approx((0.003, 0.0), abs=1e-5)
    assert measure_pieces(mesh, [wide[0]]) == pytest.approx((0.0, 0.002), abs=1e-5)
    halves = [box((0.02, 0.02, 0.06), centre=(x, 0, 0))[0] for x in (-0.01, 0.01)]
    assert measure_pieces(mesh, halves) == pytest.approx((0.0, 0.0), abs=1e-6)


def angle_iron() -> Mesh:
    cube = manifold3d.Manifold.cube
    return from_manifold(cube((0.06, 0.02, 0.01)) + cube((0.01, 0.02, 0.06)))


def test_an_angle_iron_becomes_two_pieces():
    mesh = angle_iron()
    pieces = decompose(mesh, 0.002)
    assert len(pieces) == 2
    missing, excess = measure_pieces(mesh, pieces)
    assert missing < 1e-3
    assert excess < 1e-3


def test_coarse_detail_fills_the_corner():
    mesh = angle_iron()
    pieces = decompose(mesh, 0.05)
    assert len(pieces) == 1
    # the middle of the hull's slanted side is 25 mm from either leg
    assert measure_pieces(mesh, pieces)[1] == pytest.approx(0.025, rel=0.01)


def test_thinning_out_keeps_the_surface_closed():
    ball = from_manifold(manifold3d.Manifold.sphere(0.03, 96))
    thin = simplify(ball, 5e-4)
    assert len(thin[1]) < 0.5 * len(ball[1])
    check_scan(Path("thin"), thin)
    assert distance_to_surface(ball[0], thin).max() < 1e-3


def test_what_is_looked_at_has_a_limit_of_triangles(rng):
    """The skin is rougher than what is thinned out at first."""
    vertices, faces = from_manifold(manifold3d.Manifold.sphere(0.03, 256))
    rough = vertices + rng.normal(0.0, 4e-4, vertices.shape), faces
    assert len(simplify(rough, 3e-4)[1]) > 20_000
    thin = thin_out(rough)
    assert 2_000 < len(thin[1]) <= 20_000
    check_scan(Path("thin"), thin)
