"""Compiled graphs on the CPU: kept between starts, shared in a process, never taken when damaged."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from partgate_engines import Bundle, BundleRefused, OpenVinoOptions
from partgate_engines._engine_cache import EngineCache, EngineKey
from partgate_engines._openvino_device import DeviceConfig
from partgate_engines._openvino_engines import FOLDER, ResidentEngines, engine_for, forget_engines
from partgate_engines._openvino_runtime import OpenVinoRuntime

Draw = Callable[..., NDArray[np.uint8]]
F32 = DeviceConfig()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "graphs"


def start(bundle: Bundle, folder: Path | None, config: DeviceConfig = F32) -> tuple[object, list[str]]:
    """Return what a process that has just started gets, and what it logs."""
    with capture_logs() as logs:
        engine = engine_for(bundle, config, folder, ResidentEngines(), with_map=False)
    return engine, [entry["event"] for entry in logs]


def plan(folder: Path) -> Path:
    plans = (folder / FOLDER).glob("*.plan")
    (found,) = (path for path in plans if "map=False" in path.with_suffix(".json").read_text())
    return found


def score(bundle: Bundle, folder: Path, frame: NDArray[np.uint8]) -> float:
    options = OpenVinoOptions(engines=folder, precision="f32")
    runtime = OpenVinoRuntime(bundle, options, resident=ResidentEngines())
    found = runtime.judge(frame).score
    runtime.close()
    return found


def test_the_second_start_compiles_nothing_and_says_the_same(
    bundle: Bundle, folder: Path, draw: Draw
) -> None:
    first = score(bundle, folder, draw(3, defect=True))
    assert start(bundle, folder)[1] == []
    assert score(bundle, folder, draw(3, defect=True)) == first
    assert plan(folder).stat().st_size > 100_000


def test_another_bundle_with_the_same_graph_takes_the_same_engine(bundle: Bundle, folder: Path) -> None:
    start(bundle, folder)
    other = replace(bundle, manifest=bundle.manifest.model_copy(update={"product": "other"}), id="f" * 64)
    assert start(other, folder)[1] == []


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _overwritten(path: Path) -> None:
    # Of the weights: OpenVINO loads such an engine without a word, and it judges wrongly.
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50] = b"\xff" * 50
    path.write_bytes(bytes(content))


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _without_note(path: Path) -> None:
    path.with_suffix(".json").unlink()


def _with_another_note(path: Path) -> None:
    note = json.loads(path.with_suffix(".json").read_text())
    note["key"]["precision"] = "bf16"
    path.with_suffix(".json").write_text(json.dumps(note))


DAMAGE = {
    "truncated": _truncated,
    "overwritten": _overwritten,
    "empty": _emptied,
    "no note": _without_note,
    "another's note": _with_another_note,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_engine_is_compiled_again(
    damage: Callable[[Path], None], bundle: Bundle, folder: Path, draw: Draw
) -> None:
    expected = score(bundle, folder, draw(3, defect=True))
    damage(plan(folder))
    assert "engine.build" in start(bundle, folder)[1]
    assert start(bundle, folder)[1] == [], "and is whole from then on"
    assert score(bundle, folder, draw(3, defect=True)) == expected


def test_an_engine_that_openvino_does_not_take_is_dropped(bundle: Bundle, folder: Path) -> None:
    start(bundle, folder)
    note = plan(folder).with_suffix(".json")
    key = EngineKey(**json.loads(note.read_text())["key"])
    kept = EngineCache(folder / FOLDER)
    kept.drop(key)
    kept.get(key, lambda: b"no engine, and the hash is right")
    engine, events = start(bundle, folder)
    assert engine is not None
    assert events == ["engine.refused"]
    assert not plan_exists(folder)
    assert "engine.built" in start(bundle, folder)[1]


def plan_exists(folder: Path) -> bool:
    return any((folder / FOLDER).glob("*.plan"))


@pytest.mark.parametrize(
    "config",
    [DeviceConfig(precision="bf16"), DeviceConfig(streams=2), DeviceConfig(threads=1)],
    ids=["precision", "streams", "threads"],
)
def test_another_configuration_is_another_engine(config: DeviceConfig, bundle: Bundle, folder: Path) -> None:
    start(bundle, folder)
    assert "engine.build" in start(bundle, folder, config)[1]
    assert len(list((folder / FOLDER).glob("*.plan"))) == 2


def test_an_engine_of_another_version_or_machine_is_not_taken(
    bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(bundle, folder)
    monkeypatch.setattr("partgate_engines._openvino_engines.processor_features", lambda: "another")
    assert "engine.build" in start(bundle, folder)[1]
    monkeypatch.setattr("partgate_engines._openvino_engines.COMPILED", 0)
    assert "engine.build" in start(bundle, folder)[1]


def test_a_folder_that_cannot_be_written_costs_only_time(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    engine, events = start(bundle, tmp_path / "file")
    assert engine is not None
    assert events == ["engine.not_kept"]


def test_a_graph_that_was_changed_is_not_compiled(bundle: Bundle, folder: Path) -> None:
    bundle.graph.write_bytes(bundle.graph.read_bytes() + b"\0")
    with pytest.raises(BundleRefused, match="changed or damaged"):
        start(bundle, folder)
    assert not plan_exists(folder)


def test_processes_that_start_at_once_agree(bundle: Bundle, folder: Path, draw: Draw) -> None:
    code = f"""
