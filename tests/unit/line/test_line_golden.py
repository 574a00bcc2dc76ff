"""A model that begins to answer wrongly is found, taken out, its parts flagged, and made ready anew."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlmodel import select

from one_by_one import OneByOne
from partgate.line._golden import GoldenCheck
from partgate.line._judge import ActiveJudges, Judge, RuntimeKind
from partgate.line._loop import Line
from partgate.line._outputs import NoOutput
from partgate.line._part import Outcome
from partgate.line._station import _flag_unvouched
from partgate.line._triggers import Continuous
from partgate.line._watch import GoldenWatch
from partgate.records import (
    Active,
    Database,
    Home,
    ImageStore,
    Part,
    Recorder,
    SuspectParts,
    activate,
    add_model,
    add_recipe,
    balance,
    flag_suspects,
    suspects,
    verify_audit,
)
from partgate_cameras import Frame
from partgate_engines import AnomalyResult, DeviceFailed, FrameRefused, GoldenFrame
from partgate_station import DataError, Recipe, Region, StationConfig, Thresholds, Verdict, VirtualCamera

MODEL = "a" * 64
THRESHOLDS = Thresholds(review=10.0, reject=20.0)
PART = np.full((8, 8), 50, np.uint8)
MAP = np.arange(16, dtype=np.float32).reshape(4, 4)
GOLDEN = tuple(
    GoldenFrame(name=f"golden {n}", pixels=np.full((8, 8), n, np.uint8), score=float(n), anomaly_map=MAP)
    for n in range(3)
)
Wrong = Callable[[float, NDArray[np.float32]], tuple[float, NDArray[np.float32]]]


def refuse(score: float, anomaly_map: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    raise FrameRefused("the frame has 3 channels")


def fail(score: float, anomaly_map: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    raise DeviceFailed("GPU: an illegal memory access was encountered; this process must end")


def cut_off(score: float, anomaly_map: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
    """Say nothing above 1: only the frame that is to have 2 shows it."""
    return min(score, 1.0), anomaly_map


WRONG: dict[str, Wrong] = {
    "constant": lambda score, anomaly_map: (5.0, np.full_like(anomaly_map, 5.0)),
    "nan": lambda score, anomaly_map: (float("nan"), anomaly_map),
    "shuffled": lambda score, anomaly_map: (score, anomaly_map[::-1].copy()),
    "error": refuse,
}


@dataclass
class Failing(OneByOne):
    """Scores a frame by its brightness; after so many parts, wrongly."""

    after: int | None = None
    wrong: Wrong = WRONG["constant"]
    name: str = "failing"
    parts: int = 0
    golden: int = 0
    is_closed: bool = False

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        assert not self.is_closed
        is_part = frame.mean() == PART.mean()
        self.parts += is_part
        self.golden += not is_part
        score, anomaly_map = float(frame.mean()) / (10 if is_part else 1), MAP.copy()
        if self.after is not None and self.parts > self.after and not is_part:
            score, anomaly_map = self.wrong(score, anomaly_map)
        return AnomalyResult(score=score, anomaly_map=anomaly_map)

    def close(self) -> None:
        self.is_closed = True


@dataclass
class Parts:
    """A camera with as many parts as it is told."""

    count: int
    camera_id: str = "top"
    taken: int = 0

    @property
    def exhausted(self) -> bool:
        return self.taken == self.count

    def open(self) -> None: ...

    def close(self) -> None: ...

    def grab(self, timeout_s: float) -> Frame:
        self.taken += 1
        time.sleep(0.001)
        return Frame(
            image=PART.copy(), camera_id="top", frame_id=self.taken, camera_timestamp_ns=None,
            received_at=datetime.now(UTC),
        )  # fmt: skip


@dataclass
class Loader:
    """Loads the runtimes it was given, one after the other; an error stands for one that cannot be."""

    runtimes: list[Failing | DataError]
    loaded: int = 0

    def __call__(self, home: Home, found: Active, kind: RuntimeKind, camera_ids: Sequence[str]) -> Judge:
        runtime = self.runtimes[self.loaded]
        self.loaded += 1
        if isinstance(runtime, DataError):
            raise runtime
        return Judge(
            activation_id=found.activation_id,
            recipe_id=found.recipe_id,
            model_id=found.model_id,
            recipe=found.recipe,
            runtime=runtime,
            golden=GoldenCheck(frames=GOLDEN, regions=(), thresholds=THRESHOLDS),
        )


@dataclass
class Product:
    home: Home
    database: Database
    recipe_id: int

    def activate(self) -> None:
        self.database.write(
            lambda session: activate(session, recipe_id=self.recipe_id, by="test", reason="")
        ).result(timeout=10)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    home = Home.open(tmp_path / "home")
    with contextlib.closing(Database.open(home)) as database:
        recipe = Recipe(product="tile", thresholds=THRESHOLDS, deadline_ms=5000)

        def add(session):  # type: ignore[no-untyped-def]
            add_model(session, model_id=MODEL, product="tile", kind="patchcore", by="test")
            return add_recipe(session, recipe=recipe, model_id=MODEL, by="test", reason="").id

        made = Product(home, database, database.write(add).result(timeout=10))
        made.activate()
        yield made


@dataclass
class Ran:
    verdicts: list[Verdict | None]
    reasons: list[str | None]
    suspects: list[SuspectParts]


def run(
    product: Product,
    loader: Loader,
    parts: int = 100_000,
    *,
    every_parts: int,
    on_part: Callable[[Outcome], bool] = lambda outcome: False,
) -> Ran:
    """Run a line until so many parts are done, or `on_part` says that it is enough."""
    database, stop = product.database, threading.Event()

    def flag(found: SuspectParts) -> None:
        database.write(lambda session: flag_suspects(session, found)).result(10)

    def each(outcome: Outcome) -> None:
        if on_part(outcome):
            stop.set()

    with contextlib.ExitStack() as stack:
        recorder = stack.enter_context(
            contextlib.closing(Recorder(database, ImageStore(product.home), station_id="one", keep="flagged"))
        )
        judges = ActiveJudges(
            product.home, database, "tile", kind="auto", camera_ids=["top"], poll_s=0.01, load=loader
        )
        stack.enter_context(contextlib.closing(judges))
        watch = GoldenWatch(station_id="one", every_parts=every_parts, flag=flag, reload=judges.reload)
        Line(
            cameras=[Parts(parts)],
            triggers=Continuous(),
            judges=judges,
            recorder=recorder,
            output=NoOutput(),
            product="tile",
            watch=watch,
        ).run(stop, on_outcome=each)
    with database.read() as session:
        rows = session.exec(select(Part).order_by(Part.trigger_id)).all()  # type: ignore[arg-type]
        assert balance(session).balanced
        assert verify_audit(session) is None
        return Ran(
            verdicts=[row.verdict for row in rows],
            reasons=[row.reason for row in rows],
            suspects=suspects(session, "one"),
        )


def test_a_model_that_stays_right_is_asked_every_so_many_parts(product: Product) -> None:
    runtime = Failing()
    ran = run(product, Loader([runtime]), 10, every_parts=4)
    asked = [2, 6, 10], [3, 7, "end"], [4, 8, "end"]  # after which parts each of the three is
    assert runtime.golden == 2 * sum(len(turns) for turns in asked), "each for its score and its map"
    assert ran.verdicts == [Verdict.ACCEPT] * 10
    assert ran.suspects == []


def test_nothing_is_asked_when_it_is_turned_off(product: Product) -> None:
    runtime = Failing(after=0)
    ran = run(product, Loader([runtime]), 5, every_parts=0)
    assert runtime.golden == 0
    assert ran.verdicts == [Verdict.ACCEPT] * 5


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_answer_flags_the_parts_since_the_last_right_one(wrong: Wrong, product: Product) -> None:
    loader = Loader([Failing(after=9, wrong=wrong), DataError("the card is gone")])
    ran = run(product, loader, 20, every_parts=4)
    assert ran.verdicts == [Verdict.ACCEPT] * 10 + [Verdict.UNDECIDED] * 10
    assert all((reason or "").startswith("MODEL_SUSPECT: golden ") for reason in ran.reasons[10:])
    (flagged,) = ran.suspects
    assert (flagged.first_trigger_id, flagged.last_trigger_id) == (7, 10), "frame 0 was right after 6"
    assert (flagged.model_id, flagged.runtime, flagged.station_id) == (MODEL, "failing", "one")
    assert flagged.why
    assert loader.loaded <= 2


def test_a_right_answer_vouches_for_nothing_that_another_frame_condemns(product: Product) -> None:
    loader = Loader([Failing(after=5, wrong=cut_off), DataError("the card is gone")])
    ran = run(product, loader, 20, every_parts=4)
    assert ran.verdicts == [Verdict.ACCEPT] * 8 + [Verdict.UNDECIDED] * 12
    (flagged,) = ran.suspects
    assert flagged.why.startswith("golden 2: ")
    assert (flagged.first_trigger_id, flagged.last_trigger_id) == (5, 8), "others were right after 6 and 7"


@pytest.mark.parametrize("on_leaving", [False, True], ids=["in its turn", "when it leaves"])
def test_a_device_that_fails_at_a_golden_frame_flags_the_parts_and_ends_the_line(
    on_leaving: bool, product: Product
) -> None:
    def on_part(outcome: Outcome) -> bool:
        if on_leaving and outcome.trigger_id == 5:
            product.activate()
        return False

    first, second = Failing(after=3, wrong=fail), Failing()
    with pytest.raises(DeviceFailed, match="illegal memory access"):
        run(product, Loader([first, second]), every_parts=100_000 if on_leaving else 5, on_part=on_part)
    with product.database.read() as session:
        (flagged,) = suspects(session, "one")
        assert flagged.first_trigger_id == 1
        assert flagged.last_trigger_id == first.parts
        assert balance(session).balanced, "the part that came next is closed, too"
    assert second.parts == 0


def test_a_model_that_passes_again_after_a_reload_goes_on(product: Product) -> None:
    anew = Failing()
    loader = Loader([Failing(after=3), anew])
    ran = run(product, loader, every_parts=5, on_part=lambda outcome: anew.parts == 10)
    assert loader.loaded == 2
    out = [n for n, verdict in enumerate(ran.verdicts) if verdict is Verdict.UNDECIDED]
    assert out == list(range(4, 4 + len(out))), "while it is loaded, parts are undecided"
    assert ran.verdicts[-10:] == [Verdict.ACCEPT] * 10
    assert [(s.first_trigger_id, s.last_trigger_id) for s in ran.suspects] == [(1, 4)]


def test_a_model_that_fails_twice_stays_out_until_somebody_acts(product: Product) -> None:
    second, third = Failing(after=3), Failing()
    loader = Loader([Failing(after=3), second, third])
    out: list[int] = []

    def on_part(outcome: Outcome) -> bool:
        if second.parts and outcome.decision.verdict is Verdict.UNDECIDED:
            out.append(outcome.trigger_id)
        if len(out) == 30 and loader.loaded == 2:
            product.activate()
        return third.parts == 10

    ran = run(product, loader, every_parts=5, on_part=on_part)
    assert loader.loaded == 3
    assert len(out) >= 30, "a third time is not tried by itself"
    assert len(ran.suspects) == 2
    assert ran.verdicts[-10:] == [Verdict.ACCEPT] * 10


def test_the_last_parts_are_vouched_for_when_the_line_ends(product: Product) -> None:
    ran = run(product, Loader([Failing(after=1), DataError("gone")]), 3, every_parts=500)
    assert [(s.first_trigger_id, s.last_trigger_id) for s in ran.suspects] == [(1, 3)]


def test_a_judge_that_leaves_is_asked_a_last_time(product: Product) -> None:
    first, second = Failing(after=1), Failing()

    def on_part(outcome: Outcome) -> bool:
        if outcome.trigger_id == 5:
            product.activate()
        return second.parts == 3

    ran = run(product, Loader([first, second]), every_parts=100_000, on_part=on_part)
    assert first.golden == 2, "its score and its map"
    assert first.is_closed
    (flagged,) = ran.suspects
    assert (flagged.first_trigger_id, flagged.last_trigger_id) == (1, first.parts)
    assert set(ran.verdicts) == {Verdict.ACCEPT}, "the one that came is trusted"


def test_the_parts_before_a_model_is_found_wrong_when_loaded_are_named(product: Product) -> None:
    """A station that was killed had asked every frame of all but the last `golden_every_parts`."""
    run(product, Loader([Failing()]), 10, every_parts=100)
    config = StationConfig(
        station_id="one", golden_every_parts=4, cameras=(VirtualCamera(kind="virtual", camera_id="top"),)
    )
    _flag_unvouched(config, product.database, "b" * 64, "golden 0: the score is 9")
    _flag_unvouched(config, product.database, MODEL, "golden 0: the score is 9")
    product.database.write(lambda session: None).result(10)
    with product.database.read() as session:
        (found,) = suspects(session, "one")
    assert (found.first_trigger_id, found.last_trigger_id) == (7, 10)
    assert found.why == "when it was loaded again: golden 0: the score is 9"


def test_the_rows_of_suspect_parts_are_not_changed_but_named_in_the_audit_trail(product: Product) -> None:
    found = SuspectParts(
        station_id="two", first_trigger_id=3, last_trigger_id=9, model_id=MODEL, runtime="r", why="NaN"
    )
    product.database.write(lambda session: flag_suspects(session, found)).result(10)
    with product.database.read() as session:
        assert suspects(session) == suspects(session, "two") == [found]
        assert suspects(session, "one") == []
