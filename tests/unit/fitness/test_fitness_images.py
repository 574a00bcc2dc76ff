"""`partgate check` says whether a camera's frame looks as its product did."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from partgate.fitness._cameras import Seen
from partgate.fitness._check import State
from partgate.fitness._images import UNKNOWN, images
from partgate_cameras import Frame, learn_reference
from partgate_station import ImageHealth, ImageReference, Recipe, Thresholds

CHANCE = np.random.default_rng(0)


def picture(level: int) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    return CHANCE.integers(level - 20, level + 20, (80, 80)).astype(np.uint8)


def seen(level: int) -> Seen:
    frame = Frame(
        image=picture(level),
        camera_id="top",
        frame_id=1,
        camera_timestamp_ns=None,
        received_at=datetime.now(UTC),
    )
    return Seen(frame=frame, grab_ms=1.0)


def recipe(*references: ImageReference) -> Recipe:
    return Recipe(product="tile", thresholds=Thresholds(review=1, reject=2), image_references=references)


@pytest.fixture
def learned() -> Recipe:
    reference = learn_reference(picture(120) for _ in range(8))
    assert reference is not None
    return recipe(reference)


def test_a_frame_as_learned_is_well(learned: Recipe) -> None:
    (check,) = images(learned, ImageHealth(), {"top": seen(120)})
    assert (check.name, check.state) == ("images top", State.OK)
    assert check.value.startswith("as learned: brightness 1")
    assert ", focus " in check.value


def test_a_dark_frame_is_noted_with_its_range(learned: Recipe) -> None:
    (check,) = images(learned, ImageHealth(), {"top": seen(40)})
    assert check.state is State.NOTE
    assert check.value.startswith("brightness is ")
    assert " is allowed" in check.value
    (check,) = images(learned, ImageHealth(margin=50), {"top": seen(40)})
    assert check.state is State.OK


def test_a_frame_of_another_size_is_unfit(learned: Recipe) -> None:
    dark_and_small = Seen(frame=replace(seen(40).frame, image=picture(40)[:60]), grab_ms=1.0)
    (check,) = images(learned, ImageHealth(), {"top": dark_and_small})
    assert (check.name, check.state) == ("images top", State.UNFIT)
    assert check.value == "the frame is 80×60, the product was learned from 80×80"
    assert check.advice == "set the camera as it was, or learn the product again"
    (check,) = images(learned, ImageHealth(watch=("focus",)), {"top": dark_and_small})
    assert check.state is not State.UNFIT, "what is not watched is not said"


def test_nothing_is_said_where_nothing_is_watched_or_seen(learned: Recipe) -> None:
    assert list(images(learned, ImageHealth(watch=()), {"top": seen(40)})) == []
    assert list(images(learned, ImageHealth(), {})) == []


def test_a_recipe_of_before_is_noted() -> None:
    (check,) = images(recipe(), ImageHealth(), {"top": seen(120)})
    assert (check.state, check.value) == (State.NOTE, UNKNOWN)