import numpy as np
from pathlib import Path
from partgate_engines import Bundle, OpenVinoOptions, open_runtime
bundle = Bundle.open(Path({str(bundle.folder)!r}), trusted=None)
options = OpenVinoOptions(precision="f32")
runtime = open_runtime(bundle, "openvino", engines=Path({str(folder)!r}), openvino=options)
print(repr(runtime.judge(np.full((96, 80), 77, np.uint8)).score))
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    said = [process.communicate(timeout=50)[0].splitlines()[-1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert float(said[0]) == score(bundle, folder, np.full((96, 80), 77, np.uint8))
    assert len(set(said)) == 1
    assert plan_exists(folder)


def key(number: int) -> EngineKey:
    return EngineKey(**{field.name: str(number) for field in fields(EngineKey)})


def test_a_graph_is_compiled_once_in_a_process(bundle: Bundle) -> None:
    resident = ResidentEngines()
    first, again, alone = (
        engine_for(bundle, F32, None, resident, with_map=with_map) for with_map in (True, True, False)
    )
    assert first is again
    assert {name for output in alone.outputs for name in output.names} == {"score", "features"}
    assert {name for output in first.outputs for name in output.names} == {"anomaly_map"}


def test_no_more_engines_than_allowed_are_resident_and_the_oldest_goes() -> None:
    resident = ResidentEngines(most=2)
    made: list[int] = []

    def ask(number: int) -> None:
        def make() -> int:
            made.append(number)
            return number

        assert resident.get(key(number), make) == number

    for number in (1, 2, 1, 3, 1, 2):
        ask(number)
    assert made == [1, 2, 3, 2], "1 was asked for again before 3 came, so 2 went"


def test_a_graph_that_cannot_be_compiled_leaves_nothing_behind() -> None:
    resident = ResidentEngines()

    def fail() -> object:
        raise BundleRefused("changed")

    with pytest.raises(BundleRefused):
        resident.get(key(1), fail)
    assert resident.get(key(1), lambda: "made") == "made"


def test_a_graph_that_answered_wrongly_is_compiled_anew(bundle: Bundle, folder: Path) -> None:
    resident = ResidentEngines()
    wrong = engine_for(bundle, F32, folder, resident, with_map=True)
    forget_engines("0" * 64, folder, resident)
    assert engine_for(bundle, F32, folder, resident, with_map=True) is wrong
    forget_engines(bundle.manifest.graph_sha256, folder, resident)
    assert not plan_exists(folder)
    assert engine_for(bundle, F32, folder, resident, with_map=True) is not wrong


@pytest.mark.parametrize("config", [F32, DeviceConfig(threads=1)], ids=["same", "threads"])
def test_what_another_process_kept_is_forgotten_as_well(
    config: DeviceConfig, bundle: Bundle, folder: Path
) -> None:
    start(bundle, folder, config)
    forget_engines("0" * 64, folder, ResidentEngines())
    assert plan_exists(folder)
    forget_engines(bundle.manifest.graph_sha256, folder, ResidentEngines(), runtime="tensorrt")
    assert plan_exists(folder), "another runtime's answers say nothing of it"
    forget_engines(bundle.manifest.graph_sha256, folder, ResidentEngines())
    assert not plan_exists(folder)


def test_engines_of_tensorrt_are_forgotten_where_they_lie(folder: Path) -> None:
    cache = EngineCache(folder)
    for number in (1, 2):
        cache.get(key(number), lambda: b"a plan")
    (folder / "note.json").write_text("[]")
    forget_engines("1", folder, ResidentEngines(), runtime="tensorrt")
    assert cache.of_graph("1") == ()
    assert cache.of_graph("2") == (key(2),)
