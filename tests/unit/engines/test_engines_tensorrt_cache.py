import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from partgate_engines import BundleNotWritten
from partgate_engines._engine_cache import EngineCache, EngineKey

KEY = EngineKey(
    graph_sha256="a" * 64,
    device="NVIDIA L4",
    capability="8.9",
    driver="580.95.05 (CUDA 13.0)",
    flavour="tensorrt_rtx",
    version="1.7.1.116",
    precision="fp32",
    profile="frames=1/1/1",
)


class Builder:
    """Counts how often it was asked."""

    def __init__(self, content: bytes = b"plan") -> None:
        self.content = content
        self.asked = 0

    def __call__(self) -> bytes:
        self.asked += 1
        return self.content


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engines"


def test_the_second_start_finds_the_engine(folder: Path) -> None:
    build = Builder()
    assert EngineCache(folder).get(KEY, build) == b"plan"
    assert EngineCache(folder).get(KEY, build) == b"plan"
    assert build.asked == 1
    noted = json.loads((folder / f"{KEY.digest}.json").read_text())
    assert noted == {"key": asdict(KEY), "sha256": hashlib.sha256(b"plan").hexdigest()}


@pytest.mark.parametrize("name", [field.name for field in fields(EngineKey)])
def test_any_difference_means_another_engine(folder: Path, name: str) -> None:
    other = replace(KEY, **{name: "other"})
    EngineCache(folder).get(KEY, Builder(b"first"))
    build = Builder(b"second")
    assert EngineCache(folder).get(other, build) == b"second"
    assert build.asked == 1


def _flipped(folder: Path) -> None:
    plan = folder / f"{KEY.digest}.plan"
    plan.write_bytes(b"plaN")


def _cut(folder: Path) -> None:
    (folder / f"{KEY.digest}.plan").write_bytes(b"pl")


def _note_lost(folder: Path) -> None:
    (folder / f"{KEY.digest}.json").unlink()


def _note_damaged(folder: Path) -> None:
    (folder / f"{KEY.digest}.json").write_bytes(b'{"key": {"device"')


def _note_of_another(folder: Path) -> None:
    note = {"key": asdict(replace(KEY, device="H200")), "sha256": hashlib.sha256(b"plan").hexdigest()}
    (folder / f"{KEY.digest}.json").write_text(json.dumps(note))


@pytest.mark.parametrize("damage", [_flipped, _cut, _note_lost, _note_damaged, _note_of_another])
def test_a_damaged_engine_is_compiled_again(folder: Path, damage: Callable[[Path], None]) -> None:
    EngineCache(folder).get(KEY, Builder())
    damage(folder)
    build = Builder()
    assert EngineCache(folder).get(KEY, build) == b"plan"
    assert EngineCache(folder).get(KEY, build) == b"plan"
    assert build.asked == 1


def test_after_an_update_the_reason_is_logged_and_the_old_engine_goes(folder: Path) -> None:
    EngineCache(folder).get(KEY, Builder())
    elsewhere = replace(KEY, device="NVIDIA T4", capability="7.5")
    EngineCache(folder).get(elsewhere, Builder())
    newer = replace(KEY, driver="590.1 (CUDA 13.1)", version="1.8.0")
    with capture_logs() as logs:
        EngineCache(folder).get(newer, Builder())
    stale = [line for line in logs if line["event"] == "engine.stale"]
    assert [line["why"] for line in stale] == [
        "driver was 580.95.05 (CUDA 13.0), is 590.1 (CUDA 13.1), version was 1.7.1.116, is 1.8.0"
    ]
    # Another GPU's engine stays: a machine may have two.
    assert {path.stem for path in folder.glob("*.plan")} == {newer.digest, elsewhere.digest}


def test_a_dropped_engine_is_compiled_again(folder: Path) -> None:
    cache, build = EngineCache(folder), Builder()
    cache.get(KEY, build)
    cache.beside(KEY, ".kernels").write_bytes(b"kernels")
    cache.drop(KEY)
    assert not list(folder.glob(f"{KEY.digest}.[pk]*"))
    cache.get(KEY, build)
    assert build.asked == 2


def test_a_build_that_fails_leaves_nothing(folder: Path) -> None:
    def fail() -> bytes:
        raise RuntimeError("the builder gave up")

    with pytest.raises(RuntimeError):
        EngineCache(folder).get(KEY, fail)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]
    assert EngineCache(folder).get(KEY, Builder()) == b"plan"


def test_two_threads_build_once(folder: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    found: list[bytes] = []

    def slow() -> bytes:
        begun.set()
        assert go_on.wait(30)
        return b"of the first"

    first = threading.Thread(target=lambda: found.append(EngineCache(folder).get(KEY, slow)))
    first.start()
    assert begun.wait(30)
    late = Builder(b"of the second")
    second = threading.Thread(target=lambda: found.append(EngineCache(folder).get(KEY, late)))
    second.start()
    go_on.set()
    first.join(30)
    second.join(30)
    assert found == [b"of the first", b"of the first"]
    assert late.asked == 0


def test_who_waits_too_long_builds_for_himself(folder: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> bytes:
        begun.set()
        assert go_on.wait(30)
        return b"plan"

    first = threading.Thread(target=lambda: EngineCache(folder).get(KEY, hang))
    first.start()
    assert begun.wait(30)
    assert EngineCache(folder, wait_s=0.2).get(KEY, Builder()) == b"plan"
    go_on.set()
    first.join(30)
    assert EngineCache(folder).get(KEY, Builder(b"never")) == b"plan"


IN_A_PROCESS = f"""
import os, sys
from pathlib import Path
from partgate_engines._engine_cache import EngineCache, EngineKey
key = EngineKey(**{asdict(KEY)!r})
"""


def _process(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", IN_A_PROCESS + code, *map(str, arguments)])


def test_processes_that_build_at_once_agree(folder: Path, tmp_path: Path) -> None:
    # Two builds of one graph need not give the same bytes.
    code = """
folder, number, answer = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
answer.write_bytes(EngineCache(folder).get(key, lambda: bytes([number]) * 200_000))
"""
    answers = [tmp_path / str(number) for number in range(3)]
    processes = [_process(code, folder, number, answer) for number, answer in enumerate(answers)]
    assert [process.wait(50) for process in processes] == [0, 0, 0]
    assert len({answer.read_bytes() for answer in answers}) == 1


def test_a_process_that_dies_while_building_gives_its_turn_back(folder: Path) -> None:
    assert _process("EngineCache(Path(sys.argv[1])).get(key, lambda: os._exit(9))", folder).wait(50) == 9
    started = time.monotonic()
    assert EngineCache(folder, wait_s=50).get(KEY, Builder()) == b"plan"
    assert time.monotonic() - started < 40  # it did not wait for the dead


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "engines").write_bytes(b"a file")
    with pytest.raises(BundleNotWritten, match="engines"):
        EngineCache(tmp_path / "engines").get(KEY, Builder())
