"""What is said of a machine: each fact from a table, and the facts of the one the tests run on."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain, repeat
from pathlib import Path

import pytest

from disks import GIB, disk_of
from partgate.fitness import Check, State, examine, exit_code
from partgate.fitness import _clock as clocks
from partgate.fitness import _disk as disks
from partgate.fitness import _home as homes
from partgate.fitness import _processor as processors
from partgate.fitness import _producers as gentl
from partgate.fitness import _runtimes as runtimes
from partgate.fitness._check import about, looked, looked_within, note, ok, refused, unfit
from partgate.records import Database, Home, Keys, Room
from partgate_cameras import FoundDevice, ProducerSurvey
from partgate_engines import GroupLimits, RuntimeChoice, group_limits
from partgate_station import ConfigError, MissingInput

NO_LIMITS = GroupLimits(cores=None, memory_bytes=None)


def state(checks: Iterable[Check]) -> str:
    (check,) = checks
    assert check.advice or check.state is State.OK, "what is not ok says what to do"
    return check.state.value


def meminfo(free: int) -> str:
    return f"MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:   {free // 1024} kB\n"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(processors.memory(meminfo(8 * GIB), NO_LIMITS), "ok", id="memory"),
        pytest.param(processors.memory(meminfo(GIB), NO_LIMITS), "note", id="little memory"),
        pytest.param(processors.memory(meminfo(GIB // 4), NO_LIMITS), "unfit", id="no memory"),
        pytest.param(
            processors.memory(meminfo(8 * GIB), GroupLimits(cores=None, memory_bytes=GIB // 4)),
            "unfit",
            id="no memory in the group",
        ),
        pytest.param(processors.cores(4, NO_LIMITS), "ok", id="cores"),
        pytest.param(processors.cores(1, NO_LIMITS), "note", id="one core"),
        pytest.param(processors.cores(8, GroupLimits(cores=1.5, memory_bytes=None)), "note", id="a quota"),
        pytest.param(processors.processor("model name : X\nflags : sse avx2 amx_bf16"), "ok", id="processor"),
        pytest.param(processors.processor("model name : X\nflags : sse4_2"), "note", id="without AVX2"),
        pytest.param(processors.processor(""), "ok", id="a processor that tells no flags"),
        pytest.param(homes.open_files(4096), "ok", id="files"),
        pytest.param(homes.open_files(-1), "ok", id="files without limit"),
        pytest.param(homes.open_files(512), "note", id="few files"),
        pytest.param(homes.open_files(64), "unfit", id="too few files"),
    ],
)
def test_a_fact_has_its_state(found: Iterable[Check], expected: str) -> None:
    assert state(found) == expected


@pytest.mark.parametrize(
    ("facts", "states"),
    [
        pytest.param({}, ["ok", "ok"], id="right"),
        pytest.param({"synchronised": None}, ["ok", "ok"], id="not known"),
        pytest.param({"synchronised": False}, ["note", "ok"], id="not synchronised"),
        pytest.param({"now": datetime(1970, 1, 1, tzinfo=UTC)}, ["unfit", "ok"], id="1970"),
        pytest.param({"resolution_s": 0.016}, ["ok", "unfit"], id="coarse"),
    ],
)
def test_the_clock(facts: dict[str, object], states: list[str]) -> None:
    right: dict[str, object] = {
        "now": datetime(2026, 6, 1, tzinfo=UTC), "synchronised": True, "resolution_s": 1e-9, "source": "tsc",
    }  # fmt: skip
    found = list(clocks.clock(clocks.ClockFacts(**{**right, **facts})))  # type: ignore[arg-type]
    assert [check.state.value for check in found] == states


def test_the_flags_that_tell_are_named() -> None:
    (check,) = processors.processor("model name\t: Xeon\nflags\t\t: fpu avx2 avx512f amx_tile\n")
    assert check.value == "Xeon with avx2, avx512f, amx_tile"


@pytest.mark.parametrize(
    ("names", "expected"), [(["performance"], "ok"), (["performance", "powersave"], "note")]
)
def test_a_governor_that_saves_power_is_noted(tmp_path: Path, names: list[str], expected: str) -> None:
    for number, name in enumerate(names):
        folder = tmp_path / f"cpu{number}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    assert state(processors.governor(tmp_path)) == expected
    assert list(processors.governor(tmp_path / "none")) == []


def test_the_tightest_group_counts(tmp_path: Path) -> None:
    inner = tmp_path / "sys" / "station.slice" / "line1"
    inner.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/station.slice/line1\n")
    (inner / "cpu.max").write_text("max 100000\n")
    (inner.parent / "cpu.max").write_text("150000 100000\n")
    (inner / "memory.max").write_text("1073741824\n")
    (inner.parent / "memory.max").write_text("max\n")
    assert group_limits(tmp_path / "cgroup", tmp_path / "sys") == GroupLimits(cores=1.5, memory_bytes=GIB)


def test_groups_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "sys" / "cpu" / "job").mkdir(parents=True)
    (tmp_path / "sys" / "memory" / "job").mkdir(parents=True)
    (tmp_path / "cgroup").write_text("2:cpu:/job\n1:memory:/job\nnot a line\n")
    (tmp_path / "sys" / "cpu" / "job" / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "sys" / "cpu" / "job" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "sys" / "memory" / "job" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert group_limits(tmp_path / "cgroup", tmp_path / "sys") == GroupLimits(cores=0.5, memory_bytes=None)


def test_no_groups_no_limits(tmp_path: Path) -> None:
    assert group_limits(tmp_path / "none", tmp_path) == NO_LIMITS


@pytest.mark.parametrize(
    ("rows", "images", "found"),
    [
        (disk_of(500 * GIB), None, [("disk space", "ok")]),
        (disk_of(5 * GIB), None, [("disk space", "note")]),
        (disk_of(GIB), None, [("disk space", "note")]),
        (disk_of(GIB // 5), None, [("disk space", "unfit")]),
        (disk_of(500 * GIB, free_files=50_000), None, [("disk space", "ok"), ("disk files", "note")]),
        (
            disk_of(GIB),
            disk_of(500 * GIB, device=2),
            [("disk space", "note"), ("disk space of images", "ok")],
        ),
        (
            disk_of(500 * GIB),
            disk_of(0, device=2),
            [("disk space", "ok"), ("disk space of images", "note")],
        ),
        (
            disk_of(500 * GIB),
            disk_of(500 * GIB, device=2, free_files=7),
            [("disk space", "ok"), ("disk space of images", "note"), ("disk files of images", "note")],
        ),
    ],
)
def test_every_disk_is_looked_at_once(
    rows: Room, images: Room | None, found: list[tuple[str, str]], tmp_path: Path
) -> None:
    home = Home.open(tmp_path / "home")
    checks = list(
        disks.room(home, lambda path: images if images and path.name in {"images", "maps"} else rows)
    )
    assert [(check.name, check.state.value) for check in checks] == found
    assert all(check.advice for check in checks if check.state is not State.OK)
    said = {check.name: check.value for check in checks}
    if images is not None and images.free_files == 7:
        assert "files (inodes)" in said["disk space of images"]


def test_the_disks_of_a_home_that_is_not_made_yet(tmp_path: Path) -> None:
    (check, *_) = disks.room(Home(path=tmp_path / "a" / "b"))
    assert check.name == "disk space"


@pytest.mark.parametrize(("step_s", "expected"), [(0.001, "ok"), (0.2, "note")])
def test_a_slow_disk_is_noted(tmp_path: Path, step_s: float, expected: str) -> None:
    clock_s = chain.from_iterable(zip(repeat(0.0), repeat(step_s)))
    assert state(disks.syncs(tmp_path, lambda: next(clock_s))) == expected
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


CPU = RuntimeChoice(kind="openvino", usable=True, why="on the CPU")
NO_GPU = RuntimeChoice(kind="tensorrt", usable=False, why="PyCUDA is not installed; install pycuda")


def test_which_runtime_auto_takes_and_what_the_other_lacks() -> None:
    taken, other = runtimes.runtimes([NO_GPU, CPU])
    assert (taken.state, taken.value) == (State.OK, "auto takes openvino, on the CPU")
    assert other.state is State.NOTE
    assert "install pycuda" in other.advice


def test_no_runtime_is_unfit() -> None:
    gone = RuntimeChoice(kind="openvino", usable=False, why="openvino is not installed")
    (check,) = runtimes.runtimes([NO_GPU, gone])
    assert (check.state, check.exit_code) == (State.UNFIT, 69)
    assert "install pycuda" in check.advice
    assert "openvino is not installed" in check.advice


def test_a_gpu_is_named_with_its_driver(tmp_path: Path) -> None:
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA L4\nIRQ: 5\n")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module 590.48\nGCC 12\n")
    first = next(iter(runtimes.gpu(tmp_path)))
    assert first.value == "NVIDIA L4; driver NVIDIA UNIX x86_64 Kernel Module 590.48"
    assert state(runtimes.gpu(tmp_path / "none")) == "ok"


def test_what_learning_lacks_is_named() -> None:
    (check,) = runtimes.learning(("no_such_package", "json"))
    assert check.state is State.NOTE
    assert "no_such_package missing" in check.value


def camera(serial: str) -> FoundDevice:
    return FoundDevice(
        serial_number=serial, vendor="V", model="M", user_defined_name="", interface="", tl_type="", access=""
    )


def test_producers_are_asked_for_their_cameras(tmp_path: Path) -> None:
    for name in ("good.cti", "bad.cti"):
        (tmp_path / name).touch()
    environment = {"GENICAM_GENTL64_PATH": f"{tmp_path}:{tmp_path / 'gone'}"}

    def survey(path: Path) -> ProducerSurvey:
        if path.name == "bad.cti":
            return ProducerSurvey(path=path, problem="producer bad.cti cannot be loaded")
        return ProducerSurvey(path=path, devices=(camera("12"), camera("13")))

    found = {c.name: c for c in gentl.producers(streaming=False, environment=environment, survey=survey)}
    assert found["GENICAM_GENTL64_PATH"].value == f"{tmp_path / 'gone'}: no such folder"
    assert found["gentl good.cti"].value.endswith("good.cti: M 12, M 13")
    assert found["gentl bad.cti"].state is State.NOTE
    assert "gentl producers" not in found


def test_producers_are_left_alone_while_a_station_runs() -> None:
    def survey(path: Path) -> ProducerSurvey:
        raise AssertionError(f"{path} was loaded")

    found = list(gentl.producers(streaming=True, environment={}, survey=survey))
    assert [check.name for check in found] == ["gentl producers", "gentl viky.cti"]


def test_a_home_before_during_and_after(tmp_path: Path) -> None:
    home = Home(path=tmp_path / "new" / "home")
    assert state(homes.folder(home)) == "note"
    assert homes.ground(home) == tmp_path
    assert state(homes.keys(home)) == "note"
    assert not home.path.exists(), "nobody made it"
    opened = Home.open(home.path)
    Database.open(opened).close()
    Keys(opened).signer()
    assert state(homes.folder(home)) == "ok"
    assert state(homes.keys(home)) == "ok"
    with opened.lock("station-line1"):
        (check,) = homes.stations(home)
        assert "'line1' runs (pid" in check.value
    (check,) = homes.stations(home)
    assert check.value == "none runs"
    home.database_path.unlink()
    (check,) = homes.folder(home)
    assert (check.state, check.exit_code) == (State.UNFIT, 66)


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (check,) = homes.folder(Home(path=tmp_path / "file"))
    assert (check.state, check.exit_code) == (State.UNFIT, 73)


def test_a_key_that_others_may_read_is_unfit(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    Database.open(home).close()
    Keys(home).signer()
    (home.keys_path / "signing.pem").chmod(0o644)
    (check,) = looked("trusted signers", lambda: homes.keys(home))
    assert (check.name, check.state, check.exit_code) == ("trusted signers", State.UNFIT, 65)
    assert "chmod 600" in check.value


def refuse(error: Exception) -> Iterable[Check]:
    yield ok("before", "found")
    raise error


def refuse_about(name: str) -> Iterable[Check]:
    yield ok("before", "found")
    with about(name):
        raise MissingInput("x.pem: no such file")


def test_an_error_becomes_a_check_and_hides_nothing() -> None:
    before, after = looked("disk", lambda: refuse(ConfigError("no")))
    assert (before.state, after) == (State.OK, refused("disk", ConfigError("no")))
    _, named = looked("disk", lambda: refuse_about("key"))
    assert (named.name, named.exit_code) == ("key", 66)
    _, bug = looked("disk", lambda: refuse(ZeroDivisionError("by zero")))
    assert (bug.state, bug.value) == (State.NOTE, "could not be looked at (ZeroDivisionError: by zero)")


def test_what_hangs_is_unfit_and_not_waited_for() -> None:
    let_go = threading.Event()

    def hang() -> Iterable[Check]:
        let_go.wait(30)
        yield ok("gpu", "late")

    (check,) = looked_within(0.05, "gpu", hang)
    let_go.set()
    assert (check.state, check.exit_code) == (State.UNFIT, 69)
    assert looked_within(30, "gpu", hang) == (ok("gpu", "late"),)


def test_the_first_unfit_thing_gives_the_code() -> None:
    assert exit_code([ok("a", ""), note("b", "")]) == 0
    assert exit_code([note("a", ""), unfit("b", "", exit_code=78), unfit("c", "")]) == 78


def test_this_machine(tmp_path: Path) -> None:
    names: list[str] = []
    home = Home(path=tmp_path / "home")
    found = {check.name: check for check in examine(home, on_look=names.append)}
    expected = {"runtime", "openvino", "processor", "cores", "memory", "clock", "monotonic clock", "home",
                "sqlite", "disk kind", "disk space", "disk sync", "open files", "learning", "gpu",
                "stations", "trusted signers", "gentl viky.cti"}  # fmt: skip
    assert expected <= set(found)
    assert "could not be looked at" not in " ".join(check.value for check in found.values())
    assert "FP32" in found["openvino"].value
    assert found["gentl viky.cti"].value.count("Viky") == 3
    assert names[0] == "runtime"
    assert not home.path.exists(), "nothing is made"
