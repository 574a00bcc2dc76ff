"""The process that a survey is made in: loads producers, asks devices, answers once, and ends.

A process of its own and for one question, because discovery ends the streams of the process it is made
in (harvesters issue 475), a producer that was loaded leaves memory and state behind (issues 399, 502),
and some crash while they are loaded or unloaded (issue 47).
"""

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from partgate_cameras._features import READABLE, WRITABLE
from partgate_cameras._gentl_device import open_device
from partgate_cameras._gentl_errors import mapped
from partgate_cameras._producers import Producer, find_producer
from partgate_station import GenicamCamera, PartgateError

STDOUT, STDERR = 1, 2
# What GenTL calls the six DEVICE_ACCESS_STATUS values, in words.
_ACCESS = (
    "unknown",
    "free",
    "read only",
    "not accessible",
    "in use",
    "in use here",
    "in use here, read only",
)
_KINDS: Mapping[str, str] = {
    "IBoolean": "true or false",
    "ICommand": "command",
    "IEnumeration": "choice",
    "IFloat": "number",
    "IInteger": "whole number",
    "IString": "text",
}
_UNBOUNDED = (1e38, 2**63 - 1)  # a float's and an integer's limit that is none
_INVISIBLE = 3  # GenApi's visibility of what no person is meant to set


def main() -> None:
    """Answer the question on standard input with one JSON object on standard output."""
    answer = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)  # some producers print; what they print is not the answer
    question = json.load(sys.stdin)
    try:
        said: dict[str, Any] = {"answer": _ACTS[question.pop("act")](**question)}
    except PartgateError as error:
        said = {"error": type(error).__name__, "text": str(error)}
    with os.fdopen(answer, "w", encoding="utf-8") as stream:
        json.dump(said, stream)
    os._exit(0)  # past the finalizers of native libraries: some crash there, after all is said


def _devices(producer: str) -> list[dict[str, Any]]:
    loaded = Producer.acquire(Path(producer))
    with mapped(f"producer {producer}"):
        return [_device(info.property_dict) for info in loaded.harvester.device_info_list]


def _device(told: Mapping[str, Any]) -> dict[str, Any]:
    names = ("serial_number", "vendor", "model", "user_defined_name", "tl_type")
    status = told.get("access_status") or 0
    return {
        **{name: str(told.get(name) or "") for name in names},
        "interface": _interface(told.get("parent")),
        "access": _ACCESS[status] if 0 <= status < len(_ACCESS) else f"status {status}",
    }


def _interface(interface: Any) -> str:
    from genicam.gentl import GenericException

    try:
        return str(interface.display_name or interface.id_)
    except (GenericException, AttributeError):  # the producer does not say
        return ""


def _features(camera: dict[str, Any]) -> list[dict[str, Any]]:
    config = GenicamCamera.model_validate(camera)
    with mapped(f"camera {config.camera_id}"):
        producer = Producer.acquire(find_producer(config.producer))
        with open_device(producer.harvester, config, on_incomplete=lambda: None) as (acquirer, _):
            return list(_read_all(acquirer.remote_device.node_map))


def _read_all(node_map: Any) -> Iterator[dict[str, Any]]:
    from genicam.genapi import GenericException

    for node in node_map.nodes:
        kind, mode = _KINDS.get(type(node).__name__), node.get_access_mode()
        hidden = not node.node.is_feature() or node.node.visibility == _INVISIBLE
        if kind is None or hidden or mode not in {*READABLE, *WRITABLE}:
            continue
        feature = {
            "name": node.node.name,
            "kind": kind,
            "access": _access(mode),
            "description": node.node.tooltip or node.node.description or "",
        }
        try:
            yield {**feature, **(_content(node) if mode in READABLE else {})}
        except GenericException as error:  # one feature that cannot be read must not hide the others
            yield {**feature, "problem": f"{type(error).__name__}: {str(error).splitlines()[0]}"}


def _access(mode: int) -> str:
    return ("r" if mode in READABLE else "") + ("w" if mode in WRITABLE else "")


def _content(node: Any) -> dict[str, Any]:
    match type(node).__name__:
        case "IInteger":
            return {**_number(node), "step": node.inc if node.inc > 1 else None}
        case "IFloat":
            return {**_number(node), "step": _finite(node.inc) if node.has_inc() else None}
        case "IEnumeration":
            return {"value": node.value, "choices": sorted(node.symbolics)}
        case "ICommand":
            return {}
        case _:
            return {"value": node.value}


def _number(node: Any) -> dict[str, Any]:
    return {
        "value": _finite(node.value),
        "minimum": _bound(node.min),
        "maximum": _bound(node.max),
        "unit": node.unit or "",
    }


def _bound(value: float) -> float | None:
    return None if abs(value) >= (_UNBOUNDED[isinstance(value, int)]) else _finite(value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_ACTS: Mapping[str, Callable[..., list[dict[str, Any]]]] = {"devices": _devices, "features": _features}
