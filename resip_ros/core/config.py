# SPDX-License-Identifier: Apache-2.0
"""Control numbers: one frozen dataclass, one YAML file, used by training and by the robot."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import NUM_JOINTS
from resip_ros.core.paths import config_path

Vector = tuple[float, ...]


@dataclass(frozen=True)
class ControlConfig:
    """Everything between an action and the joint torque, and the limits around it."""

    rate_hz: float
    """Policy steps per second, > 0; a task's own rate takes its place, see ``at_rate``."""
    reference_hz: float
    """Joint references per second handed to the 1 kHz controller; a multiple of rate_hz."""
    stiffness: Vector
    """Joint stiffness (7), N m/rad; libfranka's joint impedance example."""
    damping: Vector
    """Joint damping (7), N m s/rad."""
    home_joints: Vector
    """Joints (7), rad, where episodes start and towards which the redundancy is pulled."""
    joint_min: Vector
    """Lower joint limits (7), rad (FR3 datasheet)."""
    joint_max: Vector
    """Upper joint limits (7), rad (FR3 datasheet)."""
    joint_margin_rad: float
    """References stay this far inside the limits, rad."""
    max_joint_speed: float
    """Largest change of a joint target, rad/s (FR3 joints allow 2.62 and more)."""
    max_joint_acceleration: float
    """Largest change of a joint's speed per time between policy steps, rad/s^2. Keeps the
    controller below its torque-rate limit when a policy reverses every step."""
    leash_m: float
    """The commanded position stays this close to the measured one, m."""
    max_tracking_torque: Vector
    """Largest tracking torque of each joint (7), N m: the reference is clipped about the
    measured joints at every renewal. Bounds the contact force."""
    leash_rad: float
    """The commanded rotation stays this close to the measured one, rad."""
    workspace_min: Vector
    """Lower corner (3) of the TCP workspace, m, base frame; z = 0 is the bench."""
    workspace_max: Vector
    """Upper corner (3) of the TCP workspace, m, base frame."""
    workspace_overshoot_m: float
    """Targets outside by no more than this are clipped to the box; beyond, refused."""
    max_jump_m: float
    """Targets further than this from the measured position are refused, m."""
    max_jump_rad: float
    """Targets further than this from the measured rotation are refused, rad."""
    ik_damping: float
    """Damping of the differential IK."""
    ik_posture_gain: float
    """Pull of the redundancy to home_joints per IK iteration, 0..1."""
    ik_iterations: int
    """Differential IK steps per command."""
    command_timeout_s: float
    """Without a new command for this long the arm decelerates and holds, s."""
    hold_duration_s: float
    """Time of that deceleration, s."""
    max_command_age_s: float
    """Commands whose observation is older than this are refused, s."""
    max_command_future_s: float
    """Commands stamped further than this in the future are refused, s."""
    force_threshold_n: float
    """External force per axis at which the arm reflexes (stops), N."""
    torque_threshold_nm: float
    """External torque per joint at which the arm reflexes (stops), N m."""
    max_delta_tau: float
    """Largest torque change per millisecond, N m (libfranka limits 1000 N m/s)."""
    soft_start_share: float
    """Share of stiffness and damping with which torque control begins, up to 1."""
    soft_start_s: float
    """Time over which they rise to the whole, s."""
    supervisor_timeout_s: float
    """A bridge that leads the arm and gives no sign of life for this long is killed, s."""
    gripper_max_width_m: float
    """Opening of the gripper, m (reference: one_leg)."""
    gripper_speed_m_s: float
    """Closing and opening speed of the width, m/s."""
    gripper_force_n: float
    """Grasp force, N."""

    def __post_init__(self) -> None:
        for name, size in _VECTOR_SIZES.items():
            value = getattr(self, name)
            if len(value) != size or not np.isfinite(value).all():
                raise ConfigError(f"{name}: got {value!r}, expected {size} finite numbers")
        for spec in fields(self):
            value = getattr(self, spec.name)
            if spec.name not in _VECTOR_SIZES and not (np.isfinite(value) and value > 0):
                raise ConfigError(f"{spec.name}: got {value!r}, expected a number above 0")
        if abs(self.reference_hz / self.rate_hz % 1.0) > 1e-9:
            raise ConfigError(
                f"reference_hz: got {self.reference_hz}, expected a multiple of rate_hz "
                f"({self.rate_hz})"
            )
        for low, high in (("joint_min", "joint_max"), ("workspace_min", "workspace_max")):
            if not (np.asarray(getattr(self, low)) < np.asarray(getattr(self, high))).all():
                raise ConfigError(f"{low} must be below {high} on every axis")

    def at_rate(self, rate_hz: float) -> ControlConfig:
        """The same numbers for a task of another rate, Hz.

        Raises:
            ConfigError: if reference_hz is no multiple of it.
        """
        return replace(self, rate_hz=rate_hz)

    @property
    def step_s(self) -> float:
        """Duration of one policy step, s."""
        return 1.0 / self.rate_hz

    @property
    def command_timeout_steps(self) -> int:
        """Policy steps in a row without a new command after which the arm holds."""
        return int(self.command_timeout_s * self.rate_hz)

    @property
    def joint_low(self) -> Array:
        """Lowest joint reference (7), rad: the limit plus its margin."""
        return np.asarray(self.joint_min) + self.joint_margin_rad

    @property
    def joint_high(self) -> Array:
        """Highest joint reference (7), rad: the limit less its margin."""
        return np.asarray(self.joint_max) - self.joint_margin_rad


_VECTOR_SIZES = {
    "stiffness": NUM_JOINTS,
    "damping": NUM_JOINTS,
    "max_tracking_torque": NUM_JOINTS,
    "home_joints": NUM_JOINTS,
    "joint_min": NUM_JOINTS,
    "joint_max": NUM_JOINTS,
    "workspace_min": 3,
    "workspace_max": 3,
}


def _coerce(name: str, value: Any, source: str) -> Any:
    """YAML value to the field's type, or an error that names the field."""
    expected = {"ik_iterations": "a whole number"}.get(name, "a number")
    try:
        if name in _VECTOR_SIZES:
            expected = "a list of numbers"
            if isinstance(value, str):
                raise TypeError(value)
            return tuple(_number(v) for v in value)
        number = _number(value)
        if name == "ik_iterations":
            if not number.is_integer():
                raise ValueError(value)
            return int(number)
        return number
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: {name}: got {value!r}, expected {expected}") from error


def _number(value: Any) -> float:
    """A number; YAML's yes and no are none, though Python would count them."""
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


def load_control_config(path: Path | None = None) -> ControlConfig:
    """Read the control numbers.

    Args:
        path: YAML file; by default the installed config/robots/fr3.yaml.

    Raises:
        ConfigError: for a missing file, bad YAML, unknown or missing keys, wrong values.
    """
    path = path or config_path("robots/fr3.yaml")
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read control config {path}: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: expected a mapping of keys to values, got {type(data).__name__}"
        )
    values = {str(key): value for key, value in cast("dict[object, object]", data).items()}
    names = {spec.name for spec in fields(ControlConfig)}
    unknown, missing = sorted(set(values) - names), sorted(names - set(values))
    if unknown or missing:
        raise ConfigError(
            f"{path}: unknown keys {unknown}, missing keys {missing}; "
            "the keys are the fields of resip_ros.core.config.ControlConfig"
        )
    return ControlConfig(
        **{name: _coerce(name, value, str(path)) for name, value in values.items()}
    )
