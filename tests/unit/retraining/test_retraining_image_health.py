"""What is known of how good images look, and which parts nothing is learned from."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from partgate.records import (
    ClosedPart,
    Database,
    Home,
    ImageStore,
    OpenPart,
    RecordedFrame,
    Recorder,
    SuspectParts,
    flag_suspects,
)
from partgate.retraining import collected_images
from partgate.retraining._camera_regions import check_cameras_of_regions
from partgate.retraining._image_health import UnfitParts, learn_references, mixtures
from partgate_engines.anomaly import GoodImage
from partgate_station import ConfigError, Region, Verdict

NOW = datetime(2026, 11, 1, tzinfo=UTC)
CHANCE = np.random.default_rng(0)


def image(level: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return CHANCE.integers(level - 10, level + 10, (70, 70)).astype(np.uint8)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def database(home: Home) -> Iterator[Database]:
    with contextlib.closing(Database.open(home)) as database:
        yield database


def collect(home: Home, database: Database, levels: dict[str, int], parts: int = 6) -> None:
    """Have a station collect parts whose cameras see as bright as said."""
    with contextlib.closing(Recorder(database, ImageStore(home), station_id="one", keep="all")) as recorder:
        first = recorder.next_trigger_id()
        for number in range(first, first + parts):
            part = OpenPart(trigger_id=number, triggered_at=NOW)
            recorder.open_part(part).result(timeout=10)
            frames = tuple(
                RecordedFrame(camera_id=camera, frame_id=number, received_at=NOW, image=image(level))
                for camera, level in levels.items()
            )
            recorder.close_part(
                ClosedPart(
                    part_id=part.part_id, verdict=Verdict.UNDECIDED, reason="NO_RECIPE: none", frames=frames
                )
            )


def test_each_camera_of_a_station_has_a_reference_of_its_own(home: Home, database: Database) -> None:
    collect(home, database, {"top": 200, "side": 60})
    with database.read() as session:
        good = collected_images(session, ImageStore(home), "one")
        found = {one.camera_id: one for one in learn_references(session, good)}
    assert set(found) == {"top", "side"}
    assert found["top"].images == found["side"].images == 6
    assert 190 < found["top"].brightness.low <= found["top"].brightness.high < 210
    assert 50 < found["side"].brightness.low <= found["side"].brightness.high < 70


def test_a_mixture_of_images_is_told_by_what_is_not_watched(home: Home, database: Database) -> None:
    grey = [GoodImage(pixels=image(100), origin=f"{number}.png") for number in range(6)]
    small = [GoodImage(pixels=one.pixels[:50], origin=f"small/{one.origin}") for one in grey]
    tinted = np.stack([image(60), image(100), image(180)], axis=-1)
    coloured = [GoodImage(pixels=tinted, origin=f"colour/{number}.png") for number in range(6)]
    with database.read() as session:
        assert mixtures(learn_references(session, grey)) == []
        (told,) = mixtures(learn_references(session, [*grey, *small]))
        assert told.startswith("the good images are of several sizes: no frame will be held against")
        (told,) = mixtures(learn_references(session, [*grey, *coloured]))
        assert told.startswith("some of the good images are grey and some in colour")
    collect(home, database, {"top": 200, "side": 60})
    with database.read() as session:
        assert mixtures(learn_references(session, collected_images(session, ImageStore(home), "one"))) == []


def test_regions_of_a_camera_take_images_that_are_known_to_be_its_own(home: Home, database: Database) -> None:
    square = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))
    everywhere = Region(polygon=square)
    top, side = (Region(polygon=square, camera_id=camera) for camera in ("top", "side"))
    collect(home, database, {"top": 200}, parts=2)
    with database.read() as session:
        alone = [image.origin for image in collected_images(session, ImageStore(home), "one")]
        check_cameras_of_regions(session, [everywhere, top], alone)
        check_cameras_of_regions(session, [everywhere], ["a.png", *alone])
        with pytest.raises(ConfigError, match="of 1 of the 3 images it is not known which camera"):
            check_cameras_of_regions(session, [top], ["a.png", *alone])
        with pytest.raises(
            ConfigError, match=r"regions\[1\] to camera 'side' belong, and the images are those"
        ):
            check_cameras_of_regions(session, [everywhere, side], alone)
    collect(home, database, {"top": 200, "side": 60}, parts=4)
    with database.read() as session:
        both = [image.origin for image in collected_images(session, ImageStore(home), "one")]
        with pytest.raises(ConfigError, match="the images are those of side and top"):
            check_cameras_of_regions(session, [top], both)


def test_a_part_of_which_a_frame_was_left_out_mixes_no_cameras_up(home: Home, database: Database) -> None:
    collect(home, database, {"top": 200, "side": 60})
    with database.read() as session:
        good = collected_images(session, ImageStore(home), "one")[1:]
        (found,) = learn_references(session, good)
    assert (found.camera_id, found.images) == (None, 11)


def test_one_camera_and_files_have_one_reference_for_all(home: Home, database: Database) -> None:
    collect(home, database, {"top": 100})
    with database.read() as session:
        good = collected_images(session, ImageStore(home), "one")
        (of_station,) = learn_references(session, good)
        files = [GoodImage(pixels=image(100), origin=f"{number}.png") for number in range(5)]
        (of_files,) = learn_references(session, files)
        (of_both,) = learn_references(session, [*good, *files])
        assert learn_references(session, files[:4]) == ()
    assert [one.camera_id for one in (of_station, of_files, of_both)] == [None] * 3
    assert of_both.images == 11


def suspect(first: int, last: int, why: str) -> SuspectParts:
    return SuspectParts(
        station_id="one", first_trigger_id=first, last_trigger_id=last, model_id=None, runtime=None, why=why
    )


def test_parts_of_an_alarm_and_those_that_led_to_it_are_unfit(database: Database) -> None:
    for found in (suspect(4, 6, "IMAGE_HEALTH: dark"), suspect(20, 30, "golden 1: the score is 3")):
        database.write(lambda session, found=found: flag_suspects(session, found)).result(timeout=10)  # type: ignore[misc]
    with database.read() as session:
        unfit = UnfitParts(session)
    assert unfit.holds("one", 99, "IMAGE_HEALTH: camera top: brightness is 3")
    assert not unfit.holds("one", 99, "CAMERA_TIMEOUT: none came")
    assert not unfit.holds("one", 99, None)
    assert [number for number in range(1, 40) if unfit.holds("one", number, None)] == [4, 5, 6]
    assert not unfit.holds("two", 5, None)
