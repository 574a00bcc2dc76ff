"""Reading station files and recipes, and saying all that is wrong with one in a person's words."""

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from partgate_station._device_check import device_problems
from partgate_station._errors import ConfigError, MissingInput
from partgate_station._near import did_you_mean
from partgate_station._recipe import RecipeSettings
from partgate_station._secrets import masked, readable_by_others, secrets_in
from partgate_station._station import (
    SCHEMA_VERSION,
    Camera,
    CameraTrigger,
    ContinuousTrigger,
    DigitalInputTrigger,
    FolderCamera,
    GenicamCamera,
    IntervalTrigger,
    SimulatedOutput,
    StationConfig,
    VirtualCamera,
    WithoutOutput,
)
from partgate_station._trigger_check import trigger_problems
from partgate_station._video import VideoCamera

M = TypeVar("M", bound=BaseModel)

# The models a key may belong to, for "did you mean": a union's branch is named by its `kind`.
_BRANCHES: Mapping[str, type[BaseModel]] = {
    "camera": CameraTrigger,
    "continuous": ContinuousTrigger,
    "digital_input": DigitalInputTrigger,
    "folder": FolderCamera,
    "genicam": GenicamCamera,
    "interval": IntervalTrigger,
    "none": WithoutOutput,
    "simulator": SimulatedOutput,
    "video": VideoCamera,
    "virtual": VirtualCamera,
}


def load_station(path: Path) -> StationConfig:
    """Read a station file.

    Paths in it become absolute, counted from the file's folder.

    Raises:
        MissingInput: there is no such file.
        ConfigError: it is not TOML, not UTF-8, of a newer schema, or says something that is not
            allowed; all of it is named at once. Or everybody may read a password: in it, or in a
            file that it names.
    """
    path = path.expanduser().absolute()
    document = _parse(path, StationConfig)
    _check_schema(path, document)
    station = _validate(path, document, StationConfig)
    station = _with_absolute_paths(station, path.parent)
    problems = [
        *_same_camera_twice(station),
        *device_problems(station),
        *_unusable_folders(station),
        *trigger_problems(station),
        *_open_secrets(path, document, station),
    ]
    if problems:
        raise ConfigError([f"{path.name}: {problem}" for problem in problems])
    return station


def load_recipe(path: Path) -> RecipeSettings:
    """Read a recipe file: what a person sets before the product is learned.

    Raises:
        MissingInput: there is no such file.
        ConfigError: as for `load_station`.
    """
    path = path.expanduser().absolute()
    return _validate(path, _parse(path, RecipeSettings), RecipeSettings)


def _parse(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise MissingInput(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    text = _decode(path, raw)
    if not text.strip():
        required = [name for name, field in model.model_fields.items() if field.is_required()]
        needs = (
            f"needs at least: {', '.join(required)}" if required else "delete it or write settings into it"
        )
        raise ConfigError(f"{path.name}: the file is empty; it {needs}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path.name}{_position(str(error))}: invalid TOML: {_lower_first(str(error))}"
        ) from error


def _decode(path: Path, raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or raw[1:2] == b"\0" or raw[:1] == b"\0":
        raise ConfigError(f"{path.name}: not UTF-8 (looks like UTF-16); save it as UTF-8")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path.name}:{line}: not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8"
        ) from error


def _position(message: str) -> str:
    """Turn tomllib's "(at line 12, column 9)" into ":12:9"."""
    found = re.search(r"\(at line (\d+), column (\d+)\)", message)
    return f":{found[1]}:{found[2]}" if found else ""


def _lower_first(message: str) -> str:
    text = re.sub(r"\s*\(at [^)]*\)$", "", message)
    return text[:1].lower() + text[1:]


def _check_schema(path: Path, document: Mapping[str, Any]) -> None:
    version = document.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path.name}: schema_version: schema {version} is newer than this program ({SCHEMA_VERSION});"
            " update partgate"
        )


def _validate(path: Path, document: Mapping[str, Any], model: type[M]) -> M:
    # JSON is pydantic's strict mode for files: a list may become a tuple, a text never a number.
    try:
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        problems = [f"{path.name}: {_in_words(item, model)}" for item in error.errors() if not _follows(item)]
        raise ConfigError(problems) from error


def _follows(error: Any) -> bool:
    """Return whether an error only follows from others: a list is too short without its wrong entries."""
    return bool(error["type"] == "too_short" and len(error["input"]) > error["ctx"]["actual_length"])


