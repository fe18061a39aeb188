# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def bootstrap(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/bootstrap.sh"],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def test_unusable_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = bootstrap(RESIP_PYTHON=str(old))
    assert done.returncode == 1
    assert f"RESIP_PYTHON={old} is not a working Python 3.11 or 3.12" in done.stderr


def test_no_python_at_all_says_what_to_install(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "uname"):
        found = subprocess.run(["which", tool], capture_output=True, text=True, check=True)
        (tmp_path / tool).symlink_to(found.stdout.strip())
    done = bootstrap(PATH=str(tmp_path), RESIP_PYTHON="")
    assert done.returncode == 1
    assert "no Python 3.11 or 3.12 found" in done.stderr
    assert "apt-get install python3.11" in done.stderr


def test_constraints_hold_what_is_installed() -> None:
    """The tested set of versions must be able to satisfy setup.py."""
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    wanted = [Requirement(text) for text in requires("resip_ros") or []]
    assert wanted
    for requirement in wanted:
        version = pins.get(requirement.name.lower().replace("_", "-"))
        assert version is not None, f"constraints.txt does not pin {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} but {version} is pinned"


def test_help_lists_every_target() -> None:
    text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("demo", "test", "check", "setup", "clean"):
        assert f"\n{target}" in f"\n{text}"
