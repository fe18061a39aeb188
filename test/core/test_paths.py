# SPDX-License-Identifier: Apache-2.0
"""Data directories: found in a checkout, and an error that says what there is."""

import pytest

from resip_ros.core import paths
from resip_ros.core.errors import ConfigError


def test_share_holds_the_data():
    assert paths.config_path("robots/fr3.yaml") == paths.share_dir() / "config/robots/fr3.yaml"
    assert paths.models_dir() == paths.share_dir() / "models"


def test_missing_file_names_its_neighbours():
    with pytest.raises(ConfigError, match=r"robots/fr4\.yaml does not exist.*robots/fr3\.yaml"):
        paths.config_path("robots/fr4.yaml")


def test_installed_data_is_found_in_an_ament_prefix_before_pip(monkeypatch, tmp_path):
    """Away from a checkout, as after colcon or pip install."""
    module = tmp_path / "site" / "resip_ros" / "core" / "paths.py"
    monkeypatch.setattr(paths, "__file__", str(module))
    pip, ament = tmp_path / "pip", tmp_path / "ament"
    monkeypatch.setattr("sys.prefix", str(pip))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{ament}")
    with pytest.raises(ConfigError, match="reinstall"):
        paths.share_dir()
    (pip / "share/resip_ros/config/robots").mkdir(parents=True)
    assert paths.share_dir() == pip / "share/resip_ros"
    (ament / "share/resip_ros/config/robots").mkdir(parents=True)
    assert paths.share_dir() == ament / "share/resip_ros"
