"""Parts taken in while another is judged: each with its own frame, in order, and closed whatever happens."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlmodel import select

from one_by_one import OneByOne
from partgate.line._judge import Judge, NoJudge
from partgate.line._loop import Line
from partgate.line._outputs import NoOutput
from partgate.line._part import Outcome, Trigger
from partgate.line._taking import PARTS_IN_WORK
from partgate.line._triggers import Continuous, TriggerSource
from partgate.line._watch import GoldenWatch
from partgate.records import Database, Frame, Home, ImageStore, Part, Recorder, balance
from partgate_cameras import CameraError
from partgate_cameras import Frame as CameraFrame
from partgate_engines import AnomalyResult, DeviceFailed, FrameRefused
from partgate_station import Recipe, Region, Thresholds, Verdict

LONGEST_S = 20.0
"""No test waits for so long, unless what it looks for does not happen."""


@dataclass
class NumberedCamera:
    """A camera whose every pixel is the number of the frame, from 1; some frames fail, or come slowly."""

    parts: int
    fails: frozenset[int] = frozenset()
    slow: frozenset[int] = frozenset()
    bug_at: int | None = None
    camera_id: str = "top"
    timeouts_s: list[float] = field(default_factory=list)
    asked: threading.Condition = field(default_factory=threading.Condition)

    @property
    def exhausted(self) -> bool:
        return len(self.timeouts_s) == self.parts

    def open(self) -> None: ...

    def close(self) -> None: ...

    def grab(self, timeout_s: float) -> CameraFrame:
        with self.asked:
            self.timeouts_s.append(timeout_s)
            self.asked.notify_all()
        number = len(self.timeouts_s)
        if number == self.bug_at:
            raise ZeroDivisionError
        if number in self.slow:
            time.sleep(0.003)
        if number in self.fails:
            raise CameraError(f"frame {number} is damaged")
        return CameraFrame(
            image=np.full((8, 8), number, np.uint8),
            camera_id=self.camera_id,
            frame_id=number,
            camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
        )

    def wait_asked(self, times: int) -> bool:
        with self.asked:
            return self.asked.wait_for(lambda: len(self.timeouts_s) >= times, LONGEST_S)


@dataclass
class FrameRuntime(OneByOne):
    """A runtime whose score is a function of the frame's number; refuses to run once it is closed."""

    score: Callable[[int], float]
    name: str = "function"
    is_closed: bool = False

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        assert not self.is_closed, "judged by a runtime that had been released"
        return AnomalyResult(score=self.score(int(frame[0, 0])), anomaly_map=np.zeros((2, 2), np.float32))

    def close(self) -> None:
        self.is_closed = True


def make_judge(score: Callable[[int], float], *, deadline_ms: int = 60_000, activation_id: int = 1) -> Judge:
    return Judge(
        activation_id=activation_id,
        recipe_id=None,  # type: ignore[arg-type]  # no recipe row: these tests are about the line
        model_id=None,  # type: ignore[arg-type]
        recipe=Recipe(
            product="tile", thresholds=Thresholds(review=500.0, reject=1000.0), deadline_ms=deadline_ms
        ),
        runtime=FrameRuntime(score),
    )


