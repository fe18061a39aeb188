# SPDX-License-Identifier: Apache-2.0
"""Random and adversarial values: messages of any type, texts, parameters. Pure but for rng."""

from __future__ import annotations

import copy
import json
import re
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

Rng = np.random.Generator
FLOATS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308, 1e-308, 1e6, -1.0, 1.0, 0.5, 3.2)
INTS = (0, 1, -1, 127, 255, 2**15, 2**31 - 1, -(2**31), 2**32 - 1, 2**62, -(2**62))
MANY = 1000
"""Of a longer sequence the shuffled beginning is left."""
WORDS = (
    "",
    "x",
    "gripper",
    "fr3_link0",
    "world",
    "fr3_joint1",
    "\x00",
    "ä\U0001f916",
    "a" * 70_000,
)
ODD_JSON = ("[" * 50_000, '{"a":' * 9_000, "NaN", "null", "1e999", '""', "{}")
_BITS = re.compile(r"^(u?int)(8|16|32|64)$")


def pick(rng: Rng, words: Sequence[str]) -> str:
    """One of the texts, as it is: numpy's own choice makes an array of them and drops zeros."""
    return words[int(rng.integers(len(words)))]


def random_float(rng: Rng) -> float:
    """Often a special one."""
    return float(rng.choice(FLOATS) if rng.random() < 0.7 else rng.normal(0, 10))


def random_text(rng: Rng) -> str:
    """A word, noise, or something that looks like JSON."""
    kind = rng.integers(4)
    if kind == 0:
        return pick(rng, WORDS[:-1]) if rng.random() < 0.95 else WORDS[-1]
    if kind == 1:
        return "".join(chr(int(c)) for c in rng.integers(1, 0x2FF, int(rng.integers(1, 60))))
    if kind == 2:
        return pick(rng, ODD_JSON)
    return json.dumps(random_json(rng, 3))


def random_json(rng: Rng, depth: int) -> Any:
    """A nested value of JSON's types, with the keys that our messages use."""
    kind = int(rng.integers(7 if depth else 5))
    if kind == 0:
        return random_float(rng)
    if kind == 1:
        return int(rng.choice(INTS))
    if kind == 2:
        return str(rng.choice(["started", "stopped", "fault", "base_policy", "x", ""]))
    if kind in (3, 4):
        return [None, True][kind - 3]
    if kind == 5:
        return [random_json(rng, depth - 1) for _ in range(int(rng.integers(4)))]
    keys = ["kind", "stamp_ns", "detail", "node", "checkpoint", "base_hash", "residual_hash", "x"]
    chosen = rng.permutation(keys)[: int(rng.integers(len(keys)))]
    return {str(key): random_json(rng, depth - 1) for key in chosen}


def mutate(rng: Rng, message: Any) -> Any:
    """A copy of a good message with one to three places made wrong."""
    # a tenth of the time of copy.deepcopy
    wrong = deserialize_message(serialize_message(message), type(message))
    for _ in range(int(rng.integers(1, 4))):
        _mutate_once(rng, wrong)
    return wrong


def _mutate_once(rng: Rng, message: Any) -> None:
    """Walks down to a field by chance, and changes it there."""
    fields = message.get_fields_and_field_types()
    # a sequence that is empty gives nothing to spoil
    filled = [f for f in fields if not _is_empty(getattr(message, f))]
    name = str(rng.choice(filled or list(fields)))
    value, kind = getattr(message, name), fields[name]
    if hasattr(value, "get_fields_and_field_types"):
        _mutate_once(rng, value)
    elif isinstance(value, list | tuple | array | np.ndarray):
        setattr(message, name, _mutate_sequence(rng, kind, value))
    elif isinstance(message, String) and value.startswith("{") and rng.random() < 0.7:
        setattr(message, name, mutate_json(rng, value))
    else:
        setattr(message, name, random_scalar(rng, kind))


def _mutate_sequence(rng: Rng, kind: str, value: Any) -> Any:
    """Drops, doubles, shuffles or spoils elements; one of fixed length keeps its length."""
    # an array stays one: a picture has too many values to go through them one by one
    items: Any = value[:] if isinstance(value, array) else list(value)
    fixed = "[" in kind
    choice = int(rng.integers(10))
    if choice == 0 and not fixed:
        return items[: int(rng.integers(len(items) + 1))]
    if choice == 1 and not fixed:
        return items + items
    if choice == 2 and len(items):
        return [items[int(i)] for i in rng.permutation(min(len(items), MANY))]
    if not len(items):
        return items
    place = int(rng.integers(len(items)))
    if hasattr(items[place], "get_fields_and_field_types"):
        items[place] = copy.deepcopy(items[place])
        _mutate_once(rng, items[place])
    else:
        element = kind.removeprefix("sequence<").split("[")[0].rstrip(">")
        items[place] = random_scalar(rng, element)
    return items


def _is_empty(value: Any) -> bool:
    return isinstance(value, list | tuple | array | np.ndarray) and len(value) == 0


def mutate_json(rng: Rng, text: str) -> str:
    """A JSON text cut off, or with a value or key exchanged; other texts stay."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if rng.random() < 0.3 or not document:
        return text[: int(rng.integers(len(text)))]
    if not isinstance(document, dict):
        return json.dumps(random_json(rng, 2))
    key = str(rng.choice(list(document)))
    if document[key] and isinstance(document[key], dict) and rng.random() < 0.7:
        # deeper: one count, one row of times
        inner = str(rng.choice(list(document[key])))
        document[key][inner] = random_json(rng, 1)
    elif rng.random() < 0.2:
        del document[key]
    else:
        document[key] = random_json(rng, 2)
    return json.dumps(document)


def random_scalar(rng: Rng, kind: str) -> Any:
    """A value of a ROS field type."""
    if kind in ("double", "float", "float64", "float32"):
        value = random_float(rng)
        # float32 fields refuse what they cannot hold
        return value if kind in ("double", "float64") or not np.isfinite(value) else value % 1e6
    if kind == "boolean":
        return bool(rng.integers(2))
    if kind == "octet":
        return bytes([int(rng.integers(256))])
    match = _BITS.match(kind)
    if match is None:
        return random_text(rng)
    bits, signed = int(match[2]), match[1] == "int"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return min(max(int(rng.choice(INTS)), low), high)


def random_parameter(rng: Rng, names: list[str]) -> Parameter:
    """A parameter of one of the names, or of another, with a value of any type."""
    name = str(rng.choice(names)) if rng.random() < 0.9 else str(rng.choice(WORDS[1:4]))
    makers: list[Callable[[], Any]] = [
        lambda: bool(rng.integers(2)),
        lambda: int(rng.choice(INTS)),
        lambda: int(rng.integers(0, 100)),
        lambda: random_float(rng),
        lambda: random_text(rng),
        lambda: ["", "x" * int(rng.integers(6))],
        lambda: [random_float(rng) for _ in range(3)],
        lambda: [1, 2, 3],
        lambda: [True, False],
        lambda: [b"\x01", b"\x02"],
    ]
    if rng.random() < 0.05:
        return Parameter(name, Parameter.Type.NOT_SET)
    return Parameter(name, value=makers[int(rng.integers(len(makers)))]())
