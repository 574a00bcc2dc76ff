"""What a frame says of light, lens and mount; and what good images say of how frames should look."""

import time
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from partgate_cameras import (
    ImageMeasures,
    MeasureName,
    ProcessCamera,
    ReferenceCheck,
    draw_part,
    learn_reference,
    measure_image,
    misfit,
)
from partgate_cameras import _messages as wire
from partgate_station import ImageReference, PositionReference, VirtualCamera

Image = NDArray[np.uint8]
HEIGHT_PX, WIDTH_PX = 300, 420
ALL: tuple[MeasureName, ...] = ("brightness", "focus", "position")


def scene(
    number: int, *, right_px: float = 0.0, down_px: float = 0.0, light: float = 1.0, blur_px: float = 0.0
) -> Image:
    """Return a picture of discs on a belt: always the same discs, with noise of its own."""
    where = np.random.default_rng(7)
    picture = np.full((HEIGHT_PX, WIDTH_PX), 60, np.uint8)
    for _ in range(30):
        middle = (int(where.integers(40, WIDTH_PX - 40)), int(where.integers(40, HEIGHT_PX - 40)))
        cv2.circle(picture, middle, int(where.integers(4, 25)), int(where.integers(90, 220)), -1)
    shift = np.array([[1, 0, right_px], [0, 1, down_px]], np.float32)
    moved = cv2.warpAffine(picture, shift, (WIDTH_PX, HEIGHT_PX), borderMode=cv2.BORDER_REPLICATE)
    seen = moved if not blur_px else cv2.GaussianBlur(moved, (0, 0), blur_px)
    noise = np.random.default_rng(number).normal(0, 1.5, seen.shape)
    return np.asarray(np.clip(seen * light + noise, 0, 255), np.uint8)


def good_scenes(count: int = 12) -> list[Image]:
    chance = np.random.default_rng(3)
    return [
        scene(n, right_px=chance.normal(0, 1.5), down_px=chance.normal(0, 1.5), light=chance.normal(1, 0.01))
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def reference() -> ImageReference:
    found = learn_reference(good_scenes())
    assert found is not None
    return found


def outside(reference: ImageReference, image: Image, *, margin: float = 1.0) -> set[str]:
    check = ReferenceCheck(reference, margin=margin)
    measures = measure_image(image)
    return {one.name for one in check.readings(measures, check.position_px(measures)) if one.is_outside}


def test_brightness_is_the_mean_grey_level() -> None:
    image = np.random.default_rng(0).integers(0, 256, (2048, 2448), np.uint8)
    assert measure_image(image).brightness == pytest.approx(image.mean(), abs=3)
    assert measure_image(np.full((40, 50), 17, np.uint8)).brightness == 17


def test_one_lamp_of_three_colours_is_seen_in_the_brightness() -> None:
    image = np.full((100, 100, 3), 90, np.uint8)
    image[..., 0] = 0
    assert measure_image(image).brightness == pytest.approx(60)


def test_focus_is_the_laplacians_variance_over_the_picture_s_of_2x2_pixels() -> None:
    image = np.random.default_rng(1).integers(0, 256, (48, 48), np.uint8)  # every spot is the whole
    averaged = cv2.resize(image.astype(np.float64), (24, 24), interpolation=cv2.INTER_AREA)
    inner = cv2.Laplacian(averaged, cv2.CV_64F)[1:-1, 1:-1]
    assert measure_image(image).focus == pytest.approx(inner.var() / averaged.var(), rel=1e-4)


def test_focus_falls_with_blur_and_not_with_light() -> None:
    sharp = measure_image(scene(1)).focus
    assert measure_image(scene(1, light=0.6)).focus == pytest.approx(sharp, rel=0.2)
    assert measure_image(scene(1, blur_px=3)).focus < sharp / 2


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (63, 64), (64, 63, 3)])
def test_a_frame_too_small_to_be_made_small_is_measured_all_the_same(shape: tuple[int, ...]) -> None:
    measures = measure_image(np.zeros(shape, np.uint8))
    assert (measures.brightness, measures.focus, measures.sketch) == (0, 0, None)


@pytest.mark.parametrize("shape", [(64, 64), (127, 200), (300, 420, 3), (2048, 2448)])
def test_a_sketch_shows_the_frame(shape: tuple[int, ...]) -> None:
    ramp = np.linspace(0, 255, shape[1]).astype(np.uint8)
    image = np.broadcast_to(ramp.reshape(1, -1, *[1] * (len(shape) - 2)), shape).copy()
    sketch = measure_image(image).sketch
    assert sketch is not None
    assert sketch.shape == (PositionReference.SKETCH_PX, PositionReference.SKETCH_PX)
    assert (np.diff(sketch[5].astype(int)) >= 0).all()
    assert np.ptp(sketch[:, 9]) == 0
    with pytest.raises(ValueError, match="read-only"):
        sketch[0, 0] = 1


