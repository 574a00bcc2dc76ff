"""Which GenTL producers, cameras and features there are, found out without touching what streams.

Every question is asked in a process of its own (`_survey_process.py`), which is killed when it takes too
long: a producer that hangs or crashes becomes a sentence.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partgate_cameras import _messages as wire
from partgate_cameras._errors import CameraError, CameraUnavailable
from partgate_cameras._names import shown
from partgate_cameras._producers import search_folders
from partgate_station import FeatureValue, GenicamCamera

TIMEOUT_S = 30.0  # GigE cameras are searched for for seconds, on every network card
# -P: a file of the working directory must not stand in for a module.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    " from partgate_cameras._survey_process import main; main()"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """A camera that a producer knows; a text is empty where the camera says nothing."""

    serial_number: str
    vendor: str
    model: str
    user_defined_name: str
    interface: str
    """The card or port it hangs on, as the producer calls it."""

    tl_type: str
    """`GEV`, `U3V`, `CXP` ...: the transport layer, as GenTL calls it."""

    access: str
    """Whether it can be opened: `free`, `in use`, `not accessible` ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSurvey:
    """A GenTL producer's file, and the cameras behind it."""

    path: Path
    devices: tuple[FoundDevice, ...] = ()
    problem: str | None = None
    """Why it could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFeature:
    """A GenICam feature, as the camera says it is now."""

    name: str
    kind: str
    access: str
    """`r`, `w` or `rw`: whether it can be read and set now."""

    value: FeatureValue | None = None
    minimum: float | None = None
    """None: no bound."""

    maximum: float | None = None
    step: float | None = None
    unit: str = ""
    choices: tuple[str, ...] = ()
    description: str = ""
    problem: str | None = None
    """Why it could not be read."""


def find_producers(environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Return every `.cti` file in the folders of GENICAM_GENTL64_PATH and in the `genicam` package."""
    found = [
        file.absolute() for folder in search_folders(environment) for file in sorted(folder.glob("*.cti"))
    ]
    return tuple(dict.fromkeys(found))


def survey_producer(path: Path, *, timeout_s: float = TIMEOUT_S) -> ProducerSurvey:
    """Load a producer in a process of its own and return the cameras it sees."""
    try:
        told = _ask({"act": "devices", "producer": str(path)}, f"producer {shown(path)}", timeout_s)
    except CameraError as error:
        return ProducerSurvey(path=path, problem=str(error))
    return ProducerSurvey(path=path, devices=tuple(FoundDevice(**device) for device in told))


def survey_features(config: GenicamCamera, *, timeout_s: float = TIMEOUT_S) -> tuple[CameraFeature, ...]:
    """Open a camera in a process of its own and return its features, those in force now.

    Nothing is set: not even the features that the station file names.

    Raises:
        CameraUnavailable: no such producer or device, in use, or no answer in time.
    """
    question = {"act": "features", "camera": config.model_dump(mode="json")}
    told = _ask(question, f"camera {config.camera_id}", timeout_s)
    return tuple(
        CameraFeature(**{**feature, "choices": tuple(feature.get("choices", ()))}) for feature in told
    )


def _ask(question: Mapping[str, Any], what: str, timeout_s: float) -> list[dict[str, Any]]:
    """Return the answer of a new process.

    Raises:
        CameraUnavailable: it crashed, or did not answer in time.
        CameraError: what it raised.
    """
    command = [sys.executable, "-P", "-c", _PROGRAM, json.dumps(sys.path)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module by our own interpreter
            command,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        said = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise CameraUnavailable(f"{what}: no answer in {timeout_s:g} s; its process was ended") from None
    except OSError as error:
        raise CameraUnavailable(f"{what}: no process can be started to ask it ({error})") from error
    except ValueError:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "it said nothing")
        raise CameraUnavailable(
            f"{what}: its process ended with exit code {done.returncode} ({shown(last)})"
        ) from None
    if "answer" not in said:
        raise wire.error_of(wire.NotOpened(error=said["error"], text=said["text"]), camera_id=what)
    answer: list[dict[str, Any]] = said["answer"]
    return answer