def _in_words(error: Any, model: type[BaseModel]) -> str:
    """Say one pydantic error as `where: what it is, what is allowed`."""
    where, value, context = _dotted(error["loc"]), error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            *outer, key = error["loc"]
            said = f": unknown setting{did_you_mean(str(key), _known_keys(outer, model))}"
        case "missing":
            said = ": required, but not there"
        case "finite_number":
            said = f": {value} is not allowed; expected a finite number"
        case "union_tag_not_found":
            said = ".kind: required, but not there"
        case "union_tag_invalid":
            said = f".kind: got {_shown(context['tag'])}, expected one of {context['expected_tags']}"
        case "value_error":
            said = f": {context['error']}"
        case _:
            message = error["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            said = f": got {_shown(value)}, expected {_lower_first(message)}"
    return where + said


def _dotted(loc: Sequence[str | int]) -> str:
    """Return `cameras[0].features` for `("cameras", 0, "genicam", "features")`."""
    text = ""
    for before, here in zip((None, *loc), loc, strict=False):
        if isinstance(here, int):
            text += f"[{here}]"
        elif here in _BRANCHES and (isinstance(before, int) or before in {"trigger", "output"}):
            continue  # a union's branch stands in pydantic's location, not in the file
        else:
            text += f".{here}" if text else here
    return text or "file"


def _shown(value: object) -> str:
    return masked(json.dumps(value, default=str, ensure_ascii=False))


def _known_keys(loc: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    for step in reversed(loc):
        if step in _BRANCHES:
            return list(_BRANCHES[str(step)].model_fields)
    for step in loc:
        field = model.model_fields.get(str(step))
        if field is None:
            continue
        candidates = (field.annotation, *getattr(field.annotation, "__args__", ()))
        nested = next((a for a in candidates if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if nested is not None:
            model = nested
    return list(model.model_fields)


def _with_absolute_paths(station: StationConfig, base: Path) -> StationConfig:
    cameras = tuple(camera.model_copy(update=_absolute(camera, base)) for camera in station.cameras)
    return station.model_copy(update={"cameras": cameras})


def _absolute(camera: Camera, base: Path) -> dict[str, Any]:
    """Return a camera's settings that are paths, counted from the file's folder."""
    if isinstance(camera, FolderCamera):
        return {"folder": (base / camera.folder.expanduser()).resolve()}
    paths: dict[str, Any] = {}
    if isinstance(camera, VideoCamera) and not camera.is_live:
        paths["source"] = str((base / Path(camera.source).expanduser()).resolve())
    if isinstance(camera, VideoCamera) and camera.password_file is not None:
        paths["password_file"] = (base / camera.password_file.expanduser()).resolve()
    return paths


def _same_camera_twice(station: StationConfig) -> list[str]:
    ids = station.camera_ids
    return [
        f"cameras[{number}].camera_id: '{camera_id}' is already"
        f" the camera_id of cameras[{ids.index(camera_id)}]"
        for number, camera_id in enumerate(ids)
        if ids.index(camera_id) < number
    ]


def _unusable_folders(station: StationConfig) -> list[str]:
    problems = [*_unusable_files(station)]
    for number, camera in enumerate(station.cameras):
        if not isinstance(camera, FolderCamera):
            continue
        where, folder = f"cameras[{number}].folder", camera.folder
        if not folder.exists():
            problems.append(f"{where}: {folder} does not exist")
        elif not folder.is_dir():
            problems.append(f"{where}: {folder} is a file, expected a folder")
        elif not os.access(folder, os.R_OK | os.X_OK):
            problems.append(f"{where}: {folder} cannot be read: permission to read and enter it is missing")
    return problems


def _unusable_files(station: StationConfig) -> Iterator[str]:
    for number, camera in enumerate(station.cameras):
        if not isinstance(camera, VideoCamera):
            continue
        files = {} if camera.is_live else {"source": Path(camera.source)}
        if camera.password_file is not None:
            files["password_file"] = camera.password_file
        for name, file in files.items():
            if not file.is_file():
                yield f"cameras[{number}].{name}: {file} is {'a folder' if file.is_dir() else 'not there'}"
            elif not os.access(file, os.R_OK):
                yield f"cameras[{number}].{name}: {file} cannot be read: permission to read it is missing"


def _open_secrets(path: Path, document: Mapping[str, Any], station: StationConfig) -> Iterator[str]:
    mode = readable_by_others(path)
    for where in () if mode is None else secrets_in(document):
        yield (
            f"{where} contains a password and the file is readable by others (mode {mode});"
            f" chmod 600 {path}, or keep the password in a password_file"
        )
    for number, camera in enumerate(station.cameras):
        file = getattr(camera, "password_file", None)
        if file is not None and file.is_file() and (mode := readable_by_others(file)) is not None:
            yield (
                f"cameras[{number}].password_file: {file} is readable by others (mode {mode});"
                f" chmod 600 {file}"
            )