def test_a_frame_is_not_changed() -> None:
    image = scene(1)
    before = image.copy()
    measure_image(image)
    np.testing.assert_array_equal(image, before)


def test_measuring_takes_no_longer_for_a_large_frame() -> None:
    """Not how long: that is the machine's. A measure of all pixels would be 80 times as long."""
    small, large = (np.zeros(shape, np.uint8) for shape in ((256, 256), (2048, 2448)))
    assert _fastest_s(large) < 10 * _fastest_s(small)


def _fastest_s(image: Image) -> float:
    times = []
    for _ in range(30):
        before = time.perf_counter()
        measure_image(image)
        times.append(time.perf_counter() - before)
    return min(times)


@dataclass(frozen=True)
class Fault:
    image: Image
    outside: set[str]


FAULTS = {
    "as learned": Fault(scene(500, right_px=2), set()),
    "the light is off": Fault(scene(501, light=0.0), {"brightness"}),
    "the light is at half": Fault(scene(502, light=0.5), {"brightness"}),
    "the lens is covered": Fault(np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8), {"brightness", "focus"}),
    "all is white": Fault(np.full((HEIGHT_PX, WIDTH_PX), 255, np.uint8), {"brightness", "focus"}),
    "out of focus": Fault(scene(503, blur_px=3), {"focus"}),
    "the camera was knocked": Fault(scene(504, right_px=30, down_px=-25), {"position"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_named(reference: ImageReference, name: str) -> None:
    fault = FAULTS[name]
    found = outside(reference, fault.image)
    assert fault.outside <= found
    assert bool(found) == bool(fault.outside)


@pytest.mark.parametrize(("right_px", "down_px"), [(0, 0), (7, 0), (0, -12), (31, 22), (-60, 40)])
def test_the_position_is_how_far_the_scene_has_moved(
    reference: ImageReference, right_px: int, down_px: int
) -> None:
    check = ReferenceCheck(reference, margin=1.0)
    measures = measure_image(scene(77, right_px=right_px, down_px=down_px, light=0.8))
    assert check.position_px(measures) == pytest.approx(np.hypot(right_px, down_px), abs=3)


def test_images_that_agree_on_no_place_leave_the_position_out() -> None:
    line = VirtualCamera(kind="virtual", camera_id="top", seed=4, defect_rate=0.0)
    reference = learn_reference(draw_part(line, number).image for number in range(20))
    assert reference is not None
    assert reference.position is None
    assert ReferenceCheck(reference, margin=1.0).position_px(measure_image(scene(1))) is None


def test_a_frame_of_another_size_has_no_known_position(reference: ImageReference) -> None:
    check = ReferenceCheck(reference, margin=1.0)
    assert check.position_px(measure_image(scene(1)[:-8])) is None


def test_defects_are_not_taken_for_a_lamp_that_fails() -> None:
    """200 parts, every one with a defect drawn on, against 40 good ones of the same line."""
    good = VirtualCamera(kind="virtual", camera_id="top", seed=1, defect_rate=0.0)
    bad = VirtualCamera(kind="virtual", camera_id="top", seed=2, defect_rate=1.0)
    reference = learn_reference(draw_part(good, number).image for number in range(40))
    assert reference is not None
    assert sum(bool(outside(reference, draw_part(bad, number).image)) for number in range(200)) <= 2


def test_a_virtual_line_s_light_can_fail() -> None:
    line = VirtualCamera(kind="virtual", camera_id="top", light_fails_at=2, light_fails_for=3)
    brightness = [measure_image(draw_part(line, number).image).brightness for number in range(7)]
    assert [level < 20 for level in brightness] == [False, False, True, True, True, False, False]


def test_few_images_say_nothing() -> None:
    assert learn_reference(good_scenes(4)) is None
    assert learn_reference([]) is None


def test_images_that_hardly_differ_leave_room_all_the_same() -> None:
    reference = learn_reference([scene(1)] * 8)
    assert reference is not None
    assert outside(reference, scene(1, light=0.95, right_px=2)) == set()
    assert "brightness" in outside(reference, scene(1, light=0.8))


def test_a_wider_margin_lets_more_pass(reference: ImageReference) -> None:
    dim = scene(9, light=0.8)
    assert outside(reference, dim) == {"brightness"}
    assert outside(reference, dim, margin=10) == set()


def test_only_the_measures_that_were_asked_for_count(reference: ImageReference) -> None:
    measures = measure_image(scene(1, light=0.1))
    assert [r.name for r in ReferenceCheck(reference, margin=1, names=("focus",)).readings(measures, 0)] == [
        "focus"
    ]
    assert ReferenceCheck(reference, margin=1, names=()).readings(measures, 0) == ()
    assert ReferenceCheck(None, margin=1).readings(measures, None) == ()


def coloured(image: Image, *, levels: float = 25.0) -> Image:
    """Return it in red, green and blue, of which blue is darker."""
    blue = np.clip(image.astype(np.float32) - levels, 0, 255).astype(np.uint8)
    return np.stack([image, image, blue], axis=-1)


def said(images: list[Image], frame: Image) -> str | None:
    return misfit(learn_reference(images), measure_image(frame))


def test_a_frame_of_another_size_is_no_frame_of_the_product() -> None:
    small = cv2.resize(scene(1), (WIDTH_PX // 2, HEIGHT_PX // 2))
    assert said(good_scenes(), scene(20)) is None
    assert said(good_scenes(), np.asarray(small, np.uint8)) == (
        "the frame is 210×150, the product was learned from 420×300"
    )
    assert (
        said(good_scenes(), scene(20).T.copy())
        == "the frame is 300×420, the product was learned from 420×300"
    )
    assert said([*good_scenes(), np.asarray(small, np.uint8)], scene(20).T.copy()) is None, "sizes differ"


def test_grey_is_told_from_colour_where_there_is_no_doubt() -> None:
    grey, colour = good_scenes(), [coloured(image) for image in good_scenes()]
    assert said(colour, coloured(scene(20))) is None
    assert said(colour, scene(20)) == "the frame is grey, the product was learned from colour"
    assert said(grey, coloured(scene(20))) == "the frame is in colour, the product was learned from grey"
    assert said(grey, np.stack([scene(20)] * 3, axis=-1)) is None, "grey, written in three channels"
    faint = [coloured(image, levels=4) for image in good_scenes()]  # a colour camera, and a grey part
    assert said(faint, scene(20)) is None
    assert said(faint, coloured(scene(20))) is None
    assert said([*grey, *colour], scene(20)) is None


def test_a_reference_that_noted_neither_fits_everything(reference: ImageReference) -> None:
    before = reference.model_copy(update={"size_px": None, "colour": None})
    assert misfit(before, measure_image(coloured(scene(20).T.copy()))) is None
    assert misfit(None, measure_image(scene(20))) is None


def test_a_reference_is_the_same_after_it_was_written(reference: ImageReference) -> None:
    again = ImageReference.model_validate_json(reference.model_dump_json())
    assert again == reference
    assert outside(again, scene(5, right_px=40)) == {"position"}


def test_a_frame_from_a_process_brings_what_was_measured_there() -> None:
    config = VirtualCamera(kind="virtual", camera_id="top", size_px=96)
    camera = ProcessCamera(config)
    camera.open()
    try:
        frame = camera.grab(20)
    finally:
        camera.close()
    assert frame.measures is not None
    assert_same(frame.measures, measure_image(frame.image))


def assert_same(found: ImageMeasures, expected: ImageMeasures) -> None:
    said = ((one.brightness, one.focus, one.colour) for one in (found, expected))
    assert next(said) == pytest.approx(next(said))
    assert (found.width_px, found.height_px) == (expected.width_px, expected.height_px)
    assert found.sketch is not None
    np.testing.assert_array_equal(found.sketch, expected.sketch)


@pytest.mark.parametrize("sketch", ["", "AAAA", "no base64!"])
def test_a_spoilt_sketch_is_no_measure(sketch: str) -> None:
    delivered = wire.Delivered(
        number=1,
        slot=0,
        shape=(64, 64),
        frame_id=1,
        camera_timestamp_ns=None,
        received_at="2026-11-01T00:00:00+00:00",
        arrived_s=0.0,
        exhausted=False,
        new_ring=True,
        sketch=sketch,
    )
    assert wire.measures_of(delivered) is None


def test_the_largest_message_fits_into_a_datagram() -> None:
    sketch = measure_image(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).sketch
    assert sketch is not None
    assert len(wire.encode(wire.Logged(level=10, logger="x", text="x" * wire.MAX_TEXT))) < wire.MAX_BYTES
    assert len(sketch.tobytes()) * 4 / 3 + 4 < wire.MAX_TEXT
