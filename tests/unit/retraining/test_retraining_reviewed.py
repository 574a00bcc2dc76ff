"""Which frames QA's decisions bring to the next model."""

import contextlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from partgate.records import (
    ClosedPart,
    Database,
    Finding,
    Home,
    ImageMissing,
    ImageStore,
    LearnedImage,
    OpenPart,
    RecordedFrame,
    Recorder,
    Review,
    User,
    new_id,
)
from partgate.retraining import collected_images
from partgate.retraining._contradictions import refuse_learned_defects
from partgate.retraining._images import good_images
from partgate.retraining._reviewed import ReviewedFrame, overturned, reviewed_frames, still_there
from partgate_station import DataError, Verdict

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def database(home: Home) -> Iterator[Database]:
    with contextlib.closing(Database.open(home)) as database:
        database.write(lambda session: session.add(User(id=1, name="qa", password_hash="none"))).result()
        yield database


def record(home: Home, database: Database, verdicts: list[Verdict], product: str = "tile") -> list[uuid.UUID]:
    """Record one part per verdict, each with a frame of its own."""
    ids = []
    with contextlib.closing(Recorder(database, ImageStore(home), station_id="one", keep="all")) as recorder:
        first = recorder.next_trigger_id()
        for number, verdict in enumerate(verdicts, start=first):
            part = OpenPart(trigger_id=number, triggered_at=NOW, product=product)
            recorder.open_part(part).result(timeout=10)
            frame = RecordedFrame(
                camera_id="top", frame_id=number, received_at=NOW, image=np.full((8, 8), number, np.uint8)
            )
            reason = "NO_RECIPE: none" if verdict is Verdict.UNDECIDED else None
            recorder.close_part(
                ClosedPart(part_id=part.part_id, verdict=verdict, reason=reason, frames=(frame,))
            )
            ids.append(part.part_id)
    return ids


def review(database: Database, part: uuid.UUID, finding: Finding) -> None:
    database.write(lambda session: session.add(Review(part_id=part, finding=finding, reviewer_id=1))).result(
        timeout=10
    )


def test_the_latest_review_of_a_part_counts(home: Home, database: Database) -> None:
    first, second, _ = record(home, database, [Verdict.REJECT, Verdict.REVIEW, Verdict.REJECT])
    review(database, first, Finding.GOOD)
    review(database, first, Finding.DEFECTIVE)
    review(database, second, Finding.DEFECTIVE)
    review(database, second, Finding.GOOD)
    with database.read() as session:
        found = {frame.part_id: frame.finding for frame in reviewed_frames(session, "tile")}
        assert reviewed_frames(session, "other") == ()
    assert found == {first: Finding.DEFECTIVE, second: Finding.GOOD}


def test_the_latest_review_is_the_one_that_was_decided_last(home: Home, database: Database) -> None:
    """Ids are in order of the clock that made them, which may have stepped back between the two."""
    (part,) = record(home, database, [Verdict.REJECT])
    low, high = sorted(new_id() for _ in range(2))
    rows = [
        Review(id=high, part_id=part, finding=Finding.GOOD, reviewer_id=1, decided_at=NOW),
        Review(
            id=low,
            part_id=part,
            finding=Finding.DEFECTIVE,
            reviewer_id=1,
            decided_at=NOW + timedelta(microseconds=1),
        ),
    ]
    database.write(lambda session: session.add_all(rows)).result(timeout=10)
    with database.read() as session:
        assert [frame.finding for frame in reviewed_frames(session, "tile")] == [Finding.DEFECTIVE]


def frame(sha256: str, finding: Finding, verdict: Verdict) -> ReviewedFrame:
    return ReviewedFrame(
        part_id=uuid.uuid4(),
        station_id="one",
        trigger_id=1,
        image_sha256=sha256,
        finding=finding,
        verdict=verdict,
    )


