"""Images of a folder that are of another kind than nearly all of them."""

from collections import Counter
from collections.abc import Sequence

from partgate_cameras._image_measures import ImageMeasures
from partgate_cameras._image_reference import COLOURED_FROM, GREY_BELOW

NEARLY_ALL = 0.9
"""The share that has to agree before the others are strays; with less, nobody knows which ones belong."""


def strays(measures: Sequence[ImageMeasures]) -> dict[int, str]:
    """Return why some images are of another size or colour than nearly all of them, by their numbers.

    One is enough to leave it unknown what a frame of the product looks like: size and position are then
    watched by nobody.

    Args:
        measures: of all images of a folder.

    Returns:
        None at all where fewer than nine in ten agree.
    """
    count = len(measures)
    found: dict[int, str] = {}
    sizes = [(one.width_px, one.height_px) for one in measures]
    for (width_px, height_px), most in Counter(sizes).most_common(1):
        if _is_nearly_all(most, count):
            found = {
                number: f"the image is {size[0]}×{size[1]}, {most} of {count} are {width_px}×{height_px}"
                for number, size in enumerate(sizes)
                if size != (width_px, height_px)
            }
    grey = [number for number, one in enumerate(measures) if one.colour < GREY_BELOW]
    coloured = [number for number, one in enumerate(measures) if one.colour >= COLOURED_FROM]
    for odd, name, others, usual in (
        (grey, "grey", coloured, "in colour"),
        (coloured, "in colour", grey, "grey"),
    ):
        if _is_nearly_all(len(others), count):
            here = f"the image is {name}, {len(others)} of {count} are {usual}"
            found = dict.fromkeys(odd, here) | found
    return found


def _is_nearly_all(some: int, count: int) -> bool:
    return NEARLY_ALL * count <= some < count