@dataclass
class SwitchingJudges:
    """Changes over with every so-many-th part; releases what was replaced with the next question."""

    judges: list[Judge]
    every: int = 1
    asked: int = 0
    fails_after: int | None = None
    """The device fails beside the judge in force, once it was asked so often who judges."""
    _replaced: Judge | None = None
    _judge: Judge | None = None

    def current(self) -> Judge:
        if self._replaced is not None:
            self._replaced.runtime.close()
            self._replaced = None
        judge = self.judges[min(self.asked // self.every, len(self.judges) - 1)]
        self.asked += 1
        if judge is not self._judge:
            self._replaced, self._judge = self._judge, judge
        return judge

    def reload(self, judge: Judge) -> None: ...

    def require_device(self) -> None:
        if self.fails_after is not None and self.asked >= self.fails_after:
            raise DeviceFailed("GPU: failed while a model was loaded; this process must end")

    def close(self) -> None: ...


@dataclass
class RememberingOutput(NoOutput):
    signalled: list[Outcome] = field(default_factory=list)

    def signal(self, outcome: Outcome) -> None:
        self.signalled.append(outcome)


@dataclass
class Ran:
    rows: list[Part]
    shown: dict[int, int]
    """By trigger: the number on its frame."""
    signalled: list[Outcome]
    raised: BaseException | None
    turns: int

    @property
    def codes(self) -> list[str]:
        return [(row.reason or "").partition(":")[0] for row in self.rows]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(Database.open(Home.open(tmp_path / "home"))) as database:
        yield database


def run(
    database: Database,
    camera: NumberedCamera,
    judges: SwitchingJudges | NoJudge,
    triggers: TriggerSource | None = None,
    *,
    stop: threading.Event | None = None,
    **line: object,
) -> Ran:
    """Run a line to its end; every row must be closed, in order, and told to the gate once."""
    output, images = RememberingOutput(), ImageStore(database.home)
    raised: BaseException | None = None
    turns: list[float] = []
    with contextlib.closing(Recorder(database, images, station_id="one", keep="all")) as recorder:
        made = Line(
            cameras=[camera],
            triggers=triggers or Continuous(waiting_parts=PARTS_IN_WORK - 1),
            judges=judges,
            recorder=recorder,
            output=output,
            product="tile",
            on_turn=lambda: turns.append(time.monotonic()),
            **line,  # type: ignore[arg-type]  # as they are given
        )
        try:
            made.run(stop or threading.Event())
        except (OSError, ArithmeticError, AssertionError, DeviceFailed) as error:
            raised = error
    with database.read() as session:
        rows = list(session.exec(select(Part).order_by(Part.trigger_id)))  # type: ignore[arg-type]
        by_id = {row.id: row.trigger_id for row in rows}
        shown = {
            by_id[frame.part_id]: int(images.get(frame.image_sha256 or "")[0, 0])
            for frame in session.exec(select(Frame))
        }
        found = balance(session)
        session.expunge_all()
    assert found.balanced
    assert found.open == 0
    assert [outcome.trigger_id for outcome in output.signalled] == [row.trigger_id for row in rows]
    return Ran(rows, shown, output.signalled, raised, len(turns))


def test_the_next_frame_is_asked_for_while_a_part_is_judged(database: Database) -> None:
    camera = NumberedCamera(3)

    def score(number: int) -> float:
        assert camera.wait_asked(min(number + 1, 3)), "nobody asked for the next frame"
        return float(number)

    ran = run(database, camera, SwitchingJudges([make_judge(score)]))
    assert ran.raised is None
    assert [row.score for row in ran.rows] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("waiting_parts", [0, 1, 2])
def test_no_more_parts_are_taken_than_may_wait(waiting_parts: int, database: Database) -> None:
    camera, seen = NumberedCamera(6), list[int]()

    def score(number: int) -> float:
        assert camera.wait_asked(min(number + waiting_parts, 6))
        time.sleep(0.02)  # for one more to be asked for, if it would be
        seen.append(len(camera.timeouts_s))
        return float(number)

    triggers = Continuous(waiting_parts=waiting_parts)
    ran = run(database, camera, SwitchingJudges([make_judge(score)]), triggers)
    assert [row.score for row in ran.rows] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert seen == [min(number + waiting_parts, 6) for number in range(1, 7)]


@dataclass
class PreparingFrameRuntime(FrameRuntime):
    """Remembers which frames it was to prepare, and by which thread; refuses every third."""

    prepared: list[tuple[int, str]] = field(default_factory=list)

    def prepare(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> None:
        number = int(frame[0, 0])
        self.prepared.append((number, threading.current_thread().name))
        if number % 3 == 0:
            raise FrameRefused("said again when it is judged")


def test_the_next_frame_is_prepared_while_a_part_is_judged(database: Database) -> None:
    camera = NumberedCamera(4)
    runtime = PreparingFrameRuntime(lambda number: 0.0)

    def score(number: int) -> float:
        until_s = time.monotonic() + LONGEST_S
        while len(runtime.prepared) < min(number, 3):
            assert time.monotonic() < until_s, "nobody prepared the next frame"
            time.sleep(0.001)
        return float(number)

    runtime.score = score
    ran = run(database, camera, SwitchingJudges([replace(make_judge(score), runtime=runtime)]))
    assert ran.raised is None
    assert [row.score for row in ran.rows] == [1.0, 2.0, 3.0, 4.0]
    # Of the first nobody is ahead: the loop looks at it at once.
    assert runtime.prepared == [(number, "line-taking") for number in range(2, 5)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fails=st.frozensets(st.integers(1, 12)),
    slow=st.frozensets(st.integers(1, 12)),
    slow_model=st.frozensets(st.integers(1, 12)),
    waiting_parts=st.integers(0, 4),
)
def test_every_trigger_has_its_own_frame_whatever_is_slow_or_fails(
    fails: frozenset[int],
    slow: frozenset[int],
    slow_model: frozenset[int],
    waiting_parts: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def score(number: int) -> float:
        if number in slow_model:
            time.sleep(0.004)
        return float(number)

    home = Home.open(tmp_path_factory.mktemp("taking") / "home")
    with contextlib.closing(Database.open(home)) as database:
        camera = NumberedCamera(12, fails=fails, slow=slow)
        judges = SwitchingJudges([make_judge(score)])
        ran = run(database, camera, judges, Continuous(waiting_parts=waiting_parts))
    assert ran.raised is None
    assert [row.trigger_id for row in ran.rows] == list(range(1, 13))
    for row in ran.rows:
        expected = None if row.trigger_id in fails else float(row.trigger_id)
        assert row.score == expected
        assert ran.shown.get(row.trigger_id) == (None if expected is None else row.trigger_id)
        assert ((row.reason or "").partition(":")[0] == "CAMERA_FAULT") == (expected is None)


@dataclass
class Burst:
    """Triggers that have all come when the first is asked for."""

    parts: int
    monotonic_s: float = field(default_factory=time.monotonic)

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        if trigger_id > self.parts or stop.is_set():
            return None
        return Trigger(trigger_id=trigger_id, triggered_at=datetime.now(UTC), monotonic_s=self.monotonic_s)


def test_a_slow_model_takes_nothing_off_the_time_of_the_next_frame(database: Database) -> None:
    """Each deadline counts from its own trigger, and the frame is asked for when that has come."""
    camera = NumberedCamera(PARTS_IN_WORK)

    asked_s: list[float] = []

    def score(number: int) -> float:
        if number == 1:
            assert camera.wait_asked(PARTS_IN_WORK)
            asked_s.extend(camera.timeouts_s)
            time.sleep(0.5)
        return float(number)

    triggers = Burst(PARTS_IN_WORK)
    ran = run(database, camera, SwitchingJudges([make_judge(score, deadline_ms=60_000)]), triggers)
    assert [row.score for row in ran.rows] == [1.0, 2.0, 3.0]
    assert len(asked_s) == PARTS_IN_WORK, "all were asked for before the first was judged"
    assert asked_s == sorted(asked_s, reverse=True), "for what was left of the time since their trigger"
    assert ran.rows[-1].latency_ms is not None
    assert ran.rows[-1].latency_ms >= 500, "the part's latency has the wait for the model"


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_runtime_that_was_replaced_is_released_when_no_part_needs_it(
    every: int, database: Database
) -> None:
    """Also the golden frame, which the model that leaves is asked a last time."""
    asked: list[int] = []

    @dataclass(frozen=True)
    class AskedAgain:
        number: int
        frames: tuple[None] = (None,)

        def problem(self, runtime: FrameRuntime, number: int) -> str | None:
            assert not runtime.is_closed, "asked of a runtime that had been released"
            asked.append(self.number)
            return None

    def score(number: int) -> float:
        time.sleep(0.002)
        return float(number)

    made = [make_judge(score, activation_id=number) for number in range(4)]
    judges = SwitchingJudges(
        [_with_golden(judge, AskedAgain(number)) for number, judge in enumerate(made)], every=every
    )
    watch = GoldenWatch(
        station_id="one", every_parts=1000, flag=lambda found: None, reload=lambda judge: None
    )
    ran = run(database, NumberedCamera(12), judges, watch=watch)
    assert ran.raised is None
    assert [row.score for row in ran.rows] == [float(number) for number in range(1, 13)]
    assert asked == [0, 1, 2, 3]


def _with_golden(judge: Judge, golden: object) -> Judge:
    return replace(judge, golden=golden)  # type: ignore[arg-type]  # of which no more is used


def test_a_device_that_fails_beside_the_loop_ends_the_line_with_every_part_closed(database: Database) -> None:
    judges = SwitchingJudges([make_judge(float)], fails_after=5)
    ran = run(database, NumberedCamera(10), judges)
    assert isinstance(ran.raised, DeviceFailed)
    assert [row.score for row in ran.rows] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_model_that_fails_has_the_parts_behind_it_closed(database: Database) -> None:
    camera = NumberedCamera(10)

    def poisoned(number: int) -> float:
        assert camera.wait_asked(number + PARTS_IN_WORK - 1)
        if number == 2:
            raise DeviceFailed("GPU: an illegal memory access was encountered; this process must end")
        return float(number)

    ran = run(database, camera, SwitchingJudges([make_judge(poisoned)]))
    assert isinstance(ran.raised, DeviceFailed)
    assert ran.codes[0] == ""
    assert ran.codes[1:] == ["STATION_FAULT"] * (len(ran.rows) - 1)
    assert 2 + PARTS_IN_WORK - 1 <= len(ran.rows) <= 2 + PARTS_IN_WORK
    assert not any(outcome.gate_open for outcome in ran.signalled[1:])
    assert ran.shown[3] == 3, "its frame is kept"


def test_a_bug_in_a_camera_stops_the_line_once_the_parts_before_are_judged(database: Database) -> None:
    ran = run(database, NumberedCamera(9, bug_at=4), SwitchingJudges([make_judge(float)]))
    assert isinstance(ran.raised, ZeroDivisionError)
    assert [row.score for row in ran.rows] == [1.0, 2.0, 3.0, None]
    assert ran.codes == ["", "", "", "STATION_FAULT"]


@dataclass
class FailingSource:
    """A source whose device ends after so many triggers."""

    after: int

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        if trigger_id > self.after:
            raise OSError(5, "the input card is gone")
        return Trigger(trigger_id=trigger_id, triggered_at=datetime.now(UTC), monotonic_s=time.monotonic())


def test_a_source_that_fails_stops_the_line_with_every_part_judged(database: Database) -> None:
    ran = run(database, NumberedCamera(9), SwitchingJudges([make_judge(float)]), FailingSource(5))
    assert isinstance(ran.raised, OSError)
    assert [row.verdict for row in ran.rows] == [Verdict.ACCEPT] * 5


def test_stop_finishes_the_parts_that_were_taken(database: Database) -> None:
    camera, stop = NumberedCamera(100), threading.Event()

    def score(number: int) -> float:
        assert stop.is_set() or camera.wait_asked(number + 1)
        if number == 3:
            stop.set()
        return float(number)

    ran = run(database, camera, SwitchingJudges([make_judge(score)]), stop=stop)
    assert ran.raised is None
    assert len(ran.rows) == len(camera.timeouts_s) <= 3 + PARTS_IN_WORK
    assert [row.score for row in ran.rows] == [float(number) for number in range(1, len(ran.rows) + 1)]


@dataclass
class HangingSource:
    """Never has a part; says so now and then, until it hangs."""

    hang: threading.Event
    released: threading.Event
    _idle: Callable[[], None] = lambda: None

    def on_idle(self, idle: Callable[[], None]) -> None:
        self._idle = idle

    def wait(self, trigger_id: int, stop: threading.Event) -> Trigger | None:
        while not self.hang.is_set():
            self._idle()
            time.sleep(0.01)
        assert self.released.wait(LONGEST_S)
        return None


def test_the_loop_gives_no_sign_of_life_for_a_source_that_hangs(database: Database) -> None:
    turned, hang, released = threading.Semaphore(0), threading.Event(), threading.Event()
    recorder = Recorder(database, ImageStore(database.home), station_id="one", keep="all")
    with contextlib.closing(recorder):
        line = Line(
            cameras=[NumberedCamera(1)],
            triggers=HangingSource(hang, released),
            judges=NoJudge(),
            recorder=recorder,
            output=NoOutput(),
            product=None,
            on_turn=turned.release,
        )
        thread = threading.Thread(target=line.run, args=(threading.Event(),))
        thread.start()
        for _ in range(3):
            assert turned.acquire(timeout=LONGEST_S), "the loop turns while no part is there"
        hang.set()
        turned.acquire(timeout=0.6)  # what was on its way
        assert not turned.acquire(timeout=0.6)
        released.set()
        thread.join(LONGEST_S)


def test_the_thread_that_takes_parts_runs_where_it_is_told(database: Database) -> None:
    entered: list[str] = []

    @contextlib.contextmanager
    def kept() -> Iterator[None]:
        entered.append(threading.current_thread().name)
        yield
        entered.append(f"{threading.current_thread().name} left")

    run(database, NumberedCamera(2), SwitchingJudges([make_judge(float)]), taking_kept=kept)
    assert entered == ["line-taking", "line-taking left"]
