"""The way of a part: every trigger becomes exactly one closed row, whatever goes wrong."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from sqlmodel import select

from one_by_one import OneByOne
from partgate.line._judge import Judge, NoJudge
from partgate.line._loop import Line
from partgate.line._outputs import NoOutput
from partgate.line._part import Outcome
from partgate.line._triggers import Continuous
from partgate.records import (
    Balance,
    ClosedPart,
    Database,
    Frame,
    Home,
    ImageStore,
    OpenPart,
    Part,
    Recorder,
    balance,
)
from partgate_cameras import CameraError, FrameTimeout, ImageError
from partgate_cameras import Frame as CameraFrame
from partgate_engines import AnomalyResult, DeviceFailed
from partgate_station import DataError, Recipe, RecipeSettings, Region, Thresholds, Verdict

IMAGE = np.full((16, 24), 100, np.uint8)
Step = CameraError | ImageError | NDArray[np.uint8]


@dataclass
class ScriptedCamera:
    """A camera that does what its script says, one step per trigger, and is exhausted after it."""

    script: list[Step]
    camera_id: str = "top"
    delay_s: float = 0.0
    timeouts_s: list[float] = field(default_factory=list)
    _taken: int = 0

    @property
    def exhausted(self) -> bool:
        return self._taken == len(self.script)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def grab(self, timeout_s: float) -> CameraFrame:
        self.timeouts_s.append(timeout_s)
        step = self.script[self._taken]
        self._taken += 1
        time.sleep(self.delay_s)
        if isinstance(step, Exception):
            raise step
        return CameraFrame(
            image=step.copy(),
            camera_id=self.camera_id,
            frame_id=self._taken,
            camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
        )


@dataclass
class FunctionRuntime(OneByOne):
    """A runtime whose model is a function of the frame."""

    score: Callable[[NDArray[np.uint8]], float]
    name: str = "function"

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        RecipeSettings(regions=regions).check_regions(width_px=frame.shape[1], height_px=frame.shape[0])
        return AnomalyResult(score=self.score(frame), anomaly_map=np.zeros((4, 4), np.float32))

    def close(self) -> None: ...


@dataclass
class OneJudge:
    judge: Judge

    def current(self) -> Judge:
        return self.judge

    def reload(self, judge: Judge) -> None: ...

    def require_device(self) -> None: ...

    def close(self) -> None: ...


@dataclass
class RememberingOutput(NoOutput):
    signalled: list[Outcome] = field(default_factory=list)

    def signal(self, outcome: Outcome) -> None:
        self.signalled.append(outcome)


def judged_by(
    score: Callable[[NDArray[np.uint8]], float], *, deadline_ms: int = 5000, regions: tuple[Region, ...] = ()
) -> OneJudge:
    thresholds = Thresholds(review=1.0, reject=2.0)
    return OneJudge(
        Judge(
            activation_id=1,
            recipe_id=None,  # type: ignore[arg-type]  # no recipe row: these tests are about the loop
            model_id=None,  # type: ignore[arg-type]
            recipe=Recipe(product="tile", thresholds=thresholds, deadline_ms=deadline_ms, regions=regions),
            runtime=FunctionRuntime(score),
        )
    )


def by_brightness(frame: NDArray[np.uint8]) -> float:
    return float(frame.mean()) / 100


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database.open(Home.open(tmp_path / "home"))) as database:
        yield database


def make_line(
    cameras: list[ScriptedCamera], judges: OneJudge | NoJudge, recorder: Recorder, output: RememberingOutput
) -> Line:
    return Line(
        cameras=cameras,
        triggers=Continuous(),
        judges=judges,
        recorder=recorder,
        output=output,
        product="tile",
    )


@dataclass
class Ran:
    rows: list[Part]
    frames: list[Frame]
    balance: Balance
    signalled: list[Outcome]


def run(
    database: Database,
    tmp_path: Path,
    cameras: list[ScriptedCamera],
    judges: OneJudge | NoJudge,
    *,
    recorder_class: type[Recorder] = Recorder,
    parts: int | None = None,
) -> Ran:
    output = RememberingOutput()
    images = ImageStore(Home.open(tmp_path / "home"))
    with contextlib.closing(recorder_class(database, images, station_id="one", keep="all")) as recorder:
        line = Line(
            cameras=cameras,
            triggers=Continuous(),
            judges=judges,
            recorder=recorder,
            output=output,
            product="tile",
        )
        line.run(threading.Event(), parts=parts)
    with database.read() as session:
        rows = list(session.exec(select(Part).order_by(Part.trigger_id)))  # type: ignore[arg-type]
        frames = list(session.exec(select(Frame)))
        session.expunge_all()
        return Ran(rows, frames, balance(session), output.signalled)


def test_each_verdict_reaches_its_row_and_the_gate(database: Database, tmp_path: Path) -> None:
    frames = [np.full((16, 24), value, np.uint8) for value in (50, 150, 250)]
    ran = run(database, tmp_path, [ScriptedCamera(list(frames))], judged_by(by_brightness))
    assert [row.verdict for row in ran.rows] == [Verdict.ACCEPT, Verdict.REVIEW, Verdict.REJECT]
    assert [row.trigger_id for row in ran.rows] == [1, 2, 3]
    assert [row.score for row in ran.rows] == [0.5, 1.5, 2.5]
    assert [outcome.gate_open for outcome in ran.signalled] == [True, False, False]
    assert ran.balance == Balance(
        triggers=3, accept=1, review=1, reject=1, undecided=0, open=0, balanced=True
    )
    assert all(row.latency_ms is not None and row.latency_ms > 0 for row in ran.rows)
    stored = ImageStore(Home.open(tmp_path / "home"))
    kept = {frame.part_id: stored.get(frame.image_sha256 or "") for frame in ran.frames}
    for row, pixels in zip(ran.rows, frames, strict=True):
        np.testing.assert_array_equal(kept[row.id], pixels)


def test_numbering_goes_on_in_the_same_home(database: Database, tmp_path: Path) -> None:
    run(database, tmp_path, [ScriptedCamera([IMAGE, IMAGE])], judged_by(by_brightness))
    ran = run(database, tmp_path, [ScriptedCamera([IMAGE])], judged_by(by_brightness))
    assert [row.trigger_id for row in ran.rows] == [1, 2, 3]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (FrameTimeout("top: no frame within 0.1 s"), "CAMERA_TIMEOUT: top: no frame"),
        (CameraError("top: gone"), "CAMERA_FAULT: top: gone"),
        (ImageError("a.jpg: truncated"), "DAMAGED_IMAGE: a.jpg: truncated"),
    ],
)
def test_a_part_without_a_frame_is_undecided_and_the_next_one_is_judged(
    fault: Step, code: str, database: Database, tmp_path: Path
) -> None:
    ran = run(database, tmp_path, [ScriptedCamera([fault, IMAGE])], judged_by(lambda frame: 0.0))
    assert [row.verdict for row in ran.rows] == [Verdict.UNDECIDED, Verdict.ACCEPT]
    assert ran.rows[0].reason is not None
    assert ran.rows[0].reason.startswith(code)
    assert not ran.signalled[0].gate_open
    assert ran.balance.balanced


def test_an_outage_of_many_parts_is_two_lines_of_the_log_and_a_row_for_each(
    database: Database, tmp_path: Path
) -> None:
    steps: list[Step] = [FrameTimeout("top: none")] * 60
    with structlog.testing.capture_logs() as logged:
        ran = run(database, tmp_path, [ScriptedCamera([IMAGE, *steps, IMAGE])], judged_by(lambda frame: 0.0))
    assert [line["event"] for line in logged] == ["no frame", "frames come again"]
    assert logged[1]["parts"] == 60
    reasons = [(row.reason or "").partition(":")[0] for row in ran.rows]
    assert reasons == ["", *["CAMERA_TIMEOUT"] * 60, ""]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_never_opens_the_gate(
    score: float, database: Database, tmp_path: Path
) -> None:
    ran = run(database, tmp_path, [ScriptedCamera([IMAGE])], judged_by(lambda frame: score))
    assert ran.rows[0].verdict is Verdict.UNDECIDED
    assert (ran.rows[0].reason or "").startswith("SCORE_NOT_FINITE")
    assert not ran.signalled[0].gate_open


def test_the_worst_frame_of_a_part_decides(database: Database, tmp_path: Path) -> None:
    good, bad = np.full((16, 24), 50, np.uint8), np.full((16, 24), 250, np.uint8)
    cameras = [ScriptedCamera([good, good]), ScriptedCamera([good, bad], camera_id="side")]
    ran = run(database, tmp_path, cameras, judged_by(by_brightness))
    assert [row.verdict for row in ran.rows] == [Verdict.ACCEPT, Verdict.REJECT]
    assert sorted(frame.score or 0 for frame in ran.frames) == [0.5, 0.5, 0.5, 2.5]


def test_frames_that_came_before_a_fault_are_kept(database: Database, tmp_path: Path) -> None:
    cameras = [ScriptedCamera([IMAGE]), ScriptedCamera([CameraError("side: gone")], camera_id="side")]
    ran = run(database, tmp_path, cameras, judged_by(by_brightness))
    assert ran.rows[0].verdict is Verdict.UNDECIDED
    assert [frame.camera_id for frame in ran.frames] == ["top"]


def test_a_late_verdict_is_undecided_and_keeps_its_score(database: Database, tmp_path: Path) -> None:
    def slow(frame: NDArray[np.uint8]) -> float:
        time.sleep(2.1)
        return 0.5

    ran = run(database, tmp_path, [ScriptedCamera([IMAGE])], judged_by(slow, deadline_ms=2000))
    assert ran.rows[0].verdict is Verdict.UNDECIDED
    assert (ran.rows[0].reason or "").startswith("DEADLINE_MISSED: the verdict was ")
    assert ran.rows[0].score == 0.5
    assert not ran.signalled[0].gate_open


def test_the_model_is_not_asked_of_a_part_whose_deadline_is_over(database: Database, tmp_path: Path) -> None:
    """It would be late all the same, and so would the parts behind it."""

    def never(frame: NDArray[np.uint8]) -> float:
        raise AssertionError("the model was asked")

    cameras = [ScriptedCamera([IMAGE, CameraError("top: gone")], delay_s=0.05)]
    ran = run(database, tmp_path, cameras, judged_by(never, deadline_ms=1))
    assert [row.verdict for row in ran.rows] == [Verdict.UNDECIDED] * 2
    assert (ran.rows[0].reason or "").startswith("DEADLINE_MISSED: its turn came ")
    assert "after the recipe's 1 ms were over; it was not judged" in (ran.rows[0].reason or "")
    assert ran.rows[1].reason == "CAMERA_FAULT: top: gone", "what went wrong before tells more"
    assert len(ran.frames) == 1, "its frames are kept"
    assert not ran.signalled[0].gate_open


def test_the_camera_is_given_what_is_left_of_the_deadline(database: Database, tmp_path: Path) -> None:
    first, second = ScriptedCamera([IMAGE], delay_s=0.2), ScriptedCamera([IMAGE], camera_id="side")
    run(database, tmp_path, [first, second], judged_by(lambda frame: 0.5, deadline_ms=3000))
    assert second.timeouts_s[0] <= 2.8 < first.timeouts_s[0] <= 3.0


def test_a_region_that_does_not_fit_the_frame_is_undecided(database: Database, tmp_path: Path) -> None:
    outside = Region(polygon=((0.0, 0.0), (500.0, 0.0), (0.0, 500.0)))
    ran = run(database, tmp_path, [ScriptedCamera([IMAGE])], judged_by(lambda frame: 0.0, regions=(outside,)))
    assert ran.rows[0].verdict is Verdict.UNDECIDED
    assert "vertex 1 (500, 0) outside 24×16" in (ran.rows[0].reason or "")
    assert len(ran.frames) == 1


def test_a_frame_that_cannot_be_judged_leaves_the_scores_of_the_others(
    database: Database, tmp_path: Path
) -> None:
    def score(frame: NDArray[np.uint8]) -> float:
        if frame[0, 0] == 13:
            raise DataError("thirteen")
        return by_brightness(frame)

    bad = np.full((16, 24), 13, np.uint8)
    cameras = [ScriptedCamera([IMAGE]), ScriptedCamera([bad], "side"), ScriptedCamera([IMAGE], "below")]
    ran = run(database, tmp_path, cameras, judged_by(score))
    assert ran.rows[0].verdict is Verdict.UNDECIDED
    assert (ran.rows[0].reason or "") == "MODEL_FAULT: thirteen"
    assert not ran.signalled[0].gate_open
    assert {frame.camera_id: frame.score for frame in ran.frames} == {"top": 1.0, "side": None, "below": 1.0}


def test_a_region_of_one_camera_need_not_fit_the_frames_of_another(
    database: Database, tmp_path: Path
) -> None:
    of_top = Region(camera_id="top", polygon=((0.0, 0.0), (40.0, 0.0), (0.0, 30.0)))
    cameras = [ScriptedCamera([np.full((32, 48), 50, np.uint8)]), ScriptedCamera([IMAGE], "side")]
    ran = run(database, tmp_path, cameras, judged_by(by_brightness, regions=(of_top,)))
    assert ran.rows[0].verdict is Verdict.REVIEW
    assert ran.rows[0].score == 1.0


def test_without_a_recipe_images_are_collected(database: Database, tmp_path: Path) -> None:
    ran = run(database, tmp_path, [ScriptedCamera([IMAGE, IMAGE])], NoJudge())
    assert [row.verdict for row in ran.rows] == [Verdict.UNDECIDED] * 2
    assert all((row.reason or "").startswith("NO_RECIPE") for row in ran.rows)
    assert all(frame.image_sha256 for frame in ran.frames)


def test_a_bug_in_the_model_stops_the_line_with_the_part_closed(database: Database, tmp_path: Path) -> None:
    def bug(frame: NDArray[np.uint8]) -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(database, tmp_path, [ScriptedCamera([IMAGE, IMAGE])], judged_by(bug))
    with database.read() as session:
        (row,) = session.exec(select(Part)).all()
        assert row.verdict is Verdict.UNDECIDED
        assert (row.reason or "").startswith("STATION_FAULT")
        assert balance(session).balanced


def test_a_device_that_answers_wrongly_ends_the_station(database: Database, tmp_path: Path) -> None:
    def poisoned(frame: NDArray[np.uint8]) -> float:
        raise DeviceFailed("GPU: an illegal memory access was encountered; this process must end")

    with pytest.raises(DeviceFailed) as failed:
        run(database, tmp_path, [ScriptedCamera([IMAGE, IMAGE])], judged_by(poisoned))
    assert failed.value.exit_code == 70
    with database.read() as session:
        (row,) = session.exec(select(Part)).all()
        assert row.verdict is Verdict.UNDECIDED


class NeverDurable(Recorder):
    """A recorder whose rows stay on their way for longer than any deadline."""

    def open_part(self, part: OpenPart) -> Future[None]:
        super().open_part(part).result(timeout=10)
        return Future()


class BrokenDisk(Recorder):
    """A recorder whose disk refuses the row of a part."""

    def open_part(self, part: OpenPart) -> Future[None]:
        failed: Future[None] = Future()
        failed.set_exception(OSError(28, "No space left on device"))
        return failed

    def close_part(self, part: ClosedPart) -> None:
        raise AssertionError("a part whose row was never written must not be closed")


def test_a_verdict_without_a_durable_row_never_opens_the_gate(database: Database, tmp_path: Path) -> None:
    judges = judged_by(lambda frame: 0.0, deadline_ms=2000)
    ran = run(database, tmp_path, [ScriptedCamera([IMAGE])], judges, recorder_class=NeverDurable)
    assert not ran.signalled[0].gate_open
    assert (ran.rows[0].reason or "").startswith("NOT_RECORDED")


def test_a_disk_that_refuses_the_row_stops_the_line_with_the_gate_shut(
    database: Database, tmp_path: Path
) -> None:
    output = RememberingOutput()
    with contextlib.closing(
        BrokenDisk(database, ImageStore(Home.open(tmp_path / "home")), station_id="one", keep="all")
    ) as recorder:
        cameras = [ScriptedCamera([IMAGE, IMAGE])]
        line = make_line(cameras, judged_by(lambda frame: 0.0), recorder, output)
        with pytest.raises(OSError, match="No space left"):
            line.run(threading.Event())
    assert [outcome.gate_open for outcome in output.signalled] == [False]


def test_stop_ends_the_line_after_the_part_in_work(database: Database, tmp_path: Path) -> None:
    stop = threading.Event()
    camera = ScriptedCamera([IMAGE] * 5)

    def stop_in_second(frame: NDArray[np.uint8]) -> float:
        if camera._taken == 2:
            stop.set()
        return 0.0

    images = ImageStore(Home.open(tmp_path / "home"))
    with contextlib.closing(Recorder(database, images, station_id="one", keep="all")) as recorder:
        line = make_line([camera], judged_by(stop_in_second), recorder, RememberingOutput())
        assert line.run(stop) == 2
    with database.read() as session:
        assert balance(session).accept == 2
        assert balance(session).balanced
