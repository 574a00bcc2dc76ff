"""A station is ready while everything it needs has proven itself, and says what is missing."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from disks import GIB, disk_of
from partgate.line._notify import Notify
from partgate.line._outputs import NoOutput
from partgate.line._readiness import NOT_YET, Readiness
from partgate.line._supervision import Supervision
from partgate.line._watch import GoldenWatch
from partgate.records import ImageCounts
from partgate.records._room import ROWS_AGAIN_BYTES, ROWS_FLOOR_BYTES
from watched_station import FakeStation, make_judge


def readiness_of(station: FakeStation) -> Readiness:
    return Readiness(station.watched().checks(), station_id="one")


def test_nothing_is_taken_on_trust(tmp_path: Path) -> None:
    readiness = readiness_of(FakeStation(tmp_path))
    assert not readiness.is_ready
    assert {proof.why_not for proof in readiness.proofs} == {NOT_YET}
    assert readiness.look()
    assert [proof.name for proof in readiness.proofs] == [
        "camera top",
        "camera side",
        "runtime",
        "parity",
        "store",
        "disk",
        "output",
    ]


def lose_camera(station: FakeStation) -> None:
    station.cameras[1].problem = "camera side: lost 0.2 s ago"


def lose_recipe(station: FakeStation) -> None:
    station.judges.coming = None


def lose_proof(station: FakeStation) -> None:
    station.judges.coming = make_judge(proven=False)


def lose_recorder(station: FakeStation) -> None:
    station.recorder.problem = "database: it is damaged"


def lose_gate(station: FakeStation) -> None:
    station.output.problem = "the PLC does not answer"


@pytest.mark.parametrize(
    ("lose", "why_not"),
    [
        pytest.param(lose_camera, "camera side: lost 0.2 s ago", id="camera"),
        pytest.param(
            lose_recipe,
            "runtime: no recipe of tile is active: every part is UNDECIDED, its images are kept;"
            " parity: there is no model",
            id="recipe",
        ),
        pytest.param(lose_proof, "parity: model 0123456789ab has not passed the parity gate", id="parity"),
        pytest.param(lose_recorder, "store: database: it is damaged", id="recorder"),
        pytest.param(lose_gate, "output: the PLC does not answer", id="output"),
    ],
)
def test_what_is_lost_is_named_and_comes_back(
    lose: Callable[[FakeStation], None], why_not: str, tmp_path: Path
) -> None:
    station = FakeStation(tmp_path)
    readiness = readiness_of(station)
    lose(station)
    assert not readiness.look()
    assert readiness.why_not == why_not
    fresh = FakeStation(tmp_path)
    station.cameras[1].problem = station.recorder.problem = station.output.problem = None
    station.judges.coming = fresh.judges.coming
    assert readiness.look()
    assert readiness.why_not is None


def test_every_change_is_logged_once_and_a_reason_that_counts_is_no_change(tmp_path: Path) -> None:
    station = FakeStation(tmp_path, product=None)
    readiness = readiness_of(station)
    with capture_logs() as logged:
        readiness.look()
        readiness.look()
    assert [entry["event"] for entry in logged] == ["proven"] * 5 + ["station ready"]
    since = {proof.name: proof.since for proof in readiness.proofs}
    with capture_logs() as logged:
        for lost_s in (0.1, 0.2, 0.3):
            station.cameras[0].problem = f"lost {lost_s} s ago"
            readiness.look()
    assert [(entry["event"], entry["log_level"]) for entry in logged] == [
        ("not proven", "warning"),
        ("station not ready", "warning"),
    ]
    assert readiness.why_not == "camera top: lost 0.3 s ago"
    after = {proof.name: proof.since for proof in readiness.proofs}
    assert after["camera top"] > since["camera top"]
    assert after["store"] == since["store"]
    station.cameras[0].problem = None
    with capture_logs() as logged:
        readiness.look()
    assert [entry["event"] for entry in logged] == ["proven", "station ready"]


def test_a_station_without_a_product_collects_and_needs_no_model(tmp_path: Path) -> None:
    station = FakeStation(tmp_path, product=None)
    station.judges.coming = None
    assert readiness_of(station).look()


def test_an_output_without_a_gate_has_nothing_to_prove(tmp_path: Path) -> None:
    station = FakeStation(tmp_path, output=NoOutput())  # type: ignore[arg-type]
    assert readiness_of(station).look()


def test_a_disk_that_has_no_room_for_rows_and_has_it_again(tmp_path: Path) -> None:
    free = ROWS_FLOOR_BYTES
    readiness = readiness_of(FakeStation(tmp_path, ask=lambda path: disk_of(free)))
    assert readiness.look()
    free = ROWS_FLOOR_BYTES - 1
    assert not readiness.look()
    assert readiness.why_not == f"disk: {tmp_path}: 256 MiB free, rows need 288"
    free = ROWS_FLOOR_BYTES + 1
    assert not readiness.look()  # at its edge it does not come and go
    free = ROWS_AGAIN_BYTES
    assert readiness.look()


def test_old_images_do_not_stop_a_station(tmp_path: Path) -> None:
    """Images may fill a disk of their own to the last byte, and that of the rows almost."""
    for home_bytes, images_bytes in ((100 * GIB, 0), (GIB, GIB)):
        rooms = {"images": disk_of(images_bytes, device=2), "maps": disk_of(images_bytes, device=2)}
        station = FakeStation(
            tmp_path,
            ask=lambda path, rooms=rooms, home=home_bytes: rooms.get(path.name, disk_of(home)),  # type: ignore[misc]
        )
        assert readiness_of(station).look()


def test_a_home_that_has_gone_is_not_ready(tmp_path: Path) -> None:
    readiness = readiness_of(FakeStation(tmp_path / "gone"))
    assert not readiness.look()
    assert "its disk cannot be asked" in (readiness.why_not or "")


def test_a_suspect_model_counts_until_its_successor_is_there(tmp_path: Path) -> None:
    """An idle station must not wait, not ready, for the part that would make it change over."""

    class Wrong:
        frames = (None,)

        def problem(self, runtime: object, number: int) -> str:
            return "golden frame 0: score 9, expected 1"

    judge = make_judge()
    suspect = type(judge)(**{name: getattr(judge, name) for name in judge.__slots__} | {"golden": Wrong()})
    golden = GoldenWatch(station_id="one", every_parts=1, flag=lambda found: None, reload=lambda judge: None)
    station = FakeStation(tmp_path, golden=golden)
    station.judges.coming = suspect
    readiness = readiness_of(station)
    golden.take_up(suspect, 1)
    assert readiness.look()
    golden.part_done(1)
    assert not readiness.look()
    assert readiness.why_not == (
        "parity: model 0123456789ab is out of service: golden frame 0: score 9, expected 1"
    )
    station.judges.coming = make_judge()
    assert readiness.look()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[tuple[socket.socket, Notify]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        yield listener, Notify(str(tmp_path / "notify"))


def hear_until(listener: socket.socket, wanted: str) -> list[str]:
    said = [listener.recv(4096).decode()]
    while wanted not in said[-1]:
        said.append(listener.recv(4096).decode())
    return said


def test_ready_is_told_once_and_only_when_the_loop_has_begun(
    heard: tuple[socket.socket, Notify], tmp_path: Path
) -> None:
    listener, notify = heard
    station = FakeStation(tmp_path)
    with Supervision("one", notify=notify) as supervision:
        assert supervision.ready()[0] is False
        assert supervision.live() == (True, "starting")
        station.cameras[0].problem = "not open"
        supervision.watch(station.watched())
        supervision.turned()
        assert "READY=1" not in hear_until(listener, "NOT READY: camera top: not open")
        station.cameras[0].problem = None
        said = hear_until(listener, "tile, 0 parts, ready")
        assert said.count("READY=1") == 1
        well, proofs = supervision.ready()
        assert well
        assert json.loads(proofs)["why"] is None
        station.recorder.problem = "the recorder's process is away"
        hear_until(listener, "NOT READY: store")
        well, proofs = supervision.ready()
        assert not well
        assert [proof["name"] for proof in json.loads(proofs)["proofs"] if not proof["proven"]] == ["store"]
        station.recorder.problem = None
        said = hear_until(listener, "tile, 0 parts, ready")
        assert "READY=1" not in said
        assert supervision.live() == (True, "the loop turns")
        supervision.stopping()
        station.cameras[0].problem = "closed"  # as it is while the station is taken down
        assert supervision.live() == (True, "stopping")
        well, proofs = supervision.ready()
        assert not well
        assert {proof["why"] for proof in json.loads(proofs)["proofs"]} == {"the station is stopping"}
    said = hear_until(listener, "stopping: 0 parts")
    assert "STOPPING=1" in said


def test_supervision_that_fails_takes_ready_back(tmp_path: Path) -> None:
    class BadRecorder:
        waiting = restarts = 0
        nothing_to_remove = failing = False
        images = ImageCounts()

        @property
        def problem(self) -> None:
            if self.failing:
                raise RuntimeError("unforeseen")

    recorder = BadRecorder()
    station = FakeStation(tmp_path, recorder=recorder)  # type: ignore[arg-type]
    with capture_logs() as logged, Supervision("one", notify=Notify(None)) as supervision:
        supervision.watch(station.watched())
        supervision.turned()
        assert supervision.ready()[0]
        recorder.failing = True
        while supervision.ready()[0]:
            time.sleep(0.01)
        assert "the supervision failed: unforeseen" in supervision.ready()[1]
        recorder.failing = False
        while not supervision.ready()[0]:
            time.sleep(0.01)
    assert "the station's supervision failed" in [entry["event"] for entry in logged]
