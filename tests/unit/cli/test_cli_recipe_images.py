"""What `partgate recipe show` says of the images that a product was learned from."""

import pytest

from partgate.cli._recipe_text import _image_line
from partgate_station import ImageReference, PositionReference, Span

PLACE = PositionReference(sketch="A" * 5460 + "AA==", width_px=640, height_px=480, farthest_px=4.6)


MEASURED = "brightness 101 to 120, focus 0.85 to 1.68"


@pytest.mark.parametrize(
    ("camera_id", "size_px", "place", "says"),
    [
        (None, None, None, f"Good images (40, of several sizes): {MEASURED}, in no common place."),
        (
            "side",
            (640, 480),
            PLACE,
            f"Good images of camera side (40, 640×480): {MEASURED}, within 5 px of each other.",
        ),
    ],
)
def test_good_images_in_a_line(
    camera_id: str | None, size_px: tuple[int, int] | None, place: PositionReference | None, says: str
) -> None:
    reference = ImageReference(
        camera_id=camera_id,
        size_px=size_px,
        images=40,
        brightness=Span(low=101.2, high=119.7),
        focus=Span(low=0.85, high=1.68),
        position=place,
    )
    assert _image_line(reference) == says


@pytest.mark.parametrize("sketch", ["", "AAAA", "no base64!"])
def test_a_sketch_of_another_size_is_refused(sketch: str) -> None:
    with pytest.raises(ValueError, match="the sketch"):
        PositionReference(sketch=sketch, width_px=640, height_px=480, farthest_px=4.6)


def test_a_span_is_in_order() -> None:
    with pytest.raises(ValueError, match=r"low \(2\) is above high \(1\)"):
        Span(low=2.0, high=1.0)