def test_what_was_learned_as_good_and_found_defective_since_is_refused_with_the_command(
    home: Home, database: Database
) -> None:
    first, second, third = record(home, database, [Verdict.REJECT, Verdict.REVIEW, Verdict.REJECT])
    good = [
        LearnedImage(image_sha256="a" * 64, origin="lot/a b.png", finding=Finding.GOOD),
        *(
            LearnedImage(image_sha256=name * 64, origin=f"part:{part}", finding=Finding.GOOD, part_id=part)
            for name, part in (("b", first), ("c", second))
        ),
    ]
    shown = LearnedImage(
        image_sha256="d" * 64, origin=f"part:{third}", finding=Finding.DEFECTIVE, part_id=third
    )
    review(database, first, Finding.GOOD)
    review(database, second, Finding.DEFECTIVE)
    review(database, second, Finding.GOOD)
    review(database, third, Finding.DEFECTIVE)
    with database.read() as session:
        refuse_learned_defects(session, "tile", [*good, shown], [])
    review(database, first, Finding.DEFECTIVE)
    with database.read() as session:
        with pytest.raises(DataError, match="1 part that the model in force was learned from") as refused:
            refuse_learned_defects(session, "tile", [*good, shown], [])
        assert f"trigger 1 of one (part:{first})" in str(refused.value)
        assert f"partgate models forget tile --part {first} --reason" in str(refused.value)
        same = [frame("a" * 64, Finding.DEFECTIVE, Verdict.REJECT)]
        with pytest.raises(DataError, match=f"--part {first} --image 'lot/a b.png' --reason"):
            refuse_learned_defects(session, "tile", good, same)


def test_only_flagged_good_frames_that_are_new_are_learned() -> None:
    reviewed = [
        frame("overturned", Finding.GOOD, Verdict.REJECT),
        frame("confirmed", Finding.DEFECTIVE, Verdict.REJECT),
        frame("accepted", Finding.GOOD, Verdict.ACCEPT),
        frame("known", Finding.GOOD, Verdict.REVIEW),
    ]
    snapshot = [LearnedImage(image_sha256="known", origin="a.png", finding=Finding.GOOD)]
    assert [f.image_sha256 for f in overturned(reviewed, snapshot)] == ["overturned"]


def lose(home: Home, sha256: str) -> None:
    (home.images_path / sha256[:2] / f"{sha256}.jxl").unlink()


def test_reviewed_parts_whose_images_are_missing_are_named_and_left_out(
    home: Home, database: Database
) -> None:
    parts = record(home, database, [Verdict.REJECT] * 8)
    for part in parts:
        review(database, part, Finding.GOOD)
    with database.read() as session:
        known = reviewed_frames(session, "tile")
    store = ImageStore(home)
    with capture_logs() as said:
        assert still_there(store, known) == known
    assert said == []
    for gone in known[1:]:
        lose(home, gone.image_sha256)
    with capture_logs() as said:
        assert still_there(store, known) == known[:1]
    (line,) = said
    assert (line["log_level"], line["images"], line["of"]) == ("warning", 7, 8)
    assert line["parts"] == f"{', '.join(f'part:{part}' for part in parts[1:6])} and 2 more"


def test_all_images_that_a_model_lacks_are_named_with_the_way_out(home: Home) -> None:
    store = ImageStore(home)
    entries = [
        LearnedImage(
            image_sha256=store.put(np.full((8, 8), number, np.uint8)), origin=f"{number}.png",
            finding=Finding.GOOD if number else Finding.DEFECTIVE,
        )
        for number in range(5)
    ]  # fmt: skip
    good = good_images(store, entries)
    for number in (0, 2, 3):
        lose(home, entries[number].image_sha256)
    assert [good[position].origin for position in (0, 3)] == ["1.png", "4.png"]
    with pytest.raises(
        ImageMissing,
        match=r"2 of 4 good images to learn from .* 2\.png, 3\.png; .* `partgate models forget PRODUCT",
    ):
        good[1]


def test_what_a_station_collected_is_learned_less_what_was_found_defective(
    home: Home, database: Database
) -> None:
    parts = record(home, database, [Verdict.UNDECIDED] * 3)
    review(database, parts[1], Finding.DEFECTIVE)
    with database.read() as session:
        images = collected_images(session, ImageStore(home), "one")
        assert [image.origin for image in images] == [f"part:{parts[0]}", f"part:{parts[2]}"]
        assert [int(image.pixels[0, 0]) for image in images] == [1, 3]
        with pytest.raises(DataError, match="'two' has collected no images"):
            collected_images(session, ImageStore(home), "two")
