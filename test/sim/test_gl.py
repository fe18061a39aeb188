# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from resip_ros.sim import gl


@pytest.fixture(autouse=True)
def _fresh_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    gl.find_backend.cache_clear()
    yield
    gl.find_backend.cache_clear()


def test_first_working_backend_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gl, "_probe", {"egl": "no driver", "osmesa": None}.get)
    assert gl.find_backend() == "osmesa"


def test_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(gl, "_probe", lambda backend: None)
    assert gl.find_backend() == "osmesa"


def test_nothing_works_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gl, "_probe", lambda backend: "broken driver")
    with pytest.raises(gl.NoRenderingError, match=r"egl: broken driver.*libegl1.*libosmesa6"):
        gl.find_backend()


def test_probe_survives_a_backend_that_does_not_exist() -> None:
    reason = gl._probe("nonesuch")
    assert reason is not None
    assert "nonesuch" in reason
