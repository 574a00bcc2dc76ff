"""Producers, cameras and features, found out in processes that are thrown away."""

from pathlib import Path

import pytest

from partgate_cameras import (
    CameraFeature,
    CameraUnavailable,
    find_producers,
    survey_features,
    survey_producer,
)
from partgate_cameras._producers import find_producer
from partgate_station import GenicamCamera

VIKY = find_producer("viky.cti")


def config(**settings: object) -> GenicamCamera:
    return GenicamCamera.model_validate(
        {"kind": "genicam", "camera_id": "top", "producer": "viky.cti"} | settings
    )


def test_the_simulators_cameras_are_found() -> None:
    survey = survey_producer(VIKY)
    assert survey.problem is None
    assert [device.serial_number for device in survey.devices] == ["0", "1", "2"]
    first = survey.devices[0]
    assert (first.model, first.access, first.tl_type) == ("Viky", "free", "Custom")
    assert "All GenTL compatible games" in first.interface


def test_producers_are_found_where_the_variable_says(tmp_path: Path) -> None:
    for name in ("b.cti", "a.cti", "notes.txt"):
        (tmp_path / name).touch()
    found = find_producers({"GENICAM_GENTL64_PATH": f"{tmp_path}:{tmp_path}:"})
    assert found == (tmp_path / "a.cti", tmp_path / "b.cti", VIKY)
    assert find_producers({}) == (VIKY,)


@pytest.mark.parametrize("content", [b"", b"no library"], ids=["empty", "text"])
def test_a_producer_that_cannot_be_loaded_becomes_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.cti").write_bytes(content)
    survey = survey_producer(tmp_path / "broken.cti")
    assert survey.devices == ()
    assert survey.problem is not None
    assert "broken.cti" in survey.problem


def test_a_process_that_does_not_answer_is_ended() -> None:
    survey = survey_producer(VIKY, timeout_s=0.01)
    assert survey.problem == f"producer {VIKY}: no answer in 0.01 s; its process was ended"


def test_a_process_that_crashes_becomes_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr("partgate_cameras._genicam_survey._PROGRAM", crash)
    problem = survey_producer(VIKY).problem
    assert problem is not None
    assert "its process ended with exit code -11" in problem


@pytest.fixture(scope="module")
def features() -> dict[str, CameraFeature]:
    return {feature.name: feature for feature in survey_features(config(features={"Width": 640}))}


def test_a_feature_says_what_it_is_and_may_be(features: dict[str, CameraFeature]) -> None:
    width = features["Width"]
    assert (width.kind, width.access, width.minimum, width.maximum) == ("whole number", "rw", 100, 800)
    assert width.value == 400, "what the file would set is not set"
    rate = features["AcquisitionFrameRate"]
    assert (rate.kind, rate.unit, rate.step) == ("number", "Hz", 1.0)
    assert features["PixelFormat"].choices == ("Mono8", "RGBa8")
    assert features["ChunkModeActive"].value is True
    assert features["AspectRatio"].access == "r"
    assert (features["AspectRatio"].minimum, features["AspectRatio"].maximum) == (None, None), "no bounds"


def test_a_command_has_no_value(features: dict[str, CameraFeature]) -> None:
    command = features["AcquisitionStart"]
    assert (command.kind, command.access, command.value, command.problem) == ("command", "w", None, None)


def test_what_nobody_may_set_is_not_shown(features: dict[str, CameraFeature]) -> None:
    assert "TLParamsLocked" not in features, "invisible"
    assert "ChunkNrBounces" not in features, "not accessible now"


def test_an_error_of_the_process_is_raised_here() -> None:
    with pytest.raises(CameraUnavailable, match="knows no device with serial number '9'"):
        survey_features(config(serial_number="9"))
    with pytest.raises(CameraUnavailable, match=r"no GenTL producer 'none\.cti'"):
        survey_features(config(producer="none.cti"))
