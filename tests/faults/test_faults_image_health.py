"""F10: the light fails, or the lens is covered, while parts come."""

import contextlib
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlmodel import Session, col, select

from one_by_one import OneByOne
from partgate.line import Outcome
from partgate.line._image_health import ImageHealthWatch
from partgate.line._judge import Judge
from partgate.line._loop import Line
from partgate.line._outputs import NoOutput
from partgate.line._triggers import Continuous
from partgate.records import (
    Database,
    Finding,
    Home,
    ImageStore,
    Part,
    Recorder,
    Review,
    SuspectParts,
    User,
    balance,
    flag_suspects,
    suspects,
)
from partgate.retraining._reviewed import reviewed_frames
from partgate_cameras import ProcessCamera, draw_part, learn_reference
from partgate_engines import AnomalyResult
from partgate_station import ImageHealth, Recipe, Region, Thresholds, Verdict, VirtualCamera

PARTS, FAILS_AT, FAILS_FOR = 40, 10, 12
LIMITS = ImageHealth()
LEARNED = VirtualCamera(kind="virtual", camera_id="top", size_px=128, seed=1, defect_rate=0.0)
LINE = LEARNED.model_copy(update={"seed": 2, "light_fails_at": FAILS_AT, "light_fails_for": FAILS_FOR})


@dataclass
class DarkIsOdd(OneByOne):
    """A model to which a dark part looks defective, as it does to a real one."""

    name: str = "dark is odd"

    def judge(self, frame: NDArray[np.uint8], regions: tuple[Region, ...] = ()) -> AnomalyResult:
        return AnomalyResult(
            score=5.0 if frame.mean() < 50 else 0.1, anomaly_map=np.zeros((2, 2), np.float32)
        )

    def close(self) -> None: ...


class OneJudge:
    def __init__(self) -> None:
        reference = learn_reference(draw_part(LEARNED, number).image for number in range(20))
        assert reference is not None
        recipe = Recipe(
            product="brick",
            thresholds=Thresholds(review=1.0, reject=2.0),
            deadline_ms=20_000,
            image_references=(reference,),
        )
        self._judge = Judge(
            activation_id=1,
            recipe_id=None,  # type: ignore[arg-type] # no recipe row: what counts here is the frames
            model_id=None,  # type: ignore[arg-type] # nor a model's
            recipe=recipe,
            runtime=DarkIsOdd(),
        )

    def current(self) -> Judge:
        return self._judge

    def reload(self, judge: Judge) -> None: ...

    def require_device(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the light has failed and come back; with a reviewer to whom every part was good."""
    path = tmp_path_factory.mktemp("dark") / "home"
    with contextlib.ExitStack() as stack:
        home = Home.open(path)
        database = stack.enter_context(contextlib.closing(Database.open(home)))
        camera = stack.enter_context(contextlib.closing(ProcessCamera(LINE)))
        recorder = stack.enter_context(
            contextlib.closing(Recorder(database, ImageStore(home), station_id="one", keep="all"))
        )

        def flag(found: SuspectParts) -> None:
            database.write(lambda session: flag_suspects(session, found)).result(timeout=20)

        camera.open()
        line = Line(
            cameras=[camera],
            triggers=Continuous(),
            judges=OneJudge(),
            recorder=recorder,
            output=NoOutput(),
            product="brick",
            image_health=ImageHealthWatch(LIMITS, station_id="one", flag=flag),
        )
        outcomes = list[Outcome]()
        line.run(threading.Event(), parts=PARTS, on_outcome=outcomes.append)
        assert [outcome.gate_open for outcome in outcomes] == [
            outcome.decision.verdict is Verdict.ACCEPT for outcome in outcomes
        ]
    with contextlib.closing(Database.open(Home.open(path))) as database:
        database.write(lambda session: session.add(User(id=1, name="qa", password_hash="none"))).result()
        for part in parts(path):
            review = Review(part_id=part.id, finding=Finding.GOOD, reviewer_id=1)
            database.write(partial(add, review)).result(timeout=20)
    return path


def add(review: Review, session: Session) -> None:
    session.add(review)


def parts(home: Path) -> list[Part]:
    with contextlib.closing(Database.open(Home.open(home))) as database, database.read() as session:
        return list(session.exec(select(Part).order_by(col(Part.trigger_id))))


def test_f10_the_alarm_trips_and_resumes_alone(ran: Path) -> None:
    found = "".join(
        "U" if part.verdict is Verdict.UNDECIDED else (part.verdict or "?")[0] for part in parts(ran)
    )
    before_trip = LIMITS.trip_frames - 1
    alarm = FAILS_FOR - before_trip + LIMITS.resume_frames - 1
    expected = "A" * FAILS_AT + "R" * before_trip + "U" * alarm
    assert found == expected + "A" * (PARTS - len(expected))


def test_f10_the_ledger_balances_and_every_reason_names_measure_and_range(ran: Path) -> None:
    with contextlib.closing(Database.open(Home.open(ran))) as database, database.read() as session:
        result = balance(session, "one")
    assert result.balanced
    assert result.triggers == PARTS
    reasons = [part.reason or "" for part in parts(ran) if part.verdict is Verdict.UNDECIDED]
    assert all(reason.startswith("IMAGE_HEALTH: camera top: brightness is ") for reason in reasons)
    assert all(" is allowed" in reason for reason in reasons)
    assert "since then 4 of 5 frames inside" in reasons[-1]


def test_f10_nothing_is_learned_from_the_dark_even_if_qa_finds_the_parts_good(ran: Path) -> None:
    """The two parts that were rejected before the alarm are left out, too."""
    with contextlib.closing(Database.open(Home.open(ran))) as database, database.read() as session:
        (flagged,) = suspects(session, "one")
        assert (flagged.first_trigger_id, flagged.last_trigger_id) == (FAILS_AT + 1, FAILS_AT + 2)
        unfit = {frame.part_id for frame in reviewed_frames(session, "brick") if frame.is_unfit}
    numbers = [part.trigger_id for part in parts(ran) if part.id in unfit]
    last = FAILS_AT + FAILS_FOR + LIMITS.resume_frames - 1
    assert numbers == list(range(FAILS_AT + 1, last + 1))
