"""Cameras and their features, in tables for people and in JSON for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from partgate_cameras import CameraFeature, ProducerSurvey

_SHOWN_CHOICES = 12


def surveys_json(surveys: "Iterable[ProducerSurvey]") -> list[dict[str, Any]]:
    """Return the producers and their cameras as programs rely on them."""
    return [
        {
            "producer": str(survey.path),
            "problem": survey.problem,
            "cameras": [asdict(device) for device in survey.devices],
        }
        for survey in surveys
    ]


def cameras_table(surveys: "Iterable[ProducerSurvey]") -> Table:
    """Return one line per camera, what a station file needs to choose it among them."""
    made = _table("producer", "serial number", "user-defined name", "vendor", "model", "interface", "access")
    for survey in surveys:
        for device in survey.devices:
            made.add_row(
                *map(
                    Text,
                    (
                        survey.path.name,
                        device.serial_number,
                        device.user_defined_name,
                        device.vendor,
                        device.model,
                        f"{device.interface} {device.tl_type}".strip(),
                        device.access,
                    ),
                )
            )
    return made


def features_json(features: "Iterable[CameraFeature]") -> list[dict[str, Any]]:
    """Return the features as programs rely on them."""
    return [asdict(feature) for feature in features]


def features_table(features: "Sequence[CameraFeature]") -> Table:
    """Return one line per feature: its value now, what it may be, and whether it can be set."""
    made = _table("feature", "access", "kind", "value", "allowed")
    for feature in features:
        value = feature.problem or _value(feature)
        made.add_row(*map(Text, (feature.name, feature.access, feature.kind, value, allowed(feature))))
    return made


def allowed(feature: "CameraFeature") -> str:
    """Return what a feature may be set to, in words; empty where nothing is known."""
    if feature.choices:
        more = len(feature.choices) - _SHOWN_CHOICES
        return ", ".join(feature.choices[:_SHOWN_CHOICES]) + (f" and {more} more" if more > 0 else "")
    if feature.minimum is None and feature.maximum is None:
        return ""
    low, high = (_number(bound) for bound in (feature.minimum, feature.maximum))
    step = f" in steps of {_number(feature.step)}" if feature.step is not None else ""
    return f"{low or 'any'} to {high or 'any'}{step}"


def _value(feature: "CameraFeature") -> str:
    value = feature.value
    if value is None:
        return ""
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"{shown} {feature.unit}".strip()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.12g}"


def _table(*columns: str) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=number == 0)
    return made
