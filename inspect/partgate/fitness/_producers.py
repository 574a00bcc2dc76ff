"""GenTL producers: what GenICam cameras are reached through."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from partgate.fitness._check import Check, note, ok
from partgate_cameras import ProducerSurvey, find_producers, survey_producer

VARIABLE = "GENICAM_GENTL64_PATH"
SIMULATOR = "viky.cti"


def producers(
    *,
    streaming: bool,
    environment: Mapping[str, str] = os.environ,
    survey: Callable[[Path], ProducerSurvey] = survey_producer,
) -> Iterator[Check]:
    """Say which producers there are, and how many cameras each sees.

    Args:
        streaming: a station runs: then producers are named and not loaded, since looking for cameras
            may disturb those that stream.
        environment: whose GENICAM_GENTL64_PATH counts.
        survey: loads one and looks.
    """
    yield from _folders_that_are_not(environment)
    found = find_producers(environment)
    if not [path for path in found if path.name != SIMULATOR]:
        advice = f"for a GenICam camera install its maker's GenTL producer and set {VARIABLE}"
        yield note("gentl producers", "none but the simulator" if found else "none", advice)
    for path in found:
        yield ok(f"gentl {path.name}", f"{path}; a station runs") if streaming else _seen(survey(path))


def _folders_that_are_not(environment: Mapping[str, str]) -> Iterator[Check]:
    folders = [folder for folder in environment.get(VARIABLE, "").split(os.pathsep) if folder]
    for folder in folders:
        if not Path(folder).is_dir():
            yield note(VARIABLE, f"{folder}: no such folder", "mend the variable")


def _seen(survey: ProducerSurvey) -> Check:
    name = f"gentl {survey.path.name}"
    if survey.problem is not None:
        return note(name, survey.problem, "install it anew, with what its maker says it needs")
    cameras = [f"{device.model} {device.serial_number}".strip() for device in survey.devices]
    return ok(name, f"{survey.path}: {', '.join(cameras) or 'no camera'}")
