# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses to ROS parameters: descriptors and ranges come from the fields."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Protocol, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from resip_ros.core.errors import ConfigError


class Schema(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


T = TypeVar("T", bound=Schema)

# declared by rclpy itself or by its YAML loading, not by us
_BUILT_IN = ("use_sim_time", "start_type_description_service", "qos_overrides")


def parameter(
    default: Any,
    description: str,
    *,
    name: str | None = None,
    low: float | None = None,
    high: float | None = None,
    live: bool = False,
) -> Any:
    """A dataclass field that is a ROS parameter.

    Args:
        default: Value when no file or command line gives one; its type is the parameter's, a
            tuple stands for an array.
        description: What it means, with unit.
        name: Parameter name where it differs from the field's, such as ``policy.checkpoint``.
        low: Least value.
        high: Greatest value.
        live: May be set while the node runs; all others are read-only.
    """
    metadata = {
        "name": name,
        "description": description,
        "low": low,
        "high": high,
        "live": live,
    }
    return dataclasses.field(default=default, metadata=metadata)


def parameter_name(spec: dataclasses.Field[Any]) -> str:
    """ROS name of a field."""
    return spec.metadata["name"] or spec.name


def descriptor_of(spec: dataclasses.Field[Any], default: Any) -> ParameterDescriptor:
    """Descriptor with description, range and read-only flag."""
    meta = spec.metadata
    descriptor = ParameterDescriptor(
        description=meta["description"], read_only=not meta["live"], dynamic_typing=False
    )
    low, high = meta["low"], meta["high"]
    if low is not None and isinstance(default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
        ]
    elif low is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def declare_parameters(node: Node, schema: type[T]) -> T:
    """Declares every field of the dataclass ``schema`` and returns the given values.

    The node must have been made with ``automatically_declare_parameters_from_overrides``, which
    is how unknown names become visible.

    Raises:
        ConfigError: for an unknown name, a wrong type or a value outside its range.
    """
    given = {
        name: value.value
        for name, value in node.get_parameters_by_prefix("").items()
        if not name.startswith(_BUILT_IN)
    }
    for name in given:
        node.undeclare_parameter(name)
    specs = dataclasses.fields(schema)
    known = {parameter_name(spec) for spec in specs}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ConfigError(
            f"{node.get_fully_qualified_name()}: unknown parameters {unknown}; "
            f"known: {sorted(known)}; mend the YAML file or the command line"
        )
    values: dict[str, Any] = {}
    for spec in specs:
        name = parameter_name(spec)
        default = spec.default
        value = given.get(name, default)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if isinstance(default, tuple):
            value = list(value) if isinstance(value, list | tuple) else value
            expected = list
        else:
            expected = type(default)
        if type(value) is not expected:
            raise ConfigError(
                f"{node.get_fully_qualified_name()}: parameter {name!r} is {value!r} "
                f"({type(value).__name__}); expected {expected.__name__}"
            )
        try:
            # declared with its final value: the default is only what the dataclass says
            declared = node.declare_parameter(
                name, value, descriptor_of(spec, default), ignore_override=True
            )
        except ParameterException as error:
            raise ConfigError(f"{node.get_fully_qualified_name()}: {error}") from error
        final: Any = declared.value
        values[spec.name] = tuple(final) if isinstance(default, tuple) else final
    return schema(**values)
