"""Setting GenICam features, and not believing that it worked before it is read back."""

import difflib
import math
from collections.abc import Mapping
from typing import Any

from partgate_cameras._errors import FeatureError

FeatureValue = str | int | float | bool

READABLE, WRITABLE = (3, 4), (2, 4)  # GenApi's access modes: 2 write only, 3 read only, 4 both
RELATIVE_TOLERANCE = 1e-6

# GenApi's node types by their class names, and what a file may give for them.
_ACCEPTED: Mapping[str, tuple[tuple[type, ...], str]] = {
    "IBoolean": ((bool,), "true or false"),
    "ICommand": ((bool,), "true"),
    "IEnumeration": ((str,), "a name"),
    "IFloat": ((int, float), "a number"),
    "IInteger": ((int,), "a whole number"),
    "IString": ((str,), "a text"),
}


def set_features(node_map: Any, features: Mapping[str, FeatureValue]) -> None:
    """Set features in their order and read each back.

    Args:
        node_map: the remote device's, from harvesters.
        features: by name. A command is executed by `true`, and cannot be read back.

    Raises:
        FeatureError: names the feature, the value requested, and what is allowed or what the
            camera made of it. Features before it in the file stay set.
    """
    for name, requested in features.items():
        node = find_node(node_map, name)
        if node is None:
            raise FeatureError(
                f"feature {name}: the camera has none of that name{_did_you_mean(node_map, name)}"
            )
        _check_kind(name, node, requested)
        _check_range(name, node, requested)
        _set(name, node, requested)


def find_node(node_map: Any, name: str) -> Any:
    """Return a feature's node, None if the camera has none of that name."""
    return getattr(node_map, name) if node_map.has_node(name) else None


def read(node_map: Any, name: str) -> Any:
    """Return a feature's value, None if the camera has none of that name or it cannot be read."""
    node = find_node(node_map, name)
    return node.value if node is not None and node.get_access_mode() in READABLE else None


def _did_you_mean(node_map: Any, name: str) -> str:
    known = [node.node.name for node in node_map.nodes]
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _check_kind(name: str, node: Any, requested: FeatureValue) -> None:
    kind = type(node).__name__
    if kind not in _ACCEPTED:
        raise FeatureError(f"feature {name}: cannot be set: it is a {kind.removeprefix('I').lower()}")
    types, expected = _ACCEPTED[kind]
    right = isinstance(requested, types) and isinstance(requested, bool) == (bool in types)
    if not right or (kind == "ICommand" and requested is not True):
        raise FeatureError(f"feature {name}: requested {_shown(requested)}, expected {expected}")
    if node.get_access_mode() not in WRITABLE:
        is_now = f"; it is {_shown(node.value)}" if node.get_access_mode() in READABLE else ""
        raise FeatureError(f"feature {name}: requested {_shown(requested)}, but it cannot be written{is_now}")


def _check_range(name: str, node: Any, requested: FeatureValue) -> None:
    kind = type(node).__name__
    if kind == "IEnumeration" and requested not in node.symbolics:
        raise FeatureError(
            f"feature {name}: requested {_shown(requested)}, allowed are {', '.join(sorted(node.symbolics))}"
        )
    if kind not in {"IInteger", "IFloat"}:
        return
    value = float(requested)
    off_step = kind == "IInteger" and node.inc > 1 and (value - node.min) % node.inc != 0
    if not node.min <= value <= node.max or off_step:
        step = f" in steps of {node.inc}" if kind == "IInteger" and node.inc > 1 else ""
        raise FeatureError(
            f"feature {name}: requested {_shown(requested)}, allowed is {node.min} to {node.max}{step}"
        )


def _set(name: str, node: Any, requested: FeatureValue) -> None:
    from genicam.genapi import GenericException

    try:
        if type(node).__name__ == "ICommand":
            node.execute()
            return
        node.value = requested
        actual = node.value if node.get_access_mode() in READABLE else requested
    except GenericException as error:
        raise FeatureError(
            f"feature {name}: requested {_shown(requested)}, the camera refuses it ({error})"
        ) from error
    if not _same(node, requested, actual):
        raise FeatureError(
            f"feature {name}: requested {_shown(requested)}, the camera made it {_shown(actual)}"
        )


def _same(node: Any, requested: FeatureValue, actual: FeatureValue) -> bool:
    if type(node).__name__ != "IFloat":
        return requested == actual
    # A camera rounds a float to what its clock and converters can do; a step, where it states one.
    step = node.inc if node.has_inc() else 0.0
    return math.isclose(float(requested), float(actual), rel_tol=RELATIVE_TOLERANCE, abs_tol=step)


def _shown(value: FeatureValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else str(value)
